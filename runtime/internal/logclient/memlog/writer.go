package memlog

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// producer is what the log knows of a transactional id.
//
//	idle ──first batch or positions──▶ ongoing ──Commit/Abort/successor/timeout──▶ idle
//
// Invariant: epoch rises with every Writer call and every abort that the
// producer did not ask for; a writer with an older epoch is fenced.
type producer struct {
	id      logclient.TxnID
	pid     record.ProducerID
	epoch   record.ProducerEpoch
	timeout time.Duration
	ongoing bool
	begun   time.Time
	parts   map[record.TopicPartition]struct{}
	group   string
	pending logclient.Positions
}

// end decides the transaction: markers, and positions if it is a commit.
func (pr *producer) end(s *server, commit bool) {
	for _, tp := range sorted(pr.parts) {
		if p := s.partition(tp); p != nil {
			p.mark(pr.pid, commit)
		}
	}
	if commit && len(pr.pending) > 0 {
		maps.Copy(s.group(pr.group).positions, pr.pending)
	}
	pr.ongoing, pr.pending = false, nil
	clear(pr.parts)
	s.wakeAll()
}

// begin starts a transaction if none is ongoing.
func (pr *producer) begin(now time.Time) {
	if !pr.ongoing {
		pr.ongoing, pr.begun = true, now
	}
}

// writer implements logclient.Writer.
type writer struct {
	log   *Log
	pr    *producer
	epoch record.ProducerEpoch
	inUse atomic.Bool

	buffers  map[record.TopicPartition]*buffer
	written  map[record.TopicPartition]logclient.OffsetEpoch // of the open transaction
	buffered int
	dead     error // set once the writer is of no more use
}

type buffer struct {
	records []stored
	bytes   int
}

// Writer implements logclient.Log.
func (l *Log) Writer(ctx context.Context, id logclient.TxnID, cfg logclient.WriterConfig) (logclient.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if cfg.TransactionTimeout == 0 {
		cfg.TransactionTimeout = time.Minute
	}
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.live(); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, fmt.Errorf("memlog: a writer needs a transactional id, which is empty")
	}
	pr := s.producers[id]
	if pr == nil {
		pr = &producer{id: id, pid: s.nextPID, epoch: -1, parts: map[record.TopicPartition]struct{}{}}
		s.nextPID++
		s.producers[id] = pr
	}
	if pr.ongoing {
		pr.end(s, false)
	}
	pr.epoch++
	pr.timeout = cfg.TransactionTimeout
	return &writer{
		log: l, pr: pr, epoch: pr.epoch,
		buffers: map[record.TopicPartition]*buffer{},
		written: map[record.TopicPartition]logclient.OffsetEpoch{},
	}, nil
}

func (w *writer) enter() {
	if !w.inUse.CompareAndSwap(false, true) {
		panic("memlog: a writer is used by two goroutines at once")
	}
}

func (w *writer) leave() { w.inUse.Store(false) }

// alive is called with the log's mu held.
func (w *writer) alive() error {
	if w.dead != nil {
		return w.dead
	}
	if err := w.log.live(); err != nil {
		return err
	}
	if w.pr.epoch != w.epoch {
		w.dead = fmt.Errorf("memlog: transactional id %s: producer epoch %d, expected %d: %w", w.pr.id, w.epoch, w.pr.epoch, logclient.ErrFenced)
		return w.dead
	}
	return nil
}

// Append implements logclient.Writer.
func (w *writer) Append(tp record.TopicPartition, v *record.View) error {
	w.enter()
	defer w.leave()
	s := w.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := w.alive(); err != nil {
		return err
	}
	if s.partition(tp) == nil {
		return unknown(tp)
	}
	r, size := keep(v)
	if size > s.cfg.MaxRecordBytes {
		return &logclient.RecordTooLargeError{TopicPartition: tp, Size: size, Limit: s.cfg.MaxRecordBytes, Key: bytes.Clone(v.Key)}
	}
	b := w.buffers[tp]
	if b == nil {
		b = &buffer{}
		w.buffers[tp] = b
	}
	b.records = append(b.records, r)
	b.bytes += size
	w.buffered += size
	if b.bytes >= s.cfg.BatchBytes {
		w.flush(tp, b)
	}
	return nil
}

// flush hands a partition's records to the log.
func (w *writer) flush(tp record.TopicPartition, b *buffer) {
	if len(b.records) == 0 {
		return
	}
	s := w.log.srv
	p := s.partition(tp)
	w.pr.begin(s.cfg.Now())
	w.pr.parts[tp] = struct{}{}
	p.append(b.records, b.bytes, w.pr.pid, open)
	w.written[tp] = logclient.OffsetEpoch{Offset: p.end, Epoch: p.epoch()}
	w.buffered -= b.bytes
	b.records, b.bytes = nil, 0
	s.wakeAll() // readers of uncommitted records
}

// Buffered implements logclient.Writer.
func (w *writer) Buffered() int {
	w.enter()
	defer w.leave()
	return w.buffered
}

// Commit implements logclient.Writer.
func (w *writer) Commit(ctx context.Context, in logclient.Positions, g logclient.Generation) (map[record.TopicPartition]logclient.OffsetEpoch, error) {
	w.enter()
	defer w.leave()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := w.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, err := w.prepare(in, g)
	if err != nil {
		return nil, err
	}
	if hook := s.cfg.BeforeCommit; hook != nil {
		s.mu.Unlock()
		err := hook(w.pr.id, in)
		s.mu.Lock()
		if err != nil {
			return nil, err
		}
		if err := w.alive(); err != nil {
			return nil, err
		}
	}
	switch fault {
	case FailBefore:
		w.dead = w.unknownOutcome()
		return nil, w.dead
	case FailAfter:
		w.pr.end(s, true)
		w.dead = w.unknownOutcome()
		return nil, w.dead
	}
	if w.pr.ongoing {
		w.pr.end(s, true)
	}
	written := w.written
	w.written = make(map[record.TopicPartition]logclient.OffsetEpoch, len(written))
	return written, nil
}

// prepare does everything that comes before the decision.
func (w *writer) prepare(in logclient.Positions, g logclient.Generation) (CommitFault, error) {
	s := w.log.srv
	if err := w.alive(); err != nil {
		return noFault, err
	}
	for _, tp := range sorted(w.buffers) {
		w.flush(tp, w.buffers[tp])
	}
	fault := s.faults.commit(w.pr.id)
	switch fault {
	case FailFenced:
		w.pr.end(s, false)
		w.pr.epoch++
		return fault, w.alive()
	case FailRebalanced:
		return fault, fmt.Errorf("memlog: group %s, generation %d: injected: %w", g.Group, g.ID, logclient.ErrRebalanced)
	case FailUnavailable:
		return fault, fmt.Errorf("memlog: transactional id %s: injected: %w", w.pr.id, logclient.ErrUnavailable)
	}
	if len(in) == 0 {
		return fault, nil
	}
	if err := s.checkGeneration(g); err != nil {
		return fault, err
	}
	w.pr.begin(s.cfg.Now())
	w.pr.group, w.pr.pending = g.Group, maps.Clone(in)
	return fault, nil
}

func (w *writer) unknownOutcome() error {
	return fmt.Errorf("memlog: transactional id %s: injected: %w", w.pr.id, logclient.ErrUnknownOutcome)
}

// Abort implements logclient.Writer.
func (w *writer) Abort(ctx context.Context) error {
	w.enter()
	defer w.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	s := w.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(w.buffers)
	clear(w.written)
	w.buffered = 0
	if err := w.alive(); err != nil {
		return err
	}
	if w.pr.ongoing {
		w.pr.end(s, false)
	}
	return nil
}

// Close implements logclient.Writer: like the end of a process, it leaves an
// open transaction to its successor or to its timeout.
func (w *writer) Close() error {
	w.enter()
	defer w.leave()
	w.log.srv.mu.Lock()
	defer w.log.srv.mu.Unlock()
	if w.dead == nil {
		w.dead = fmt.Errorf("memlog: the writer of transactional id %s: %w", w.pr.id, logclient.ErrClosed)
	}
	return nil
}
