package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// sinkRunner runs one sink connector on a goroutine of its own: what is
// committed in its topic goes out, then its offsets are committed in the group
// "<app>-sink-<name>". A restart writes again what came after the last commit.
type sinkRunner struct {
	e          *Engine
	cfg        Sink
	member     logclient.Member
	generation logclient.Generation
	reader     logclient.Reader
	writer     logclient.Writer
	tps        []record.TopicPartition

	records []connectors.Record // of one poll, copied out of it
	batch   connectors.Batch    // their memory
	next    logclient.Positions // written, to be committed
	dead    int64
	due     time.Time // of the commit; zero if there is nothing to commit
	ended   chan struct{}

	mu        sync.Mutex
	draining  bool
	interrupt context.CancelFunc
	committed map[record.TopicPartition]record.Offset
}

func newSinkRunner(e *Engine, s Sink) *sinkRunner {
	e.status.addSink(s)
	return &sinkRunner{e: e, cfg: s, ended: make(chan struct{}), committed: map[record.TopicPartition]record.Offset{}}
}

// drain makes the sink end once everything is written that its topic holds now.
func (s *sinkRunner) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.interrupt != nil {
		s.interrupt()
	}
}

// positions are the committed offsets.
func (s *sinkRunner) positions() map[record.TopicPartition]record.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.committed)
}

func (s *sinkRunner) run(work context.Context) (err error) {
	defer func() {
		if err != nil {
			s.e.status.sink(s.cfg.Name, "failed", err)
			return
		}
		s.e.status.sink(s.cfg.Name, "ended", nil)
		close(s.ended) // a failure is not an end: who waits gets it from work
	}()
	backoff := time.Duration(0)
	if err := s.open(work, &backoff); err != nil || work.Err() != nil {
		return err
	}
	defer s.cfg.Sink.Close()
	for {
		err := s.once(work, &backoff)
		s.close()
		if err == nil || work.Err() != nil {
			return nil
		}
		if c := logclient.Classify(err); c == logclient.ClassFatal || c == logclient.ClassFenced {
			return fmt.Errorf("sink %s: %w", s.cfg.Name, err)
		}
		s.e.logger.Warn("sink goes back to its last commit", "sink", s.cfg.Name, "err", err)
		if !pause(work, &backoff) {
			return nil
		}
	}
}

// open opens the connector, trying again for as long as it takes.
func (s *sinkRunner) open(work context.Context, backoff *time.Duration) error {
	info := s.e.connected[s.cfg.Topic]
	for p := range info.Partitions {
		s.tps = append(s.tps, record.TopicPartition{Topic: s.cfg.Topic, Partition: record.Partition(p)})
	}
	sc := s.e.connectorContext(s.cfg.Name, info, s.e.logger.With("sink", s.cfg.Name))
	for {
		err := s.cfg.Sink.Open(work, sc)
		if err == nil {
			*backoff = 0
			return nil
		}
		s.failed(0, err)
		if !pause(work, backoff) {
			return nil
		}
	}
}

func (s *sinkRunner) failed(took time.Duration, err error) {
	s.e.status.sink(s.cfg.Name, "retrying", err)
	s.e.logger.Warn("sink", "sink", s.cfg.Name, "err", err)
	if h := s.e.cfg.Hooks.Sink; h != nil {
		h(s.cfg.Name, 0, took, err)
	}
}

func (s *sinkRunner) close() {
	ctx := context.Background()
	if s.reader != nil {
		s.reader.Close()
	}
	if s.writer != nil {
		s.writer.Close()
	}
	if s.member != nil {
		s.member.Leave(ctx)
	}
	s.reader, s.writer, s.member = nil, nil, nil
}

// begin opens the sink's group, reader and writer at the committed offsets.
func (s *sinkRunner) begin(work context.Context) (err error) {
	group := s.e.topo.Name + "-sink-" + s.cfg.Name
	if s.writer, err = s.e.log.Writer(work, s.e.sinkID(s.cfg.Name), logclient.WriterConfig{}); err != nil {
		return err
	}
	if s.member, err = s.e.log.Join(work, logclient.MemberConfig{Group: group, Topics: []string{s.cfg.Topic}}); err != nil {
		return err
	}
	a, err := s.member.Next(work)
	if err != nil {
		return err
	}
	s.generation = a.Generation
	committed, err := s.member.Committed(work, s.tps)
	if err != nil {
		return err
	}
	starts, err := s.e.log.Offsets(work, s.tps, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return err
	}
	from := map[record.TopicPartition]record.Offset{}
	for i, tp := range s.tps {
		from[tp] = starts[i].Offset
		if p, ok := committed[tp]; ok {
			from[tp] = max(p.Offset, starts[i].Offset)
		}
	}
	s.mu.Lock()
	s.committed = maps.Clone(from)
	s.mu.Unlock()
	if s.reader, err = s.e.log.Reader(logclient.ReaderConfig{}); err != nil {
		return err
	}
	s.reader.Assign(from)
	s.next, s.due, s.dead = logclient.Positions{}, time.Time{}, 0
	return nil
}

// once is the sink's life between two errors of the log.
func (s *sinkRunner) once(work context.Context, backoff *time.Duration) error {
	if err := s.begin(work); err != nil {
		return err
	}
	s.e.status.sink(s.cfg.Name, "running", nil)
	at := s.positions()
	for {
		ctx, cancel, draining := s.pollContext(work)
		if draining {
			done, err := s.reached(work, at)
			if done || err != nil {
				cancel()
				return errors.Join(err, s.commit(work))
			}
		}
		batches, err := s.reader.Poll(ctx, pollBytes)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("read: %w", err)
		}
		if err := s.take(batches, at); err != nil {
			return err
		}
		if err := s.write(work, backoff); err != nil {
			return err
		}
		if work.Err() != nil {
			return nil
		}
		if !s.due.IsZero() && !time.Now().Before(s.due) {
			if err := s.commit(work); err != nil {
				return err
			}
			*backoff = 0
		}
	}
}

func (s *sinkRunner) pollContext(work context.Context) (context.Context, context.CancelFunc, bool) {
	var ctx context.Context
	var cancel context.CancelFunc
	if s.due.IsZero() {
		ctx, cancel = context.WithCancel(work)
	} else {
		ctx, cancel = context.WithDeadline(work, s.due)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupt = cancel
	if s.draining {
		s.interrupt = nil
	}
	return ctx, cancel, s.draining
}

// reached reports whether everything is written that was committed by now.
func (s *sinkRunner) reached(work context.Context, at map[record.TopicPartition]record.Offset) (bool, error) {
	ends, err := s.e.log.Offsets(work, s.tps, logclient.At{Kind: logclient.AtStable})
	if err != nil {
		return false, err
	}
	for i, tp := range s.tps {
		if at[tp] < ends[i].Offset {
			return false, nil
		}
	}
	return true, nil
}

// take copies the records of a poll, so that its memory can go back at once
// while the other system takes its time.
func (s *sinkRunner) take(batches []logclient.Batch, at map[record.TopicPartition]record.Offset) error {
	s.batch.Reset()
	s.records = s.records[:0]
	var v record.View
	var err error
	for _, b := range batches {
		tp := b.TopicPartition()
		for b.Next(&v) {
			s.batch.Add(connectors.Out{Key: v.Key, Value: v.Value, Headers: v.Headers, Timestamp: v.Timestamp})
			s.records = append(s.records, connectors.Record{View: record.View{Offset: v.Offset}, Topic: tp.Topic, Partition: tp.Partition})
		}
		if b.Err() != nil && err == nil {
			err = fmt.Errorf("read %s-%d: %w", tp.Topic, tp.Partition, b.Err())
		}
		at[tp] = b.NextOffset()
		s.next[tp] = logclient.Position{Offset: b.NextOffset(), Epoch: b.Epoch()}
		b.Release()
	}
	for i, o := range s.batch.Records() {
		r := &s.records[i]
		r.Key, r.Value, r.Headers, r.Timestamp = o.Key, o.Value, o.Headers, o.Timestamp
	}
	if len(s.records) > 0 && s.due.IsZero() {
		s.due = time.Now().Add(s.e.cfg.CommitInterval)
	}
	return err
}

// write hands the records to the connector until it has taken them all: tries
// again after an error, puts the one aside that it will never take.
func (s *sinkRunner) write(work context.Context, backoff *time.Duration) error {
	left := s.records
	for len(left) > 0 {
		began := time.Now()
		err := s.cfg.Sink.Write(work, left)
		took := time.Since(began)
		var bad *connectors.RecordError
		switch {
		case err == nil:
			s.written(int64(len(left)), took)
			return nil
		case work.Err() != nil:
			return nil
		case errors.As(err, &bad) && bad.Index >= 0 && bad.Index < len(left):
			if err := s.putAside(&left[bad.Index], bad.Err); err != nil {
				return err
			}
			s.written(int64(bad.Index), took)
			left = left[bad.Index+1:]
		default:
			s.failed(took, err)
			if !pause(work, backoff) {
				return nil
			}
		}
	}
	return nil
}

func (s *sinkRunner) written(n int64, took time.Duration) {
	s.e.status.sinkWritten(s.cfg.Name, n)
	if h := s.e.cfg.Hooks.Sink; h != nil && n > 0 {
		h(s.cfg.Name, n, took, nil)
	}
}

func (s *sinkRunner) putAside(r *connectors.Record, reason error) error {
	v := deadLetter(r.View, s.cfg.Name, reason.Error())
	v.Headers = append(v.Headers,
		record.Header{Key: connectors.HeaderTopic, Value: []byte(r.Topic)},
		record.Header{Key: connectors.HeaderPartition, Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
		record.Header{Key: connectors.HeaderOffset, Value: strconv.AppendInt(nil, int64(r.Offset), 10)})
	s.dead++
	return s.writer.Append(record.TopicPartition{Topic: plan.DeadLettersTopic(s.e.topo.Name)}, v)
}

// commit commits the offsets of what was written, with the dead letters.
func (s *sinkRunner) commit(work context.Context) error {
	if s.due.IsZero() {
		return nil
	}
	if _, err := s.writer.Commit(work, s.next, s.generation); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	s.mu.Lock()
	for tp, p := range s.next {
		s.committed[tp] = p.Offset
	}
	s.mu.Unlock()
	if s.dead > 0 {
		s.e.status.deadLettered(s.dead)
		if h := s.e.cfg.Hooks.DeadLettered; h != nil {
			h(s.cfg.Name, s.dead)
		}
	}
	s.next, s.due, s.dead = logclient.Positions{}, time.Time{}, 0
	return nil
}
