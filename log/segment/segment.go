package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/record"
)

// segment is one .log file with its indexes.
//
// Invariant: size, synced and the index entries only rise while the segment is
// listed; what is below size is whole batches. Fields without an atomic type
// are guarded by Log.mu.
type segment struct {
	base  record.Offset
	log   handle
	index index
	time  index
	txn   txnIndex

	size      atomic.Int64 // bytes of whole batches
	synced    atomic.Int64 // of them, those that fdatasync covered
	named     atomic.Bool  // the directory was synced since the file was created
	auxSynced atomic.Bool  // indexes are durable; only a sealed segment's are synced

	maxTime       atomic.Int64 // greatest timestamp of a batch with records; NoTimestamp if none
	maxTimeOffset atomic.Int64 // last offset of the first batch that has it

	firstTime  int64 // greatest timestamp of the first batch: rolling by time goes by it
	lastEntry  int64 // timestamp of the last time index entry
	sinceIndex int64 // bytes since the last index entry
}

func (l *Log) newSegment(base record.Offset) *segment {
	s := &segment{base: base, firstTime: record.NoTimestamp, lastEntry: record.NoTimestamp}
	s.maxTime.Store(record.NoTimestamp)
	s.maxTimeOffset.Store(int64(record.NoOffset))
	setup := func(h *handle, suffix string) {
		h.cache, h.fs, h.path = l.files, l.fs, fileName(l.cfg.Dir, base, suffix)
		h.fail = l.failSync
	}
	setup(&s.log, suffixLog)
	setup(&s.index.handle, suffixIndex)
	setup(&s.time.handle, suffixTime)
	setup(&s.txn.handle, suffixTxn)
	s.index.entrySize, s.time.entrySize = offsetEntrySize, timeEntrySize
	return s
}

// createFiles makes the empty files of a new segment, the .log last.
func (s *segment) createFiles() error {
	for _, h := range []*handle{&s.time.handle, &s.index.handle, &s.log} {
		f, err := h.fs.Create(h.path)
		if err != nil {
			return err
		}
		h.adopt(f)
	}
	return nil
}

// retire closes all files of a segment that is no longer listed.
func (s *segment) retire() {
	s.log.retire()
	s.index.retire()
	s.time.retire()
	s.txn.retire()
}

// note keeps the greatest timestamp. Batches without records (left by the cleaner) do not count.
func (s *segment) note(h *record.BatchHeader) {
	if h.Count > 0 && h.MaxTimestamp > s.maxTime.Load() {
		s.maxTimeOffset.Store(int64(h.LastOffset()))
		s.maxTime.Store(h.MaxTimestamp)
	}
}

// indexEntries collects the index entries that an append makes.
type indexEntries struct {
	offsets, times []byte
}

func (e *indexEntries) reset() { e.offsets, e.times = e.offsets[:0], e.times[:0] }

// indexBatch notes a batch at position and adds entries if an interval is full.
func (s *segment) indexBatch(h *record.BatchHeader, position, interval int64, e *indexEntries) {
	if position == 0 {
		s.firstTime = h.MaxTimestamp
	}
	s.note(h)
	if s.sinceIndex > interval {
		e.offsets = appendOffsetEntry(e.offsets, s.base, h.LastOffset(), position)
		s.timeEntry(e)
		s.sinceIndex = 0
	}
	s.sinceIndex += int64(h.Size())
}

// timeEntry adds a time index entry if the greatest timestamp rose since the last one.
func (s *segment) timeEntry(e *indexEntries) {
	if t := s.maxTime.Load(); t > s.lastEntry && t >= 0 {
		e.times = appendTimeEntry(e.times, s.base, t, record.Offset(s.maxTimeOffset.Load()))
		s.lastEntry = t
	}
}

// checkIndexes looks at a trusted segment's index files and loads what they
// say. A missing or wrong one is an error: rebuild it.
func (s *segment) checkIndexes() error {
	ob, err := readFile(s.index.fs, s.index.path)
	if err != nil {
		return err
	}
	if err := checkOffsetIndex(s.index.path, ob, s.size.Load()); err != nil {
		return err
	}
	tb, err := readFile(s.time.fs, s.time.path)
	if err != nil {
		return err
	}
	if err := checkTimeIndex(s.time.path, tb); err != nil {
		return err
	}
	s.index.entries.Store(int64(len(ob)) / offsetEntrySize)
	s.time.entries.Store(int64(len(tb)) / timeEntrySize)
	if n := len(tb); n > 0 {
		var e entry
		copy(e[:], tb[n-timeEntrySize:])
		s.lastEntry = e.timestamp()
		s.maxTime.Store(e.timestamp())
		s.maxTimeOffset.Store(int64(e.timeOffset(s.base)))
	}
	return nil
}

// loadTxn reads the transaction index, if there is one. end bounds its offsets.
func (s *segment) loadTxn(end record.Offset) error {
	b, err := readFile(s.txn.fs, s.txn.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.txn.created = true
	list, err := parseTxnIndex(s.txn.path, b, s.base, end)
	if err != nil {
		return err
	}
	s.txn.list.Store(&list)
	return nil
}

// writeIndexes replaces both index files by the entries given.
func (s *segment) writeIndexes(e *indexEntries) error {
	put := func(x *index, b []byte) error {
		f, err := x.fs.Create(x.path)
		if err != nil {
			return fmt.Errorf("rebuild %s: %w", x.path, err)
		}
		x.mu.Lock()
		old := x.f
		x.f = nil
		x.mu.Unlock()
		if old != nil {
			x.cache.remove(&x.handle)
			_ = old.Close()
		}
		x.adopt(f)
		x.entries.Store(int64(len(b)) / x.entrySize)
		x.dirty.Store(true)
		if len(b) > 0 {
			_, err = f.WriteAt(b, 0)
		}
		return err
	}
	if err := put(&s.index, e.offsets); err != nil {
		return err
	}
	return put(&s.time, e.times)
}

// syncAux makes a sealed segment's indexes durable.
func (s *segment) syncAux() error {
	if s.auxSynced.Load() {
		return nil
	}
	for _, sync := range []func() error{s.index.sync, s.time.sync, s.txn.sync} {
		if err := sync(); err != nil {
			return err
		}
	}
	s.auxSynced.Store(true)
	return nil
}
