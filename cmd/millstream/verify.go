package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/badgerstore"
)

// stateDir is where an engine keeps its state beside an embedded log.
const stateDir = "state"

func newVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every byte of a data directory",
		Long: `Reads every batch, index, snapshot and checkpoint of a data directory, and the
state beside it (DIR/state), and prints what is wrong and where; exit 1 if
anything is. It changes nothing but LOCK, which it holds meanwhile.

With --live it reads beside the process that holds the directory: of each
partition what lies below the recovery point on disk, and no state.`,
		Args: exactly(0, "no arguments"),
		RunE: runVerify,
	}
	addSettings(cmd, "data-dir")
	cmd.Flags().Bool("live", false, "read without the lock, up to what is known to be on disk")
	return cmd
}

// verified is what `verify -o json` prints.
type verified struct {
	DataDir    string          `json:"data_dir"`
	Live       bool            `json:"live"`
	Clean      bool            `json:"clean"` // the log was closed cleanly
	Topics     int64           `json:"topics"`
	Partitions int64           `json:"partitions"`
	Files      int64           `json:"files"`
	Batches    int64           `json:"batches"`
	Records    int64           `json:"records"`
	Bytes      int64           `json:"bytes"` // of batches
	Findings   []verifyFinding `json:"findings"`
}

// verifyFinding names a place; without a position the whole file is meant.
type verifyFinding struct {
	File     string         `json:"file"`
	Position *int64         `json:"position,omitempty"`
	Offset   *record.Offset `json:"offset,omitempty"`
	What     string         `json:"what"`
}

func runVerify(cmd *cobra.Command, _ []string) error {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	live, err := cmd.Flags().GetBool("live")
	if err != nil {
		return err
	}
	s, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	v := &verified{DataDir: s.GetString("data-dir"), Live: live, Findings: []verifyFinding{}}
	if err := v.log(); err != nil {
		return err
	}
	if err := v.state(cmd.ErrOrStderr()); err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(v)
	} else {
		err = v.print(cmd.OutOrStdout())
	}
	if err == nil && len(v.Findings) > 0 {
		if !v.Clean && !live {
			fmt.Fprintln(cmd.ErrOrStderr(), "the directory was not closed cleanly: the next start repairs what lies above the recovery points")
		}
		return errFound
	}
	return err
}

func (v *verified) add(file string, position int64, offset record.Offset, what string) {
	f := verifyFinding{File: file, What: strings.ReplaceAll(what, "\n", "; ")}
	if position >= 0 {
		f.Position = &position
	}
	if offset != record.NoOffset {
		f.Offset = &offset
	}
	v.Findings = append(v.Findings, f)
}

// log verifies what is the broker's.
func (v *verified) log() error {
	o := broker.VerifyOptions{Live: v.Live, Foreign: []string{stateDir}}
	sum, err := broker.Verify(vfs.OS(), v.DataDir, o, func(f segment.Finding) { v.add(f.Path, f.Pos, f.Offset, f.What) })
	v.Clean, v.Topics, v.Partitions, v.Files = sum.Clean, sum.Topics, sum.Partitions, sum.Files
	v.Batches, v.Records, v.Bytes = sum.Batches, sum.Records, sum.Bytes
	return err
}

// state verifies DIR/state, if there is one.
func (v *verified) state(stderr io.Writer) error {
	dir := filepath.Join(v.DataDir, stateDir)
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		v.add(dir, -1, record.NoOffset, err.Error())
		return nil
	case v.Live:
		fmt.Fprintf(stderr, "%s is not read with --live\n", dir)
		return nil
	}
	found, err := badgerstore.Verify(dir)
	for _, f := range found {
		v.add(f.Path, f.Offset, record.NoOffset, f.What)
	}
	v.Files += int64(len(names))
	return err
}

// print writes the table for people and the closing line.
func (v *verified) print(out io.Writer) error {
	counts := fmt.Sprintf("%d files, %d batches, %d records", v.Files, v.Batches, v.Records)
	if len(v.Findings) == 0 {
		_, err := fmt.Fprintf(out, "%s: no errors\n", counts)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tPOSITION\tOFFSET\tWHAT")
	for _, f := range v.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.File, orDash(f.Position), orDash(f.Offset), f.What)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	noun := "findings"
	if len(v.Findings) == 1 {
		noun = "finding"
	}
	_, err := fmt.Fprintf(out, "%s: %d %s\n", counts, len(v.Findings), noun)
	return err
}

func orDash[T ~int64](n *T) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(int64(*n), 10)
}
