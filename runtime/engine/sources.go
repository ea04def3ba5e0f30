package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// sourceCommitBytes makes a source's commit due before its interval is over.
const sourceCommitBytes = 16 << 20

// sourceRunner runs one source connector on a goroutine of its own: what it
// read, and the position after that, in one transaction.
type sourceRunner struct {
	e          *Engine
	cfg        Source
	writer     logclient.Writer
	partitions int32
	turn       int32
	batch      connectors.Batch

	records, bytes, dead int64 // of the open transaction
	size                 int64 // of what the open transaction holds
	began                time.Time
	ended                chan struct{}
}

func newSourceRunner(e *Engine, s Source) *sourceRunner {
	e.status.addSource(s)
	return &sourceRunner{e: e, cfg: s, ended: make(chan struct{})}
}

// run reads until the source has ended or ctx is done; both end with a commit.
// When the log refuses for a moment, the source is opened again where the last
// commit stood.
func (s *sourceRunner) run(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.e.status.source(s.cfg.Name, "failed", err)
			return
		}
		s.e.status.source(s.cfg.Name, "ended", nil)
		close(s.ended) // a failure is not an end: who waits gets it from work
	}()
	backoff := time.Duration(0)
	for {
		s.e.status.source(s.cfg.Name, "opening", nil)
		err := s.once(ctx, &backoff)
		if err == nil || ctx.Err() != nil && logclient.Classify(err) != logclient.ClassFatal {
			return nil
		}
		class := logclient.ClassFatal
		var se *sourceError
		if !errors.As(err, &se) {
			class = logclient.Classify(err)
		}
		if h := s.e.cfg.Hooks.Source; h != nil {
			h(s.cfg.Name, 0, 0, err)
		}
		if class == logclient.ClassFatal || class == logclient.ClassFenced {
			return fmt.Errorf("source %s: %w", s.cfg.Name, err)
		}
		s.e.status.source(s.cfg.Name, "opening", err)
		s.e.logger.Warn("source goes back to its last commit", "source", s.cfg.Name, "err", err)
		if !pause(ctx, &backoff) {
			return nil
		}
	}
}

// sourceError is an error of the connector itself, not of the log.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// pause waits with jittered backoff; false if ctx ended meanwhile.
func pause(ctx context.Context, backoff *time.Duration) bool {
	*backoff = min(max(2**backoff, retryFirst), retryMost)
	t := time.NewTimer(*backoff/2 + time.Duration(rand.Int64N(int64(*backoff))))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// once is the source's life between two errors.
func (s *sourceRunner) once(ctx context.Context, backoff *time.Duration) (err error) {
	// The last commit happens after ctx is done.
	lasting := context.WithoutCancel(ctx)
	if s.writer, err = s.e.log.Writer(lasting, s.e.sourceID(s.cfg.Name), logclient.WriterConfig{}); err != nil {
		return err
	}
	defer s.writer.Close()
	position, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer s.cfg.Source.Close()
	s.began, s.records, s.bytes, s.dead, s.size = time.Time{}, 0, 0, 0, 0
	s.e.status.source(s.cfg.Name, "running", nil)
	s.e.logger.Debug("source open", "source", s.cfg.Name, "position_bytes", len(position))
	for {
		readErr := s.read(ctx)
		if err := s.append(); err != nil {
			s.abort()
			return err
		}
		// A canceled source says itself when it has handed over what it holds.
		waited := errors.Is(readErr, context.DeadlineExceeded)
		ended := errors.Is(readErr, io.EOF) || ctx.Err() != nil && readErr != nil && !waited
		failed := readErr != nil && !ended && !waited
		if s.due() || ended || failed {
			if err := s.commit(lasting); err != nil {
				return err
			}
			*backoff = 0
		}
		if failed {
			return &sourceError{readErr}
		}
		if ended {
			return nil
		}
	}
}

// open opens the connector where its last committed position says.
func (s *sourceRunner) open(ctx context.Context) (position []byte, err error) {
	info := s.e.connected[s.cfg.Topic]
	s.partitions = info.Partitions
	ps, err := s.e.readPositions(ctx)
	if err != nil {
		return nil, err
	}
	if b := ps[keySource+s.cfg.Name]; len(b) > 0 {
		position = b[1:]
	}
	sc := s.e.connectorContext(s.cfg.Name, info, s.e.logger.With("source", s.cfg.Name))
	if err := s.cfg.Source.Open(ctx, sc, position); err != nil {
		return nil, &sourceError{fmt.Errorf("open: %w", err)}
	}
	return position, nil
}

// read waits for records, but not longer than the open transaction may wait.
func (s *sourceRunner) read(ctx context.Context) error {
	s.batch.Reset()
	if s.began.IsZero() {
		return s.cfg.Source.Read(ctx, &s.batch)
	}
	ctx, cancel := context.WithDeadline(ctx, s.began.Add(s.e.cfg.CommitInterval))
	defer cancel()
	return s.cfg.Source.Read(ctx, &s.batch)
}

// append puts what was read into the transaction.
func (s *sourceRunner) append() error {
	if s.batch.Len() == 0 {
		return nil
	}
	now := time.Now()
	if s.began.IsZero() {
		s.began = now
	}
	for _, o := range s.batch.Records() {
		v := record.View{Key: o.Key, Value: o.Value, Headers: o.Headers, Timestamp: o.Timestamp}
		if v.Timestamp == record.NoTimestamp {
			v.Timestamp = now.UnixMilli()
		}
		size := int64(len(o.Key) + len(o.Value))
		s.size += size
		if o.DeadLetter != "" {
			s.dead++
			if err := s.writer.Append(record.TopicPartition{Topic: plan.DeadLettersTopic(s.e.topo.Name)}, deadLetter(v, s.cfg.Name, o.DeadLetter)); err != nil {
				return err
			}
			continue
		}
		p, err := s.partition(&o)
		if err != nil {
			return err
		}
		if err := s.writer.Append(record.TopicPartition{Topic: s.cfg.Topic, Partition: p}, &v); err != nil {
			return err
		}
		s.records++
		s.bytes += size
	}
	return nil
}

func deadLetter(v record.View, stage, reason string) *record.View {
	hs := []record.Header{{Key: connectors.HeaderReason, Value: []byte(reason)}, {Key: connectors.HeaderStage, Value: []byte(stage)}}
	v.Headers = append(hs, v.Headers...)
	return &v
}

func (s *sourceRunner) partition(o *connectors.Out) (record.Partition, error) {
	switch {
	case o.Partition >= 0 && int32(o.Partition) < s.partitions:
		return o.Partition, nil
	case o.Partition >= 0:
		return 0, &sourceError{fmt.Errorf("chose partition %d of topic %s, which has %d", o.Partition, s.cfg.Topic, s.partitions)}
	case o.Key != nil:
		return record.PartitionForKey(o.Key, s.partitions), nil
	}
	s.turn = (s.turn + 1) & 0x7fffffff
	return record.Partition(s.turn % s.partitions), nil
}

func (s *sourceRunner) due() bool {
	return !s.began.IsZero() && (s.size >= sourceCommitBytes || time.Since(s.began) >= s.e.cfg.CommitInterval)
}

// commit ends the transaction: the records and the position after them.
func (s *sourceRunner) commit(ctx context.Context) error {
	if s.began.IsZero() {
		return nil
	}
	if p := s.cfg.Source.Position(); p != nil {
		v := record.View{Key: []byte(keySource + s.cfg.Name), Value: append([]byte{1}, p...), Timestamp: time.Now().UnixMilli()}
		if err := s.writer.Append(record.TopicPartition{Topic: plan.PositionsTopic(s.e.plan.App)}, &v); err != nil {
			s.abort()
			return err
		}
	}
	if _, err := s.writer.Commit(ctx, nil, logclient.Generation{}); err != nil {
		if logclient.Classify(err) != logclient.ClassUnknownOutcome {
			s.abort()
		}
		return fmt.Errorf("commit: %w", err)
	}
	s.e.status.sourceCommitted(s.cfg.Name, s.records, s.dead)
	if h := s.e.cfg.Hooks.Source; h != nil {
		h(s.cfg.Name, s.records, s.bytes, nil)
	}
	if h := s.e.cfg.Hooks.DeadLettered; h != nil && s.dead > 0 {
		h(s.cfg.Name, s.dead)
	}
	s.began, s.records, s.bytes, s.dead, s.size = time.Time{}, 0, 0, 0, 0
	return nil
}

func (s *sourceRunner) abort() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.writer.Abort(ctx); err != nil {
		s.e.logger.Debug("abort", "source", s.cfg.Name, "err", err)
	}
}
