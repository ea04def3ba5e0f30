package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
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
	gone chan struct{} // closed while there is no goroutine
}

func newGate() gate {
	gone := make(chan struct{})
	close(gone)
	return gate{gone: gone}
}

// enter says that there is a goroutine, until it calls leave.
func (g *gate) enter() (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gone := make(chan struct{})
	g.gone = gone
	return func() { close(gone) }
}

// out is closed once there is no goroutine.
func (g *gate) out() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}

// leaveBehind shuts the gate on a connector that did not come back.
func (g *gate) leaveBehind(c *connectorState, connector string, lag func() int64) error {
	g.close()
	err := &ConnectorStuckError{Connector: connector, Waited: stopTimeout, InFlight: c.snapshot().InFlight, Lag: lag()}
	c.leave(err)
	return err
}

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
		if g.isShut() || await(limit, context.Background(), g.out()) == nil {
			return
		}
		err := g.leaveBehind(c, connector, lag)
		e.logger.Error("connector left behind", "err", err)
		errs = append(errs, err)
	}
	for _, s := range e.sources {
		leave(&s.gate, &s.state, "source "+s.cfg.Name, nothing)
	}
	for _, s := range e.sinks {
		leave(&s.gate, &s.state, "sink "+s.cfg.Name, s.waiting)
		if s.gate.isShut() {
			s.leaveGroup() // the process may go on, and would keep the partitions from others
		}
	}
	return errors.Join(errs...)
}

func nothing() int64 { return 0 }

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

// count asks for the partitions that the sink has, or had last.
func (s *sinkRunner) count(ctx context.Context) (n int64, err error) {
	s.mu.Lock()
	tps := s.owned
	s.mu.Unlock()
	if !s.e.clustered() {
		tps = s.partitions()
	}
	if len(tps) == 0 {
		return 0, nil
	}
	committed, err := s.e.log.Committed(ctx, s.group(), tps)
	if err != nil {
		return 0, err
	}
	starts, err := s.e.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return 0, err
	}
	ends, err := s.e.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStable})
	if err != nil {
		return 0, err
	}
	for i, tp := range tps {
		from := starts[i].Offset
		if p, ok := committed[tp]; ok {
			from = max(from, p.Offset)
		}
		n += max(0, int64(ends[i].Offset-from))
	}
	return n, nil
}

// partitions are all of the sink's topic.
func (s *sinkRunner) partitions() (tps []record.TopicPartition) {
	for p := range s.info.Partitions {
		tps = append(tps, record.TopicPartition{Topic: s.cfg.Topic, Partition: record.Partition(p)})
	}
	return tps
}

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
	if s.isStopping() {
		s.e.logger.Info("sink stopped, others go on with its partitions", "sink", s.cfg.Name, "topic", s.cfg.Topic, "records", n)
		return
	}
	s.e.logger.Warn("sink stopped before everything was written: the rest waits in the log for the next start",
		"sink", s.cfg.Name, "topic", s.cfg.Topic, "records", n, "err", s.state.snapshot().Error)
}

// logGoneTimeout is how long the end of a bounded run waits for brokers that do not
// answer.
const logGoneTimeout = time.Minute

// failWithoutLog ends the run with an error once the log has not answered for
// logGoneTimeout; until ctx is done. It is for the end of a bounded run, which
// nobody else takes over and which may well wait for a sink for longer than that.
func (e *Engine) failWithoutLog(ctx context.Context) {
	tps := []record.TopicPartition{{Topic: plan.PositionsTopic(e.plan.App)}}
	answered := time.Now()
	for pause(ctx, logGoneTimeout/12) {
		asked, cancel := context.WithDeadline(ctx, answered.Add(logGoneTimeout))
		_, err := e.log.Offsets(asked, tps, logclient.At{Kind: logclient.AtEnd})
		cancel()
		switch {
		case err == nil:
			answered = time.Now()
		case ctx.Err() == nil && time.Since(answered) >= logGoneTimeout:
			e.fail(fmt.Errorf("the end of a bounded run: the log has not answered for %v: what is committed stays, start the program again once the brokers are there and it does the rest: %w", logGoneTimeout, err))
			return
		}
	}
}
