package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// sourceCommitBytes makes a source's commit due before its interval is over.
const sourceCommitBytes = 16 << 20

// sourceRunner runs one source connector on a goroutine of its own: what it
// read, and the position after that, in one transaction (source_commit.go).
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

	records, bytes, dead int64 // of the open transaction
	size                 int64 // of what the open transaction holds
	began                time.Time
	ended                chan struct{}
	gate                 gate
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

// run reads until the source has ended or ctx is done; both end with a commit.
// After an error of the connector, or of the log, the source is opened again
// where the last commit stood: for the connector as its policy says, for the
// log for as long as it takes.
func (s *sourceRunner) run(ctx context.Context) (err error) {
	defer close(s.gate.gone)
	defer func() {
		s.state.end(err)
		if err == nil {
			close(s.ended) // a failure is not an end: who waits gets it from work
		}
	}()
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
			again = class != logclient.ClassFatal && class != logclient.ClassFenced
		}
		wait, more := retry.failed(time.Now(), err)
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
	lasting := context.WithoutCancel(ctx)
	if s.writer, err = s.e.log.Writer(lasting, s.e.sourceID(s.cfg.Name), logclient.WriterConfig{}); err != nil {
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
		ended := errors.Is(readErr, io.EOF) || ctx.Err() != nil && readErr != nil && !waited
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
		if ended {
			return nil
		}
	}
}

// open opens the connector where its last committed position says.
func (s *sourceRunner) open(ctx context.Context) (position []byte, err error) {
	ps, err := s.e.readPositions(ctx)
	if err != nil {
		return nil, err
	}
	if b := ps[s.positionKey()]; len(b) > 0 {
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
// kind left under the same name and will need again.
func (s *sourceRunner) positionKey() string {
	if _, ok := s.cfg.Source.(connectors.Ephemeral); ok {
		return keyEphemeral + s.cfg.Name
	}
	return keySource + s.cfg.Name
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
