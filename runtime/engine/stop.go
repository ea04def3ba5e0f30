package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// stopTimeout bounds how long a connector may take to return once its context
// is done: for its last Write and Close, and the last commit after them.
const stopTimeout = 10 * time.Second

// ConnectorStuckError says that a connector did not return although its context
// was done. It is left behind: whatever it still does, nothing of it is committed.
type ConnectorStuckError struct {
	Connector string        // "source <name>" or "sink <name>"
	Waited    time.Duration // since its context was done
	InFlight  int64         // records in its hands
	Lag       int64         // of a sink: records that wait for the next start
}

func (e *ConnectorStuckError) Error() string {
	text := fmt.Sprintf("%s did not stop: its call has not returned in %v since its context was done, which is a mistake in the connector; it was left behind with %d records in hand, which are not committed",
		e.Connector, e.Waited, e.InFlight)
	if e.Lag > 0 {
		text += fmt.Sprintf("; %d records of its topic wait for the next start", e.Lag)
	}
	return text
}

// errLeft is the error of a call that came back after its connector was left behind.
var errLeft = &connectorError{errors.New("the connector was left behind")}

// gate is between a connector's goroutine and what lasts: commits, and what the
// engine tells of it. Once it is shut nothing passes.
type gate struct {
	mu   sync.Mutex
	shut bool
	gone chan struct{} // closed when the goroutine has ended
}

func newGate() gate { return gate{gone: make(chan struct{})} }

// pass runs a commit unless the gate is shut, and keeps it open meanwhile.
func (g *gate) pass(commit func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return errLeft
	}
	return commit()
}

// call is guard for calls that may not come back: errLeft if it is too late.
func (g *gate) call(connector string, call func() error) error {
	err := guard(connector, call)
	if g.isShut() {
		return errLeft
	}
	return err
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// close waits for a commit under way and lets nothing pass any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

// leaveStuck waits for the connectors, whose contexts are done, and leaves
// behind those that do not come back.
func (e *Engine) leaveStuck() error {
	limit, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	leave := func(g *gate, c *connectorState, connector string, lag func() int64) {
		if await(limit, context.Background(), g.gone) == nil {
			return
		}
		g.close()
		err := &ConnectorStuckError{Connector: connector, Waited: stopTimeout, InFlight: c.snapshot().InFlight, Lag: lag()}
		c.leave(err)
		e.logger.Error("connector left behind", "err", err)
		errs = append(errs, err)
	}
	for _, s := range e.sources {
		leave(&s.gate, &s.state, "source "+s.cfg.Name, func() int64 { return 0 })
	}
	for _, s := range e.sinks {
		leave(&s.gate, &s.state, "sink "+s.cfg.Name, s.waiting)
	}
	return errors.Join(errs...)
}

// waiting counts, and remembers as its lag, the records of the sink's topic
// that are not committed as written: those of the next start. If the log does
// not say, it is what was known last. It needs nothing of the runner's goroutine.
func (s *sinkRunner) waiting() int64 {
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	n, err := s.count(ctx)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if err != nil {
		s.e.logger.Warn("count what a sink has not written", "sink", s.cfg.Name, "err", err)
		return s.state.lag
	}
	s.state.lag = n
	return n
}

func (s *sinkRunner) count(ctx context.Context) (n int64, err error) {
	m, err := s.e.log.Join(ctx, logclient.MemberConfig{Group: s.group(), Topics: []string{s.cfg.Topic}})
	if err != nil {
		return 0, err
	}
	defer m.Leave(ctx)
	if _, err := m.Next(ctx); err != nil {
		return 0, err
	}
	committed, err := m.Committed(ctx, s.tps)
	if err != nil {
		return 0, err
	}
	starts, err := s.e.log.Offsets(ctx, s.tps, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return 0, err
	}
	ends, err := s.e.log.Offsets(ctx, s.tps, logclient.At{Kind: logclient.AtStable})
	if err != nil {
		return 0, err
	}
	for i, tp := range s.tps {
		from := starts[i].Offset
		if p, ok := committed[tp]; ok {
			from = max(from, p.Offset)
		}
		n += max(0, int64(ends[i].Offset-from))
	}
	return n, nil
}

func (s *sinkRunner) group() string { return s.e.topo.Name + "-sink-" + s.cfg.Name }

// finished tells how a sink ended that did not fail: with everything written,
// or stopped before, with what waits for the next start.
func (s *sinkRunner) finished() {
	if s.drained || s.gate.isShut() {
		s.state.end(nil) // which tells nothing of one that was left behind
		return
	}
	n := s.waiting()
	if n == 0 {
		s.state.end(nil)
		return
	}
	s.state.stopped()
	s.e.logger.Warn("sink stopped before everything was written: the rest waits in the log for the next start",
		"sink", s.cfg.Name, "topic", s.cfg.Topic, "records", n, "err", s.state.snapshot().Error)
}
