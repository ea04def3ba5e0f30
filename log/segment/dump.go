package segment

import (
	"errors"
	"io"
	"iter"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// DumpedBatch is one batch of a .log file. Raw is borrowed until the next one.
type DumpedBatch struct {
	Pos    int64
	Header record.BatchHeader
	Raw    []byte
	Marker record.Marker // of a control batch; Type is -1 otherwise
}

// Dump reads the batches of a .log file in order. A bad batch ends it with a
// *CorruptionError; an error of the disk likewise ends it.
func Dump(fsys vfs.FS, path string) iter.Seq2[DumpedBatch, error] {
	return func(yield func(DumpedBatch, error) bool) {
		f, err := fsys.Open(path)
		if err != nil {
			yield(DumpedBatch{}, err)
			return
		}
		defer f.Close()
		size, err := f.Size()
		if err != nil {
			yield(DumpedBatch{}, err)
			return
		}
		sc := newScanner(f, 0, size)
		next := record.NoOffset
		for {
			h, raw, at, err := sc.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(DumpedBatch{Pos: at}, &CorruptionError{Path: path, Offset: next, Pos: at, Err: err})
				return
			}
			d := DumpedBatch{Pos: at, Header: h, Raw: raw, Marker: record.Marker{Type: -1}}
			if h.Control() {
				m, ok, err := parseMarkerBatch(raw)
				if err != nil {
					yield(d, &CorruptionError{Path: path, Offset: h.BaseOffset, Pos: at, Err: err})
					return
				}
				if ok {
					d.Marker = m
				}
			}
			if !yield(d, nil) {
				return
			}
			next = h.NextOffset()
		}
	}
}
