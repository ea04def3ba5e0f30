package segment

import (
	"errors"
	"io"

	"github.com/millstream-io/millstream/log/record"
)

const cleanWriteBuffer = 256 << 10

// cleanGroup rewrites segments that lie side by side into one, which replaces them.
func (c *cleaner) cleanGroup(group []*segment, end record.Offset, aborts *abortedScan) (err error) {
	l := c.l
	dst := l.newSegment(group[0].base)
	for _, h := range dst.handles() {
		h.path += suffixCleaned
	}
	if err := dst.createFiles(); err != nil {
		return err
	}
	w := &cleanWriter{seg: dst, interval: l.settings.Load().IndexIntervalBytes, builder: record.NewBuilder()}
	defer func() {
		if err != nil {
			dst.retire()
			for _, h := range dst.handles() {
				_ = l.fs.Remove(h.path)
			}
		}
	}()
	if err := c.open.begin(dst.base); err != nil {
		return err
	}
	for _, s := range group {
		c.res.BytesBefore += s.size.Load()
		if err := c.cleanSegment(s, end, w, aborts); err != nil {
			return err
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	c.res.BytesAfter += w.pos
	if len(group) == 1 && w.unchanged {
		// Nothing to gain: leave the old one.
		dst.retire()
		for _, h := range dst.handles() {
			_ = l.fs.Remove(h.path)
		}
		return nil
	}
	if err := c.open.flush(); err != nil {
		return err
	}
	c.res.Segments += len(group)
	return l.replace(group, dst, end)
}

func (s *segment) handles() []*handle {
	return []*handle{&s.index.handle, &s.time.handle, &s.txn.handle, &s.log}
}

// cleanWriter writes the surviving batches and their indexes.
type cleanWriter struct {
	seg       *segment
	interval  int64
	builder   *record.Builder
	buf       []byte
	pos       int64 // written, buf excluded
	entries   indexEntries
	changed   bool
	unchanged bool
	txns      []AbortedTxn
	scratch   []byte
}

func (w *cleanWriter) add(h *record.BatchHeader, raw []byte) error {
	w.seg.indexBatch(h, w.pos+int64(len(w.buf)), w.interval, &w.entries)
	w.buf = append(w.buf, raw...)
	if len(w.buf) >= cleanWriteBuffer {
		return w.flush()
	}
	return nil
}

func (w *cleanWriter) flush() error {
	f, err := w.seg.log.acquire()
	if err != nil {
		return err
	}
	defer w.seg.log.release()
	w.seg.log.dirty.Store(true)
	if _, err := f.WriteAt(w.buf, w.pos); err != nil {
		return err
	}
	w.pos += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// finish completes all files and makes them durable under their .cleaned names.
func (w *cleanWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	w.unchanged = !w.changed
	s := w.seg
	s.size.Store(w.pos)
	s.timeEntry(&w.entries)
	if len(w.entries.offsets) > 0 {
		if err := s.index.append(w.entries.offsets); err != nil {
			return err
		}
	}
	if len(w.entries.times) > 0 {
		if err := s.time.append(w.entries.times); err != nil {
			return err
		}
	}
	// Written even if empty, so that it replaces what the old segment had.
	txn, err := s.txn.fs.Create(s.txn.path)
	if err != nil {
		return err
	}
	s.txn.adopt(txn)
	s.txn.created = true
	s.txn.list.Store(&w.txns)
	s.txn.dirty.Store(true)
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	err = f.Sync()
	s.log.release()
	if err != nil {
		return err
	}
	s.log.dirty.Store(false)
	s.synced.Store(w.pos)
	return s.syncAux()
}

// cleanSegment filters one segment into the writer.
func (c *cleaner) cleanSegment(s *segment, end record.Offset, w *cleanWriter, aborts *abortedScan) error {
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	sc := newScanner(f, 0, s.size.Load())
	for {
		if err := c.stopped(); err != nil {
			return err
		}
		h, raw, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return c.l.readError(s, s.base, at, err)
		}
		c.res.RecordsBefore += int64(h.Count)
		if h.Control() {
			err = c.cleanMarker(&h, raw, end, w, s)
		} else {
			err = c.cleanData(&h, raw, end, w, aborts)
		}
		if err != nil {
			return c.l.readError(s, h.BaseOffset, at, placed(err, at))
		}
	}
}

// mustStay says that a batch stays though it is empty: it is its producer's last word, or its segment's last batch.
func (c *cleaner) mustStay(h *record.BatchHeader, end record.Offset) bool {
	if h.NextOffset() == end {
		return true
	}
	last, ok := c.live[h.ProducerID]
	if !h.HasProducer() || !ok {
		return false
	}
	if last.offset != record.NoOffset {
		return h.LastOffset() == last.offset
	}
	return h.Control() && h.ProducerEpoch == last.epoch
}

// horizon is from when a batch's tombstones or marker may go, and whether that is written in the batch.
func (c *cleaner) horizon(h *record.BatchHeader) (ms int64, set bool) {
	if ms, ok := h.DeleteHorizon(); ok {
		return ms, true
	}
	return c.o.Now + c.l.settings.Load().DeleteRetention.Milliseconds(), false
}

func (c *cleaner) held(h *record.BatchHeader) bool {
	return c.o.Hold >= 0 && h.LastOffset() >= c.o.Hold
}

// cleanData keeps the records that are their key's last word.
func (c *cleaner) cleanData(h *record.BatchHeader, raw []byte, end record.Offset, w *cleanWriter, aborts *abortedScan) error {
	discard := aborts.aborted(h)
	ms, set := c.horizon(h)
	expired := set && c.o.Now >= ms && !c.held(h)
	it := record.NewIterator(raw, record.ReadOptions{SkipCRC: true})
	defer it.Release()
	var v record.View
	kept, tombstones := int32(0), false
	for !discard && it.Next(&v) {
		if !c.keeps(&v, expired) {
			if c.latest(&v) && v.Value == nil {
				c.res.Tombstones++
			}
			continue
		}
		kept++
		tombstones = tombstones || v.Value == nil
	}
	if it.Err() != nil { // its records cannot be read: see mapBatch
		c.kept[h.ProducerID] = c.kept[h.ProducerID] || h.Transactional()
		c.res.RecordsAfter += int64(h.Count)
		return w.add(h, raw)
	}
	if kept == 0 && !c.mustStay(h, end) {
		w.changed = true
		return nil
	}
	if h.Transactional() {
		c.kept[h.ProducerID] = true
	}
	c.res.RecordsAfter += int64(kept)
	needHorizon := tombstones && !set
	switch {
	case kept == h.Count && !needHorizon:
		return w.add(h, raw)
	case kept == 0:
		return w.addEmpty(h)
	}
	return c.rewrite(h, raw, w, ms, set || needHorizon, expired)
}

// rewrite writes a batch again with the records that stay.
func (c *cleaner) rewrite(h *record.BatchHeader, raw []byte, w *cleanWriter, horizon int64, set, expired bool) error {
	w.changed = true
	b := w.builder
	b.Reset()
	b.ResetFrom(h)
	if set {
		b.SetDeleteHorizon(horizon)
	}
	it := record.NewIterator(raw, record.ReadOptions{SkipCRC: true})
	defer it.Release()
	var v record.View
	for it.Next(&v) {
		if h.Control() || c.keeps(&v, expired) {
			b.AppendAt(&v)
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	out, err := b.Finish(h.Codec())
	if err != nil {
		return err
	}
	nh, err := record.ParseHeader(out)
	if err != nil {
		return err
	}
	return w.add(&nh, out)
}

// latest says that no later record has the key. One without a key never is,
// as for Kafka: a compacted topic refuses such at produce.
func (c *cleaner) latest(v *record.View) bool {
	return v.Key != nil && v.Offset >= c.o.Map.get(v.Key)
}

// keeps decides about one record; expired: tombstones of its batch may go.
func (c *cleaner) keeps(v *record.View, expired bool) bool {
	return v.Offset >= c.seen || c.latest(v) && !(v.Value == nil && expired)
}

func (w *cleanWriter) addEmpty(h *record.BatchHeader) error {
	w.changed = true
	w.scratch = record.AppendEmptyBatch(w.scratch[:0], *h)
	nh, err := record.ParseHeader(w.scratch)
	if err != nil {
		return err
	}
	return w.add(&nh, w.scratch)
}

// cleanMarker keeps a marker while a batch of its transaction is kept, and
// after that until its horizon. Its entry in the transaction index lives as long.
func (c *cleaner) cleanMarker(h *record.BatchHeader, raw []byte, end record.Offset, w *cleanWriter, s *segment) error {
	needed := c.kept[h.ProducerID] || h.BaseOffset >= c.seen
	delete(c.kept, h.ProducerID)
	ms, set := c.horizon(h)
	gone := !needed && (h.Count == 0 || set && c.o.Now >= ms && !c.held(h)) && !c.mustStay(h, end)
	if h.Count > 0 {
		c.open.marker(h.ProducerID, gone)
	}
	if gone {
		w.changed = true
		return nil
	}
	if entry, ok := abortedAt(s, h.BaseOffset); ok {
		w.txns = append(w.txns, entry)
	}
	c.res.RecordsAfter += int64(h.Count)
	if needed || set || h.Count == 0 {
		return w.add(h, raw)
	}
	return c.rewrite(h, raw, w, ms, true, false)
}

func abortedAt(s *segment, marker record.Offset) (AbortedTxn, bool) {
	for _, t := range s.txn.aborted() {
		if t.Last == marker {
			return t, true
		}
	}
	return AbortedTxn{}, false
}
