package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/vfs"
)

func newSnapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot DEST",
		Short: "Copy a data directory at one moment, also while it is in use",
		Long: `Makes DEST, a directory that is missing or empty, a copy of the data directory as
it is at one moment, while the service goes on: sealed segments are hard links,
the rest is copied and synced. DEST must be in the same file system. Transactions
wait while the moment is kept, for the time that "shut" says.

Of a directory that is not in use the state (DIR/state) is copied too. Of one in
use it is not: the first start on the copy rebuilds it from the changelogs.

To keep the copy elsewhere: tar or rsync DEST, then remove it. To restore: copy it
to where the service expects its directory, and start the service.`,
		Args: exactly(1, "the destination"),
		RunE: runSnapshot,
	}
	addSettings(cmd, "data-dir")
	cmd.Flags().Duration("timeout", 10*time.Second, "how long to wait for the moment")
	return cmd
}

// snapshotMade is what `snapshot -o json` prints.
type snapshotMade struct {
	DataDir     string  `json:"data_dir"`
	Destination string  `json:"destination"`
	Live        bool    `json:"live"`
	Partitions  int64   `json:"partitions"`
	LinkedBytes int64   `json:"linked_bytes"`
	CopiedBytes int64   `json:"copied_bytes"`
	ShutMS      float64 `json:"shut_ms"`
	State       bool    `json:"state"` // the state is in it
}

func runSnapshot(cmd *cobra.Command, args []string) error {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	s, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	timeout, err := cmd.Flags().GetDuration("timeout")
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(s.GetString("data-dir"))
	if err != nil {
		return err
	}
	dest, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	made := snapshotMade{DataDir: dir, Destination: dest}
	o := broker.SnapshotOptions{Stopped: func() error {
		made.State = true
		n, err := copyState(dir, dest)
		made.CopiedBytes += n
		return err
	}}
	sum, err := broker.Snapshot(ctx, vfs.OS(), dir, dest, o)
	if err != nil {
		return err
	}
	made.Live, made.Partitions, made.LinkedBytes = sum.Live, sum.Partitions, sum.Linked
	made.CopiedBytes += sum.Copied
	made.ShutMS = float64(sum.Shut.Microseconds()) / 1000
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(made)
	}
	state := "with the state"
	if !made.State {
		state = "the state is rebuilt from the changelogs at the first start"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d partitions, %d bytes linked, %d bytes copied, shut %.1f ms; %s\n",
		dest, made.Partitions, made.LinkedBytes, made.CopiedBytes, made.ShutMS, state)
	return err
}

// copyState copies DIR/state of a directory that is not in use. Nothing is
// linked: Badger writes into its files in place.
func copyState(dir, dest string) (copied int64, err error) {
	from, to := filepath.Join(dir, stateDir), filepath.Join(dest, stateDir)
	names, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return 0, err
	}
	for _, n := range names {
		if !n.Type().IsRegular() {
			continue
		}
		c, err := copyFile(filepath.Join(from, n.Name()), filepath.Join(to, n.Name()))
		if err != nil {
			return copied, err
		}
		copied += c
	}
	return copied, vfs.OS().SyncDir(to)
}

func copyFile(from, to string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if n, err = io.Copy(out, in); err != nil {
		return n, err
	}
	return n, out.Sync()
}
