package segment

import (
	"fmt"
	"math"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// rememberedBatches is how many of a producer's last batches are recognised as
// duplicates: as many as a client may have in flight (KIP-98).
const rememberedBatches = 5

type batchMeta struct {
	lastSeq    int32
	delta      int32 // last offset - first offset
	lastOffset record.Offset
	timestamp  int64
}

func (b *batchMeta) firstSeq() int32 {
	return int32((int64(b.lastSeq) - int64(b.delta)) & math.MaxInt32)
}

// producer is what the log knows of one producer id. Comparable and copied as a value for undo.
type producer struct {
	epoch      record.ProducerEpoch
	coordEpoch int32
	txnFirst   record.Offset // NoOffset if no transaction is open
	lastTime   int64         // ms, of its last batch or marker: what a snapshot keeps
	seen       int64         // ms of the caller's clock when it last wrote; expiry goes by this, since record times may be old
	batches    [rememberedBatches]batchMeta
	n          int
}

func (p *producer) last() *batchMeta { return &p.batches[p.n-1] }

func (p *producer) add(m batchMeta) {
	if p.n == rememberedBatches {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = m
	p.n++
}

func newProducer() producer {
	return producer{epoch: record.NoProducerEpoch, coordEpoch: -1, txnFirst: record.NoOffset, lastTime: record.NoTimestamp}
}

// producers is the producer state of a partition: a fold over its batches.
//
// Invariant: ongoing holds exactly the producers with an open transaction, by
// first offset. undo holds, oldest first, what was before each change since
// the last commit.
type producers struct {
	tp      record.TopicPartition
	byID    map[record.ProducerID]*producer
	ongoing []OngoingTxn
	undo    []undoEntry
}

type undoEntry struct {
	id      record.ProducerID
	old     producer
	existed bool
}

func newProducers(tp record.TopicPartition) *producers {
	return &producers{tp: tp, byID: make(map[record.ProducerID]*producer)}
}

func (s *producers) mark() int { return len(s.undo) }
func (s *producers) commit()   { s.undo = s.undo[:0] }

// rollback takes back everything since mark.
func (s *producers) rollback(mark int) {
	if len(s.undo) == mark {
		return
	}
	for i := len(s.undo) - 1; i >= mark; i-- {
		u := &s.undo[i]
		if u.existed {
			*s.byID[u.id] = u.old
		} else {
			delete(s.byID, u.id)
		}
	}
	s.undo = s.undo[:mark]
	s.rebuildOngoing()
}

func (s *producers) rebuildOngoing() {
	s.ongoing = s.ongoing[:0]
	for id, p := range s.byID {
		if p.txnFirst != record.NoOffset {
			s.ongoing = append(s.ongoing, OngoingTxn{ProducerID: id, Epoch: p.epoch, First: p.txnFirst, LastTime: p.lastTime})
		}
	}
	slices.SortFunc(s.ongoing, func(a, b OngoingTxn) int { return int(min(max(a.First-b.First, -1), 1)) })
}

func (s *producers) touch(id record.ProducerID) *producer {
	p, ok := s.byID[id]
	if !ok {
		fresh := newProducer()
		p = &fresh
		s.byID[id] = p
	}
	s.undo = append(s.undo, undoEntry{id: id, old: *p, existed: ok})
	return p
}

func (s *producers) fail(id record.ProducerID, err error, expected string, found any) error {
	return &ProducerError{Partition: s.tp, ProducerID: id, Expected: expected, Found: fmt.Sprint(found), Err: err}
}

// duplicate finds the batch among those remembered; it was written before.
func (s *producers) duplicate(h *record.BatchHeader) (batchMeta, bool) {
	p := s.byID[h.ProducerID]
	if p == nil || p.epoch != h.ProducerEpoch || h.BaseSequence == record.NoSequence {
		return batchMeta{}, false
	}
	for i := range p.n {
		if b := p.batches[i]; b.lastSeq == h.LastSequence() && b.firstSeq() == h.BaseSequence {
			return b, true
		}
	}
	return batchMeta{}, false
}

// checkData applies the producer's rules to a data batch before it is appended
// (Kafka's ProducerAppendInfo): epoch, sequence, transaction.
func (s *producers) checkData(h *record.BatchHeader, o AppendOptions) error {
	p := s.byID[h.ProducerID]
	if p == nil {
		if o.FromZero && h.BaseSequence != 0 {
			return s.fail(h.ProducerID, ErrOutOfOrderSequence, "base sequence 0 of a producer that the partition does not know", h.BaseSequence)
		}
		return nil // its batches may all have been deleted: any sequence goes
	}
	if h.ProducerEpoch < p.epoch {
		return s.fail(h.ProducerID, ErrProducerEpoch, fmt.Sprintf("epoch %d or higher", p.epoch), h.ProducerEpoch)
	}
	if !o.Coordinator {
		if err := s.checkSequence(p, h); err != nil {
			return err
		}
	}
	if p.txnFirst != record.NoOffset && !h.Transactional() {
		return s.fail(h.ProducerID, ErrTxnState, fmt.Sprintf("a transactional batch, as one is open from offset %d", p.txnFirst), "one without the flag")
	}
	return nil
}

func (s *producers) checkSequence(p *producer, h *record.BatchHeader) error {
	if p.epoch == record.NoProducerEpoch {
		return nil
	}
	expected := int32(0)
	if h.ProducerEpoch == p.epoch {
		if p.n > 0 {
			expected = record.AddSequence(p.last().lastSeq, 1)
		}
	}
	if h.BaseSequence != expected {
		// Also one before the oldest batch that is remembered: it need not have been
		// written, and clients take DUPLICATE_SEQUENCE_NUMBER for success.
		return s.fail(h.ProducerID, ErrOutOfOrderSequence,
			fmt.Sprintf("base sequence %d in epoch %d", expected, h.ProducerEpoch), h.BaseSequence)
	}
	return nil
}

// checkMarker applies the rules for an end-of-transaction marker.
func (s *producers) checkMarker(h *record.BatchHeader, m record.Marker) error {
	p := s.byID[h.ProducerID]
	if p == nil {
		return nil
	}
	if h.ProducerEpoch < p.epoch {
		return s.fail(h.ProducerID, ErrProducerEpoch, fmt.Sprintf("epoch %d or higher", p.epoch), h.ProducerEpoch)
	}
	if m.CoordinatorEpoch < p.coordEpoch {
		return s.fail(h.ProducerID, ErrCoordinatorFenced, fmt.Sprintf("coordinator epoch %d or higher", p.coordEpoch), m.CoordinatorEpoch)
	}
	return nil
}

// applyData folds a data batch, whose offsets are assigned.
func (s *producers) applyData(h *record.BatchHeader, now int64) {
	p := s.touch(h.ProducerID)
	if h.ProducerEpoch != p.epoch {
		p.epoch, p.n = h.ProducerEpoch, 0
	}
	if h.BaseSequence != record.NoSequence {
		p.add(batchMeta{lastSeq: h.LastSequence(), delta: h.LastOffsetDelta, lastOffset: h.LastOffset(), timestamp: h.MaxTimestamp})
	}
	p.lastTime, p.seen = h.MaxTimestamp, now
	if h.Transactional() && p.txnFirst == record.NoOffset {
		p.txnFirst = h.BaseOffset
		s.ongoing = append(s.ongoing, OngoingTxn{ProducerID: h.ProducerID, Epoch: p.epoch, First: h.BaseOffset, LastTime: p.lastTime})
	}
}

// applyMarker folds a marker. If it aborts an open transaction, that is given
// for the transaction index.
func (s *producers) applyMarker(h *record.BatchHeader, m record.Marker, now int64) (t AbortedTxn, aborted bool) {
	p := s.touch(h.ProducerID)
	first := p.txnFirst
	if h.ProducerEpoch != p.epoch {
		p.epoch, p.n = h.ProducerEpoch, 0
	}
	p.coordEpoch, p.txnFirst = m.CoordinatorEpoch, record.NoOffset
	p.lastTime, p.seen = h.MaxTimestamp, now
	if first == record.NoOffset {
		return t, false
	}
	s.ongoing = slices.DeleteFunc(s.ongoing, func(o OngoingTxn) bool { return o.ProducerID == h.ProducerID })
	if m.Type != record.AbortMarker {
		return t, false
	}
	return AbortedTxn{ProducerID: h.ProducerID, First: first, Last: h.BaseOffset, Stable: s.stable(h.NextOffset())}, true
}

// fold applies a batch read back from the log, unchecked. raw is needed for control batches only.
func (s *producers) fold(h *record.BatchHeader, raw []byte, now int64) (t AbortedTxn, aborted bool, err error) {
	if !h.HasProducer() {
		return t, false, nil
	}
	if !h.Control() {
		s.applyData(h, now)
		s.commit()
		return t, false, nil
	}
	m, ok, err := parseMarkerBatch(raw)
	if err != nil || !ok {
		return t, false, err
	}
	t, aborted = s.applyMarker(h, m, now)
	s.commit()
	return t, aborted, nil
}

// parseMarkerBatch reads the marker of a control batch; ok is false if it has
// none: cleaned empty, or of a control type that is not about transactions.
func parseMarkerBatch(raw []byte) (m record.Marker, ok bool, err error) {
	it := record.NewIterator(raw, record.ReadOptions{SkipCRC: true})
	defer it.Release()
	var v record.View
	if !it.Next(&v) {
		return m, false, it.Err()
	}
	t, err := record.ParseControlType(v.Key)
	if err != nil || t != record.AbortMarker && t != record.CommitMarker {
		return m, false, err
	}
	m, err = record.ParseMarker(&v)
	return m, err == nil, err
}

// stable is the last stable offset if the log ends at end.
func (s *producers) stable(end record.Offset) record.Offset {
	if len(s.ongoing) > 0 {
		return min(s.ongoing[0].First, end)
	}
	return end
}

// load replaces the state by a snapshot's.
func (s *producers) load(states []ProducerState, now int64) {
	clear(s.byID)
	s.undo = s.undo[:0]
	for _, st := range states {
		p := newProducer()
		p.epoch, p.coordEpoch, p.txnFirst, p.lastTime, p.seen = st.Epoch, st.CoordinatorEpoch, st.TxnFirst, st.LastTimestamp, now
		if st.LastOffset >= 0 {
			p.add(batchMeta{lastSeq: st.LastSequence, delta: st.offsetDelta, lastOffset: st.LastOffset, timestamp: st.LastTimestamp})
		}
		s.byID[st.ProducerID] = &p
	}
	s.rebuildOngoing()
}

func (s *producers) states() []ProducerState {
	list := make([]ProducerState, 0, len(s.byID))
	for id, p := range s.byID {
		st := ProducerState{
			ProducerID: id, Epoch: p.epoch, LastSequence: record.NoSequence, LastOffset: record.NoOffset,
			LastTimestamp: p.lastTime, CoordinatorEpoch: p.coordEpoch, TxnFirst: p.txnFirst,
		}
		if p.n > 0 {
			b := p.last()
			st.LastSequence, st.LastOffset, st.offsetDelta = b.lastSeq, b.lastOffset, b.delta
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b ProducerState) int { return int(min(max(a.ProducerID-b.ProducerID, -1), 1)) })
	return list
}

// expire forgets idle producers without an open transaction.
func (s *producers) expire(before int64) (n int) {
	for id, p := range s.byID {
		if p.txnFirst == record.NoOffset && p.seen < before {
			delete(s.byID, id)
			n++
		}
	}
	return n
}
