package op

import (
	"math"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/topology"
)

// every calls a function when stream time reaches a multiple of a duration; of
// several that it passes at once, for the last only. It begins with the first
// multiple after the task's first record.
type every struct {
	node     topology.NodeID
	ms       int64
	fn       func(c *Ctx)
	due      int64
	advanced int64
}

func newEvery(t *Task, node topology.NodeID, ms int64, fn func(c *Ctx)) {
	t.addState(node, &every{node: node, ms: ms, fn: fn, due: math.MinInt64, advanced: processor.NoTime})
}

// after is the first multiple after a time.
func (e *every) after(ms int64) int64 {
	last := e.upTo(ms)
	if last > processor.MaxTime-e.ms {
		return processor.MaxTime
	}
	return last + e.ms
}

// upTo is the last multiple that is not after a time, or the first of all.
func (e *every) upTo(ms int64) int64 {
	m := ms % e.ms
	if m < 0 {
		m += e.ms
	}
	if ms < math.MinInt64+m {
		return ms - m + e.ms
	}
	return ms - m
}

func (e *every) times() (due, advanced *int64) { return &e.due, &e.advanced }

func (e *every) advance(c *Ctx) error {
	to := c.target
	if e.advanced == processor.NoTime {
		e.advanced = to
		e.due = e.after(to)
		return nil
	}
	if last := e.upTo(to); last > e.due {
		e.due = last // what else is due before goes first
		return nil
	}
	at := e.due
	e.advanced = max(e.advanced, at)
	e.due = e.after(at)
	c.caused(at, at, nil)
	c.node = e.node
	e.fn(c)
	return c.take()
}

func (e *every) restore(advanced int64) error {
	e.advanced, e.due = advanced, math.MinInt64
	if advanced != processor.NoTime {
		e.due = e.after(advanced)
	}
	return nil
}

func (e *every) lastEnd(timestampMS int64) int64 { return timestampMS }
func (e *every) emitOnCommit(*Ctx) error         { return nil }
func (e *every) flush() error                    { return nil }
func (e *every) done()                           {}
func (e *every) usage() processor.Usage          { return processor.Usage{} }
