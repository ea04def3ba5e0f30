package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// readHint remembers where a read ended, so that the next one of a sequential
// reader needs no index. Several readers share the few hints by offset.
type readHint struct {
	mu     sync.Mutex
	seg    *segment
	offset record.Offset
	pos    int64
}

func (l *Log) hinted(s *segment, offset record.Offset) (int64, bool) {
	h := &l.hints[uint64(offset)%uint64(len(l.hints))]
	if !h.mu.TryLock() {
		return 0, false
	}
	defer h.mu.Unlock()
	return h.pos, h.seg == s && h.offset == offset
}

func (l *Log) hint(s *segment, offset record.Offset, pos int64) {
	h := &l.hints[uint64(offset)%uint64(len(l.hints))]
	if h.mu.TryLock() {
		h.seg, h.offset, h.pos = s, offset, pos
		h.mu.Unlock()
	}
}

// forgetHints drops what points to replaced segments.
func (l *Log) forgetHints() {
	for i := range l.hints {
		h := &l.hints[i]
		h.mu.Lock()
		h.seg = nil
		h.mu.Unlock()
	}
}

// Read appends whole batches to dst[:0] and returns them: from the batch that holds offset to at most upTo (exclusive), about
// maxBytes, but at least one batch. It allocates only if that one does not fit dst's capacity. At upTo or the end it
// returns no bytes and no error. CRCs are not checked here: the iterator does.
//
// Errors: *OffsetOutOfRangeError, *CorruptionError, *OfflineError, ErrClosed.
func (l *Log) Read(dst []byte, offset, upTo record.Offset, maxBytes int) ([]byte, error) {
	for {
		if err := l.usable(); err != nil {
			return dst[:0], err
		}
		start, end := l.Start(), l.End()
		if offset < start || offset > end {
			return dst[:0], &OffsetOutOfRangeError{Partition: l.cfg.Partition, Offset: offset, Start: start, End: end}
		}
		upTo := min(upTo, end)
		if offset >= upTo {
			return dst[:0], nil
		}
		segs := l.list()
		var b []byte
		var err error
		// Compaction may leave no batch at or after offset in its segment: go on to the next.
		for i := find(segs, offset); i < len(segs) && segs[i].base < upTo; i++ {
			b, err = l.readSegment(dst, segs[i], offset, upTo, maxBytes)
			if err != nil || len(b) > 0 {
				break
			}
		}
		if err == nil {
			return b, nil
		}
		if !l.gone(err) {
			return dst[:0], err
		}
	}
}

// gone says that a file was replaced or removed under a reader, which then
// looks the segments up again, after a replacement in progress is over.
func (l *Log) gone(err error) bool {
	if !errors.Is(err, errRetired) {
		return false
	}
	l.swap.RLock()
	defer l.swap.RUnlock()
	return true
}

func (l *Log) readSegment(dst []byte, s *segment, offset, upTo record.Offset, maxBytes int) ([]byte, error) {
	limit := s.size.Load()
	f, err := s.log.acquire()
	if err != nil {
		return nil, l.readError(s, offset, 0, err)
	}
	defer s.log.release()
	pos, first, err := l.position(s, f, offset, limit)
	if err != nil || pos < 0 {
		return nil, err
	}
	want := min(int64(max(maxBytes, first)), limit-pos)
	if int64(cap(dst)) < want {
		if first > cap(dst) {
			dst = make([]byte, max(first, min(maxBytes, int(want))))
		}
		want = min(want, int64(cap(dst)))
	}
	b := dst[:want]
	if _, err := f.ReadAt(b, pos); err != nil {
		return nil, l.readError(s, offset, pos, err)
	}
	n, next, err := wholeBatches(b, upTo)
	if err != nil {
		return nil, l.readError(s, offset, pos+int64(n), err)
	}
	if n > 0 {
		l.hint(s, next, pos+int64(n))
	}
	return b[:n], nil
}

// wholeBatches is how many bytes of b are whole batches that begin below upTo, and the offset after them.
func wholeBatches(b []byte, upTo record.Offset) (n int, next record.Offset, err error) {
	for n+record.HeaderSize <= len(b) {
		h, err := record.ParseHeader(b[n:])
		if err != nil {
			return n, next, err
		}
		if h.BaseOffset >= upTo || n+h.Size() > len(b) {
			break
		}
		n += h.Size()
		next = h.NextOffset()
	}
	return n, next, nil
}

func (l *Log) readError(s *segment, offset record.Offset, pos int64, err error) error {
	switch {
	case errors.Is(err, errRetired):
		return err
	case isBatchError(err), errors.Is(err, io.EOF), errors.Is(err, fs.ErrNotExist):
		return &CorruptionError{Path: s.log.path, Offset: offset, Pos: pos, Err: err}
	}
	return fmt.Errorf("read %s: %w", s.log.path, err)
}

// position finds the first batch whose last offset is not below offset, and
// its size; -1 if the segment has none.
func (l *Log) position(s *segment, f vfs.File, offset record.Offset, limit int64) (pos int64, size int, err error) {
	pos, ok := l.hinted(s, offset)
	if !ok || pos > limit {
		if pos, err = s.lookup(offset); err != nil {
			return 0, 0, l.readError(s, offset, 0, err)
		}
	}
	buf := blockPool.Get().(*[searchBlock]byte)
	defer blockPool.Put(buf)
	for pos < limit {
		b := buf[:min(searchBlock, limit-pos)]
		if _, err := f.ReadAt(b, pos); err != nil {
			return 0, 0, l.readError(s, offset, pos, err)
		}
		if len(b) < record.HeaderSize {
			return 0, 0, l.readError(s, offset, pos, io.ErrUnexpectedEOF)
		}
		at := 0
		for at+record.HeaderSize <= len(b) {
			h, err := record.ParseHeader(b[at:])
			if err != nil {
				return 0, 0, l.readError(s, offset, pos+int64(at), err)
			}
			if h.LastOffset() >= offset {
				return pos + int64(at), h.Size(), nil
			}
			at += h.Size()
		}
		pos += int64(at)
	}
	return -1, 0, nil
}

// lookup is where a search for offset begins, by the offset index.
func (s *segment) lookup(offset record.Offset) (int64, error) {
	if offset <= s.base {
		return 0, nil
	}
	e, ok, err := s.index.search(int64(offset - s.base))
	if err != nil || !ok {
		return 0, err
	}
	return e.position(), nil
}

// Aborted appends to dst the aborted transactions that touch [from, to), by first offset.
func (l *Log) Aborted(dst []AbortedTxn, from, to record.Offset) ([]AbortedTxn, error) {
	if err := l.usable(); err != nil {
		return dst, err
	}
	n := len(dst)
	segs := l.list()
search:
	for _, s := range segs[find(segs, from):] {
		for _, t := range s.txn.aborted() {
			if t.Last >= from && t.First < to {
				dst = append(dst, t)
			}
			if t.Stable >= to {
				break search // later ones began after to
			}
		}
	}
	slices.SortFunc(dst[n:], func(a, b AbortedTxn) int { return int(min(max(a.First-b.First, -1), 1)) })
	return dst, nil
}
