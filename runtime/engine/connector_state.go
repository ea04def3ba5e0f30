package engine

import (
	"fmt"
	"sync"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// States of a connector:
//
//	opening -> running <-> retrying -> ended, stopped, elsewhere
//	      \_________\__________\-----> failed
//
// opening: before the first Open succeeded; a failed attempt makes it retrying.
// ended: a source's input is over or it was stopped, a sink has written everything.
// stopped: a sink has not, at the end of the run; its lag is what it left.
// elsewhere: another instance may run the source now; it can come back, to opening.
const (
	stateOpening  = "opening"
	stateRunning  = "running"
	stateRetrying = "retrying"
	stateEnded    = "ended"
	stateStopped  = "stopped"
	stateFailed   = "failed"

	stateElsewhere = "elsewhere"
)

// connectorState is what the runner of a source or sink tells of it. The
// runner's goroutine changes it, any goroutine may read it.
type connectorState struct {
	publish func() // calls the hook with a snapshot, without the lock

	mu       sync.Mutex
	left     bool // behind: what its goroutine does now is told no more
	snap     ConnectorSnapshot
	measures connectors.Measures // of a source
	lag      int64               // of a sink
	skipped  int64               // of a sink
}

func (c *connectorState) init(name, topic string) {
	c.snap = ConnectorSnapshot{Name: name, Topic: topic, State: stateOpening, Since: time.Now()}
	c.measures = connectors.Measures{LagRecords: -1, LagBytes: -1}
}

func (c *connectorState) change(f func(s *ConnectorSnapshot)) {
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return
	}
	f(&c.snap)
	c.mu.Unlock()
	c.publish()
}

func (s *ConnectorSnapshot) enter(state string) {
	if s.State != state {
		s.State, s.Since = state, time.Now()
	}
	s.NextAttempt = time.Time{}
}

// opening says that the connector is about to begin.
func (c *connectorState) opening() {
	c.change(func(s *ConnectorSnapshot) { s.enter(stateOpening) })
}

// elsewhere says that a source is not this instance's, or not any more.
func (c *connectorState) elsewhere() {
	c.change(func(s *ConnectorSnapshot) {
		s.enter(stateElsewhere)
		s.InFlight, s.Error, s.Attempts = 0, "", 0
	})
}

// running says that the connector works; what was wrong is over.
func (c *connectorState) running() {
	c.change(func(s *ConnectorSnapshot) {
		s.enter(stateRunning)
		s.Error, s.Attempts = "", 0
	})
}

// retrying says that an attempt failed and that the next one is after wait.
func (c *connectorState) retrying(err error, attempts int, wait time.Duration) {
	c.change(func(s *ConnectorSnapshot) {
		s.enter(stateRetrying)
		s.Errors++
		s.Error, s.Attempts, s.NextAttempt, s.InFlight = err.Error(), attempts, time.Now().Add(wait), 0
	})
}

// works says, between other changes, that what was wrong is over.
func (c *connectorState) works() {
	c.mu.Lock()
	wrong := c.snap.State == stateRetrying
	c.mu.Unlock()
	if wrong {
		c.running()
	}
}

// failedAttempt counts an error that nothing waits for.
func (c *connectorState) failedAttempt() { c.change(func(s *ConnectorSnapshot) { s.Errors++ }) }

// tried counts one more attempt after a failure.
func (c *connectorState) tried() { c.change(func(s *ConnectorSnapshot) { s.Retries++ }) }

// end says that the connector does not run any more, for err or because it is done.
func (c *connectorState) end(err error) {
	c.change(func(s *ConnectorSnapshot) {
		s.InFlight = 0
		if err == nil {
			s.enter(stateEnded)
			s.Error, s.Attempts = "", 0
			return
		}
		s.enter(stateFailed)
		s.Error = err.Error()
	})
}

// stopped says that a sink ended before it had written everything. The last
// error stays: it is why, as far as somebody knows.
func (c *connectorState) stopped() {
	c.change(func(s *ConnectorSnapshot) {
		s.InFlight = 0
		s.enter(stateStopped)
	})
}

// leave says that the connector did not come back. What was wrong with it
// before is told too.
func (c *connectorState) leave(err error) {
	c.change(func(s *ConnectorSnapshot) {
		s.enter(stateFailed)
		if s.Error != "" {
			err = fmt.Errorf("%w; its last error was: %s", err, s.Error)
		}
		s.Error = err.Error()
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
}

// inFlight says how many records are in the connector's hands.
func (c *connectorState) inFlight(records int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snap.InFlight = int64(records)
}

// succeeded counts records that went through.
func (c *connectorState) succeeded(records, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snap.Records += records
	c.snap.Bytes += bytes
	c.snap.InFlight = 0
	c.snap.LastSuccess = time.Now()
}

func (c *connectorState) deadLettered(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snap.DeadLetters += n
}

func (c *connectorState) measure(m connectors.Measures) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.measures = m
}

func (c *connectorState) snapshot() ConnectorSnapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snap
}

func (c *connectorState) source() SourceSnapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.measures
	return SourceSnapshot{ConnectorSnapshot: c.snap, LagRecords: m.LagRecords, LagBytes: m.LagBytes, Dropped: m.Dropped}
}

func (c *connectorState) sink() SinkSnapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return SinkSnapshot{ConnectorSnapshot: c.snap, Lag: c.lag, Skipped: c.skipped}
}
