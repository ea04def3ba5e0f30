package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/log/record"
)

func newDump() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump FILE.log",
		Short: "Print the batches and records of a segment",
		Long: `Prints every batch of a segment file and, unless --records=false, its records.
It reads while the owner writes; it needs no lock and changes nothing. The first
batch that is wrong ends it with exit 1 and the place.`,
		Args: exactly(1, "one segment file"),
		RunE: runDump,
	}
	cmd.Flags().Bool("records", true, "print the records of each batch")
	return cmd
}

// dumpedBatch is a batch as `dump -o json` prints it, one a line.
type dumpedBatch struct {
	Position      int64          `json:"position"`
	BaseOffset    int64          `json:"base_offset"`
	LastOffset    int64          `json:"last_offset"`
	Count         int32          `json:"count"`
	Size          int            `json:"size"`
	LeaderEpoch   int32          `json:"leader_epoch"`
	Codec         string         `json:"codec"`
	MaxTimestamp  int64          `json:"max_timestamp"`
	ProducerID    int64          `json:"producer_id"`
	ProducerEpoch int16          `json:"producer_epoch"`
	BaseSequence  int32          `json:"base_sequence"`
	Transactional bool           `json:"transactional"`
	Control       bool           `json:"control"`
	CRC           uint32         `json:"crc"`
	Records       []dumpedRecord `json:"records,omitempty"`
}

// dumpedRecord has key and value as strings where they are text, else as bytes (base64).
type dumpedRecord struct {
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp"`
	Key       any          `json:"key"`
	Value     any          `json:"value"`
	Headers   []dumpedPair `json:"headers,omitempty"`
}

type dumpedPair struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func runDump(cmd *cobra.Command, args []string) error {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	withRecords, err := cmd.Flags().GetBool("records")
	if err != nil {
		return err
	}
	name := args[0]
	if !strings.HasSuffix(name, ".log") {
		return usagef("%s is not a segment: its name must end in .log", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(cmd.OutOrStdout())
	print := printBatch
	if asJSON {
		print = func(w io.Writer, b *dumpedBatch) error { return json.NewEncoder(w).Encode(b) }
	}
	err = eachBatch(f, func(position int64, batch []byte) error {
		b, err := readBatch(position, batch, withRecords)
		if err != nil {
			return err
		}
		return print(out, b)
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return errors.Join(err, out.Flush())
}

// eachBatch calls fn with each whole batch of a segment and its position.
func eachBatch(r io.Reader, fn func(position int64, batch []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<20)
	var buf []byte
	for position := int64(0); ; position += int64(len(buf)) {
		head, err := in.Peek(record.HeaderSize)
		if err == io.EOF && len(head) == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		h, err := record.ParseHeader(head)
		if err != nil {
			return fmt.Errorf("position %d: %w", position, err)
		}
		if cap(buf) < h.Size() {
			buf = make([]byte, h.Size())
		}
		buf = buf[:h.Size()]
		if n, err := io.ReadFull(in, buf); err != nil {
			return fmt.Errorf("position %d: the batch needs %d bytes, the file has %d: a torn tail, or a write in progress", position, len(buf), n)
		}
		if err := fn(position, buf); err != nil {
			return fmt.Errorf("position %d: %w", position, err)
		}
	}
}

func readBatch(position int64, batch []byte, withRecords bool) (*dumpedBatch, error) {
	h, err := record.Validate(batch)
	if err != nil {
		return nil, err
	}
	b := &dumpedBatch{Position: position, BaseOffset: int64(h.BaseOffset), LastOffset: int64(h.LastOffset()), Count: h.Count,
		Size: h.Size(), LeaderEpoch: int32(h.LeaderEpoch), Codec: h.Codec().String(), MaxTimestamp: h.MaxTimestamp,
		ProducerID: int64(h.ProducerID), ProducerEpoch: int16(h.ProducerEpoch), BaseSequence: h.BaseSequence,
		Transactional: h.Transactional(), Control: h.Control(), CRC: h.CRC}
	if !withRecords {
		return b, nil
	}
	it := record.NewIterator(batch, record.ReadOptions{SkipCRC: true})
	defer it.Release()
	var v record.View
	for it.Next(&v) {
		r := dumpedRecord{Offset: int64(v.Offset), Timestamp: v.Timestamp, Key: text(v.Key), Value: text(v.Value)}
		for _, p := range v.Headers {
			r.Headers = append(r.Headers, dumpedPair{strings.Clone(p.Key), text(p.Value)})
		}
		b.Records = append(b.Records, r)
	}
	return b, it.Err()
}

// text copies bytes as a string where they are printable text.
func text(b []byte) any {
	if b == nil {
		return nil
	}
	for _, r := range string(b) {
		if r == '\uFFFD' || (r < ' ' && r != '\t' && r != '\n' && r != '\r') {
			return append([]byte{}, b...)
		}
	}
	return string(b)
}

func printBatch(w io.Writer, b *dumpedBatch) error {
	kind := ""
	if b.Transactional {
		kind += " transactional"
	}
	if b.Control {
		kind += " control"
	}
	_, err := fmt.Fprintf(w, "batch %d-%d position %d size %d count %d epoch %d codec %s producer %d/%d sequence %d%s\n",
		b.BaseOffset, b.LastOffset, b.Position, b.Size, b.Count, b.LeaderEpoch, b.Codec, b.ProducerID, b.ProducerEpoch, b.BaseSequence, kind)
	for _, r := range b.Records {
		_, e := fmt.Fprintf(w, "  %d time %d key %s value %s", r.Offset, r.Timestamp, quoted(r.Key), quoted(r.Value))
		for _, h := range r.Headers {
			fmt.Fprintf(w, " %s=%s", h.Key, quoted(h.Value))
		}
		fmt.Fprintln(w)
		err = errors.Join(err, e)
	}
	return err
}

func quoted(v any) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprintf("%q", v)
}
