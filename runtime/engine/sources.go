package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// sourceCommitBytes makes a source's commit due before its interval is over.
const sourceCommitBytes = 16 << 20

// sourceRunner runs one source connector on a goroutine of its own: what it
// read, and the position after that, in one transaction (source_commit.go). When
// it runs is told in source_lives.go.
type sourceRunner struct {
	e      *Engine
	cfg    Source
	state  connectorState
	info   logclient.TopicInfo
	writer logclient.Writer
	turn   int32
	batch  connectors.Batch
	opened bool // once, in this run
	retry  retrier
	known  positionsView

	records, bytes, dead int64 // of the open transaction
	size                 int64 // of what the open transaction holds
	began                time.Time
	gate                 gate

	mu       sync.Mutex
	wanted   bool               // here, by the assignment
	allowed  bool               // by the run
	stopped  bool               // for the rest of the run
	finished bool               // its input is over
	cancel   context.CancelFunc // of the life under way; nil: there is none
	ended    chan struct{}      // closed when nothing will follow in this run
}

func newSourceRunner(e *Engine, c Source) *sourceRunner {
	s := &sourceRunner{e: e, cfg: c, info: e.connected[c.Topic], retry: retrier{policy: c.Retry}, ended: make(chan struct{}), gate: newGate()}
	s.state.init(c.Name, c.Topic)
	s.state.publish = func() {
		if h := e.cfg.Hooks.SourceState; h != nil {
			h(s.state.source())
		}
	}
	return s
}

// run is one life of the source: it reads until its input is over or ctx is done;
// both end with a commit. After an error of the connector, or of the log, the
// source is opened again where the last commit stood: for the connector as its
// policy says, for the log for as long as it takes.
func (s *sourceRunner) run(ctx context.Context) error {
	s.state.opening()
	log := retrier{policy: logRetry}
	for {
		err := s.once(ctx, &log)
		var mine *connectorError
		class := logclient.Classify(err)
		if h := s.e.cfg.Hooks.Source; h != nil && err != nil && ctx.Err() == nil {
			h(s.cfg.Name, 0, 0, err)
		}
		retry, again := &log, false
		switch {
		case err == nil:
			return nil
		case errors.As(err, &mine):
			if ctx.Err() != nil && !connectors.IsPermanent(err) {
				return nil // what it had is committed
			}
			retry = &s.retry
			again = mayPass(err, s.opened)
		case ctx.Err() != nil && class != logclient.ClassFatal:
			return nil
		default:
			again = class != logclient.ClassFatal && class != logclient.ClassFenced || s.e.fenced(err)
		}
		wait, more := retry.failed(time.Now(), err)
		if s.e.fenced(err) {
			wait = max(wait, fencedWait)
		}
		if !again || !more {
			return fmt.Errorf("source %s: %w", s.cfg.Name, err)
		}
		s.state.retrying(err, retry.attempts, wait)
		s.e.logger.Warn("source goes back to its last commit", "source", s.cfg.Name, "attempts", retry.attempts, "wait", wait.Round(time.Millisecond), "err", err)
		if !pause(ctx, wait) {
			return nil
		}
		s.state.tried()
		if h := s.e.cfg.Hooks.Retried; h != nil {
			h(s.cfg.Name)
		}
	}
}

// once is the source's life between two errors.
func (s *sourceRunner) once(ctx context.Context, log *retrier) (err error) {
	// The last commit happens after ctx is done.
	lasting, cancel := outlasting(ctx, abortTimeout)
	defer cancel()
	if s.writer, err = s.e.log.Writer(ctx, s.e.sourceID(&s.cfg), s.e.writerConfig(nil)); err != nil {
		return err
	}
	defer s.writer.Close()
	defer func() {
		if closed := s.gate.call("source "+s.cfg.Name, s.cfg.Source.Close); closed != nil {
			s.e.logger.Debug("close source", "source", s.cfg.Name, "err", closed)
		}
	}()
	position, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.opened = true
	s.reset()
	s.state.running()
	s.e.logger.Debug("source open", "source", s.cfg.Name, "position_bytes", len(position))
	for {
		readErr := s.read(ctx)
		if readErr == errLeft {
			return readErr
		}
		if err := s.append(); err != nil {
			s.abort()
			return err
		}
		// A canceled source says itself when it has handed over what it holds.
		waited := errors.Is(readErr, context.DeadlineExceeded)
		over := errors.Is(readErr, io.EOF)
		ended := over || ctx.Err() != nil && readErr != nil && !waited
		failed := readErr != nil && !ended && !waited
		if s.due() || ended || failed {
			if err := s.commit(lasting); err != nil {
				return err
			}
			log.progressed()
		}
		if failed {
			return &connectorError{readErr}
		}
		if over {
			s.mu.Lock()
			s.finished = true
			s.mu.Unlock()
		}
		if ended {
			return nil
		}
	}
}

// open opens the connector where its last committed position says. The writer is
// open, so no other life of the source commits any more. Positions are read to the
// end of their topic, past the transactions that are open there: those of others
// end soon, those of instances that are gone are ended.
func (s *sourceRunner) open(ctx context.Context) (position []byte, err error) {
	if err := s.e.endGone(ctx, s.e.assigned().Instances); err != nil {
		return nil, err
	}
	if err := s.known.catchUp(ctx, s.e); err != nil {
		return nil, err
	}
	if b := s.known.snapshot()[s.positionKey()]; len(b) > 0 {
		position = b[1:]
	}
	sc := s.e.connectorContext(s.cfg.Name, s.info, s.e.logger.With("source", s.cfg.Name))
	err = s.gate.call("source "+s.cfg.Name, func() error { return s.cfg.Source.Open(ctx, sc, position) })
	if err != nil {
		return nil, &connectorError{fmt.Errorf("open: %w", err)}
	}
	return position, nil
}

// positionKey is where a source's position is recorded. Those of ephemeral
// sources stand apart, so that they do not cover one that a source of another
// kind left under the same name and will need again; and for each instance by
// itself, because they all run.
func (s *sourceRunner) positionKey() string {
	switch {
	case !ephemeral(&s.cfg):
		return keySource + s.cfg.Name
	case s.e.clustered():
		return keyEphemeral + s.e.instance + "/" + s.cfg.Name
	default:
		return keyEphemeral + s.cfg.Name
	}
}

// read waits for records, but not longer than the open transaction may wait.
func (s *sourceRunner) read(ctx context.Context) error {
	s.batch.Reset()
	if !s.began.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, s.began.Add(s.e.cfg.CommitInterval))
		defer cancel()
	}
	return s.gate.call("source "+s.cfg.Name, func() error { return s.cfg.Source.Read(ctx, &s.batch) })
}
