package segment

import (
	"errors"
	"io"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

const scanBuffer = 256 << 10

// scanner reads a .log file batch after batch.
//
// Invariant: buf[lo:hi] are the file's bytes from pos on.
type scanner struct {
	f        vfs.File
	pos, end int64 // of the next batch; where to stop
	buf      []byte
	lo, hi   int
	noCRC    bool // check headers only
}

func newScanner(f vfs.File, from, end int64) *scanner {
	return &scanner{f: f, pos: from, end: end, buf: make([]byte, min(scanBuffer, max(end-from, record.HeaderSize)))}
}

// fill makes n bytes available from pos; false if the file has fewer before end.
func (s *scanner) fill(n int) (bool, error) {
	if s.hi-s.lo >= n {
		return true, nil
	}
	if int64(n) > s.end-s.pos {
		return false, nil
	}
	have := copy(s.buf, s.buf[s.lo:s.hi])
	if n > len(s.buf) {
		grown := make([]byte, n)
		copy(grown, s.buf[:have])
		s.buf = grown
	}
	want := int(min(int64(len(s.buf)), s.end-s.pos))
	s.lo, s.hi = 0, have
	m, err := s.f.ReadAt(s.buf[have:want], s.pos+int64(have))
	s.hi += m
	if err != nil && !(errors.Is(err, io.EOF) && s.hi >= n) {
		return false, err
	}
	return s.hi >= n, nil
}

// next gives the batch at pos, valid until the next call; io.EOF at the end. A
// bad batch is a *record.BatchError and pos stays at it; other errors are the disk's.
func (s *scanner) next() (h record.BatchHeader, raw []byte, at int64, err error) {
	at = s.pos
	if s.pos >= s.end {
		return h, nil, at, io.EOF
	}
	truncated := func(what, expected string) error {
		return &record.BatchError{Position: int(at), BaseOffset: record.NoOffset, Record: -1, Field: what,
			Expected: expected, Found: "the end of the file", Err: record.ErrTruncated}
	}
	ok, err := s.fill(record.HeaderSize)
	if err != nil {
		return h, nil, at, err
	}
	if !ok {
		return h, nil, at, truncated("header", "61 bytes")
	}
	if h, err = record.ParseHeader(s.buf[s.lo:s.hi]); err != nil {
		return h, nil, at, placed(err, at)
	}
	if ok, err = s.fill(h.Size()); err != nil {
		return h, nil, at, err
	}
	if !ok {
		return h, nil, at, truncated("records", "the batch's length")
	}
	raw = s.buf[s.lo : s.lo+h.Size()]
	if !s.noCRC {
		if _, err = record.Validate(raw); err != nil {
			return h, nil, at, placed(err, at)
		}
	}
	s.lo += h.Size()
	s.pos += int64(h.Size())
	return h, raw, at, nil
}

// placed puts the position in the file into a batch error.
func placed(err error, at int64) error {
	var be *record.BatchError
	if errors.As(err, &be) {
		be.Position = int(at)
	}
	return err
}

func isBatchError(err error) bool {
	var be *record.BatchError
	return errors.As(err, &be)
}
