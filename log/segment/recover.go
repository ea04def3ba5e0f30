package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// recovery is one Open: docs/format/segment.md, "Recovery".
type recovery struct {
	l      *Log
	o      OpenOptions
	report Recovery

	segs []*segment
	// scanFrom is the first segment that is read whole; len(segs) if none.
	scanFrom int
	end      record.Offset
	// greatest epoch seen anywhere, also in what was cut
	epoch         record.LeaderEpoch
	rebuildEpochs bool
	existed       bool // the directory had segments
}

func (r *recovery) run() error {
	l := r.l
	if err := l.prepareDir(); err != nil {
		return err
	}
	bases, names, err := l.sweep()
	if err != nil {
		return err
	}
	ok, err := l.loadEpochs()
	if err != nil {
		return err
	}
	r.epoch = max(l.epochs.latest(), record.NoLeaderEpoch)
	r.existed = len(bases) > 0
	r.rebuildEpochs = !ok && r.existed
	if err := r.list(bases); err != nil {
		return err
	}
	if err := r.trusted(); err != nil {
		return err
	}
	if err := r.loadProducers(names); err != nil {
		return err
	}
	if err := r.scanAll(); err != nil {
		return err
	}
	return r.finish()
}

// list sets the segments up and decides which are read whole.
func (r *recovery) list(bases []record.Offset) error {
	l := r.l
	if len(bases) == 0 {
		if err := l.createSegment(max(r.o.LogStart, 0)); err != nil {
			return err
		}
		r.segs = l.list()
		r.scanFrom, r.end = 1, r.segs[0].base
		return nil
	}
	for _, base := range bases {
		s := l.newSegment(base)
		info, err := l.fs.Stat(s.log.path)
		if err != nil {
			return err
		}
		s.size.Store(info.Size())
		r.segs = append(r.segs, s)
	}
	l.setSegments(r.segs)
	r.scanFrom = len(r.segs)
	if !r.o.Clean {
		// A segment that was sealed when the recovery point was taken was synced
		// with its indexes. One that ends exactly there was perhaps still active.
		r.scanFrom = 0
		for r.scanFrom < len(r.segs)-1 && r.segs[r.scanFrom+1].base < r.o.RecoveryPoint {
			r.scanFrom++
		}
	}
	return nil
}

// trusted loads the indexes of the segments that are not scanned, and rebuilds
// those that are missing or wrong. Clean, it finds the end of the log.
func (r *recovery) trusted() error {
	for i := range r.scanFrom {
		s := r.segs[i]
		s.named.Store(true)
		s.synced.Store(s.size.Load())
		if err := s.checkIndexes(); err != nil {
			r.l.logger.Warn("index rebuilt", "segment", s.log.path, "error", err)
			r.report.IndexesRebuilt++
			if err := r.rebuildIndexes(s); err != nil {
				return err
			}
		}
		end := record.Offset(1<<63 - 1)
		if i+1 < len(r.segs) {
			end = r.segs[i+1].base
		}
		if err := s.loadTxn(end); err != nil {
			r.l.logger.Warn("transaction index rebuilt", "segment", s.log.path, "error", err)
			r.report.IndexesRebuilt++
			r.scanFrom = min(r.scanFrom, i) // needs the producer state: scan from here, nothing is cut below the recovery point
		}
	}
	if r.scanFrom < len(r.segs) {
		r.end = r.segs[r.scanFrom].base
		return nil
	}
	return r.findEnd(r.segs[len(r.segs)-1])
}

// findEnd walks the active segment's headers from its last index entry.
func (r *recovery) findEnd(s *segment) error {
	r.end = s.base
	if s.size.Load() == 0 {
		return nil
	}
	var pos int64
	if n := s.index.entries.Load(); n > 0 {
		e, err := s.index.at(n - 1)
		if err != nil {
			return err
		}
		pos = e.position()
	}
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	sc := newScanner(f, pos, s.size.Load())
	sc.noCRC = true
	s.sinceIndex = s.size.Load() - pos
	if s.size.Load() >= record.HeaderSize {
		head := make([]byte, record.HeaderSize)
		if _, err := f.ReadAt(head, 0); err != nil {
			return err
		}
		if h, err := record.ParseHeader(head); err == nil {
			s.firstTime = h.MaxTimestamp
		}
	}
	for {
		h, _, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && h.BaseOffset < r.end {
			err = fmt.Errorf("base offset %d below %d", h.BaseOffset, r.end)
		}
		if err != nil {
			return r.corrupt(s, at, r.end, err)
		}
		s.note(&h)
		r.end = h.NextOffset()
	}
}

func (r *recovery) corrupt(s *segment, pos int64, offset record.Offset, err error) error {
	return &CorruptionError{Path: s.log.path, Offset: offset, Pos: pos, Err: err}
}

// rebuildIndexes makes a trusted segment's offset and time index anew from its headers.
func (r *recovery) rebuildIndexes(s *segment) error {
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	sc := newScanner(f, 0, s.size.Load())
	sc.noCRC = true
	var e indexEntries
	s.resetIndexState()
	for {
		h, _, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.corrupt(s, at, s.base, err)
		}
		s.indexBatch(&h, at, r.l.settings.Load().IndexIntervalBytes, &e)
	}
	s.timeEntry(&e)
	return s.writeIndexes(&e)
}

func (s *segment) resetIndexState() {
	s.firstTime, s.lastEntry, s.sinceIndex = record.NoTimestamp, record.NoTimestamp, 0
	s.maxTime.Store(record.NoTimestamp)
	s.maxTimeOffset.Store(int64(record.NoOffset))
}

// scanAll reads what may be torn, from scanFrom on, and cuts at the first batch that is not right.
func (r *recovery) scanAll() error {
	l := r.l
	for i := r.scanFrom; i < len(r.segs); i++ {
		s := r.segs[i]
		if s.base != r.end {
			return r.cutSegments(i, fmt.Errorf("segment %s begins at %d, but the one before ends at %d", s.log.path, s.base, r.end))
		}
		if i > r.scanFrom {
			l.warn("producer snapshot", l.writeSnapshot(s.base, false))
		}
		cut, err := r.scanSegment(s)
		if err != nil {
			return err
		}
		if cut != nil {
			if i+1 < len(r.segs) {
				return r.cutSegments(i+1, cut)
			}
			return nil
		}
	}
	return nil
}

// scanSegment checks a segment and rebuilds its indexes; cut says why its tail was cut, if it was.
func (r *recovery) scanSegment(s *segment) (cut error, err error) {
	f, err := s.log.acquire()
	if err != nil {
		return nil, err
	}
	defer s.log.release()
	sc := newScanner(f, 0, s.size.Load())
	var e indexEntries
	var aborted []AbortedTxn
	s.resetIndexState()
	s.txn.list.Store(nil)
	interval := r.l.settings.Load().IndexIntervalBytes
	for {
		h, raw, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.follows(s, &h)
		}
		if err != nil && !isBatchError(err) {
			return nil, err
		}
		if err != nil {
			if r.end < r.o.RecoveryPoint || r.o.Clean {
				return nil, r.corrupt(s, at, r.end, err)
			}
			cut, sc.pos = err, at // next is past a batch that does not follow
			break
		}
		r.noteEpoch(&h)
		t, isAborted, err := r.l.producers.fold(&h, raw, r.o.Now)
		if err != nil {
			return nil, r.corrupt(s, at, h.BaseOffset, err)
		}
		if isAborted {
			aborted = append(aborted, t)
		}
		s.indexBatch(&h, at, interval, &e)
		r.end = h.NextOffset()
	}
	r.report.Scanned += sc.pos
	if cut != nil {
		r.noteCut(s.size.Load()-sc.pos, cut)
		if err := f.Truncate(sc.pos); err != nil {
			return nil, fmt.Errorf("cut %s to %d bytes: %w", s.log.path, sc.pos, err)
		}
		s.size.Store(sc.pos)
	}
	return cut, r.adoptScan(s, &e, aborted)
}

// adoptScan writes the rebuilt indexes of a scanned segment.
func (r *recovery) adoptScan(s *segment, e *indexEntries, aborted []AbortedTxn) error {
	if s != r.segs[len(r.segs)-1] {
		s.timeEntry(e)
	}
	if err := s.writeIndexes(e); err != nil {
		return err
	}
	if len(aborted) > 0 {
		s.txn.list.Store(&aborted)
	}
	if _, err := r.l.fs.Stat(s.txn.path); err == nil {
		s.txn.created = true
	}
	s.txn.dirty.Store(true)
	return s.txn.rewrite()
}

// follows checks what the CRC does not cover: the base offset. Above a known
// recovery point nothing was compacted, so it follows exactly; elsewhere it
// may leave gaps. (A torn write leaves zeros there, never a greater offset.)
func (r *recovery) follows(s *segment, h *record.BatchHeader) error {
	exact := r.o.RecoveryPoint > 0 && r.end >= r.o.RecoveryPoint && !r.o.Clean
	if h.BaseOffset == r.end || h.BaseOffset > r.end && !exact && h.LastOffset()-s.base < 1<<31 {
		return nil
	}
	return &record.BatchError{BaseOffset: h.BaseOffset, Record: -1, Field: "base offset",
		Expected: fmt.Sprint(r.end), Found: fmt.Sprint(h.BaseOffset), Err: record.ErrCorrupt}
}

func (r *recovery) noteCut(bytes int64, reason error) {
	r.report.Cut += bytes
	r.report.CutFrom, r.report.Reason = r.end, reason
}

// cutSegments removes the segments from i on: they lie behind a cut or a hole.
func (r *recovery) cutSegments(i int, reason error) error {
	if r.end < r.o.RecoveryPoint || r.o.Clean {
		return r.corrupt(r.segs[i], 0, r.end, reason)
	}
	for j := len(r.segs) - 1; j >= i; j-- { // the last first: a crash in between leaves the hole to be found again
		s := r.segs[j]
		r.noteCut(s.size.Load(), reason)
		r.report.Segments++
		s.retire()
		if err := r.l.removeFiles(s.base); err != nil {
			return err
		}
	}
	r.segs = r.segs[:i]
	if i == 0 {
		if err := r.l.createSegment(r.end); err != nil {
			return err
		}
		r.segs = r.l.list()
	}
	r.l.setSegments(r.segs)
	return nil
}

// finish publishes the offsets, raises the epoch and makes an unclean start's result durable.
func (r *recovery) finish() error {
	l := r.l
	if r.end < r.o.LogStart {
		if err := r.restartAt(r.o.LogStart); err != nil {
			return err
		}
	}
	l.start.Store(int64(max(r.o.LogStart, r.segs[0].base)))
	l.end.Store(int64(r.end))
	l.stable.Store(int64(l.producers.stable(r.end)))
	l.checkpointed.Store(int64(r.o.RecoveryPoint))
	if err := r.settle(); err != nil {
		return err
	}
	if r.o.Clean {
		l.checkpointed.Store(int64(r.end))
	}
	l.durable.Store(int64(r.end))
	return nil
}

// settle decides the epoch to write with and syncs.
func (r *recovery) settle() error {
	l := r.l
	before := slices.Clone(l.epochs.list)
	l.epochs.cutEnd(r.end)
	epoch := max(r.o.Epoch, r.epoch, 0)
	if !r.o.Clean && r.epoch >= 0 {
		epoch = max(r.o.Epoch, r.epoch+1)
	}
	l.epochs.assign(epoch, r.end)
	changed := !slices.Equal(before, l.epochs.list) // an empty log's epoch was cut and is the same again
	l.epoch.Store(int32(epoch))
	r.report.Epoch = epoch
	if !r.o.Clean {
		for _, s := range r.segs {
			if s.synced.Load() >= s.size.Load() && s.named.Load() {
				continue
			}
			if err := l.syncSegment(s, s.size.Load()); err != nil {
				return err
			}
			s.named.Store(true)
		}
		if err := l.fs.SyncDir(l.cfg.Dir); err != nil {
			return err
		}
	} else if len(r.segs) == 1 && !r.segs[0].named.Load() {
		if err := l.fs.SyncDir(l.cfg.Dir); err != nil {
			return err
		}
		r.segs[0].named.Store(true)
	}
	if changed || r.rebuildEpochs {
		return r.writeEpochs()
	}
	return nil
}

// writeEpochs makes the epoch durable. If there is no space for that, what is
// in the log can be read all the same, so only appends wait for it.
func (r *recovery) writeEpochs() error {
	l := r.l
	err := l.writeEpochs()
	if !r.existed || !NoSpace(err) {
		return err
	}
	l.epochUnwritten.Store(true)
	l.logger.Warn("no space for the leader epoch: appends are refused until there is",
		"topic", l.cfg.Partition.Topic, "partition", l.cfg.Partition.Partition, "error", err)
	return nil
}

// restartAt empties the log: its start was persisted, but not what lies before it.
func (r *recovery) restartAt(start record.Offset) error {
	l := r.l
	for j := len(r.segs) - 1; j >= 0; j-- {
		r.segs[j].retire()
		if err := l.removeFiles(r.segs[j].base); err != nil {
			return err
		}
	}
	if err := l.createSegment(start); err != nil {
		return err
	}
	r.segs, r.end = l.list(), start
	return nil
}
