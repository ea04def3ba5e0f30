package op

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/topology"
)

// stateOp is an operator with a store.
type stateOp interface {
	// emitOnCommit emits what changed, if the operator emits on commit.
	emitOnCommit(c *Ctx) error
	flush() error
	done()
	usage() processor.Usage
}

// windowOp is an operator that has work when stream time rises: one with a window
// store, with timers, or with a function for every so much of time.
type windowOp interface {
	// times are where the operator keeps the stream time of its next work (a close,
	// an expiry, a timer), and the stream time up to which it has advanced.
	times() (due, advanced *int64)
	// advance does what is due first: one window closes, or windows expire, or the
	// timers of one key fire.
	advance(c *Ctx) error
	restore(advanced int64) error
	lastEnd(timestampMS int64) int64
}

type nodeState struct {
	id topology.NodeID
	stateOp
}

type nodeWindow struct {
	id            topology.NodeID
	due, advanced *int64
	windowOp
}

// Unit runs a built sub-topology: processor.Unit.
//
// Invariant: states and windows are in the order of their nodes. A node's parents
// have lower numbers, so what an operator emits on commit reaches operators that
// have not emitted yet.
type Unit struct {
	topo    *topology.Topology
	sources []Source
	states  []nodeState
	windows []nodeWindow
	ctx     Ctx
}

var _ processor.Unit = (*Unit)(nil)

func (u *Unit) order() {
	slices.SortStableFunc(u.states, func(a, b nodeState) int { return cmp.Compare(a.id, b.id) })
	slices.SortStableFunc(u.windows, func(a, b nodeWindow) int { return cmp.Compare(a.id, b.id) })
}

// Process: see processor.Unit.
func (u *Unit) Process(source int, r *processor.Record) error {
	c := &u.ctx
	c.Timestamp, c.StreamTime, c.Headers = r.Timestamp, max(r.StreamTime, r.Timestamp), r.Headers
	c.in = r
	if err := u.sources[source].process(c, r); err != nil {
		return err
	}
	if c.err != nil {
		return c.take()
	}
	return nil
}

// EventTime: see processor.Unit.
func (u *Unit) EventTime(source int, r *processor.Record) (int64, error) {
	return u.sources[source].eventTime(&u.ctx, r)
}

// NextTime: see processor.Unit.
func (u *Unit) NextTime() int64 {
	at := processor.MaxTime
	for i := range u.windows {
		at = min(at, *u.windows[i].due)
	}
	return at
}

// Advance: see processor.Unit. What one operator's closing window emits may open
// a window of the next one that is due as well.
func (u *Unit) Advance(streamTimeMS int64) error {
	u.ctx.target = streamTimeMS
	for {
		next, at := -1, processor.MaxTime
		for i := range u.windows {
			if t := *u.windows[i].due; t < at {
				next, at = i, t
			}
		}
		if next < 0 || at > streamTimeMS {
			break
		}
		if err := u.windows[next].advance(&u.ctx); err != nil {
			return u.wrap(u.windows[next].id, err)
		}
	}
	for _, w := range u.windows {
		*w.advanced = max(*w.advanced, streamTimeMS)
	}
	return nil
}

// Flush: see processor.Unit.
func (u *Unit) Flush() error {
	for _, s := range u.states {
		if err := s.emitOnCommit(&u.ctx); err != nil {
			return u.wrap(s.id, err)
		}
	}
	for _, s := range u.states {
		if err := s.flush(); err != nil {
			return u.wrap(s.id, err)
		}
	}
	return nil
}

// Committed: see processor.Unit.
func (u *Unit) Committed() {
	for _, s := range u.states {
		s.done()
	}
}

// Frontier: see processor.Unit. The format: the number of window operators
// (uvarint), then for each, in the order of the nodes, the stream time up to
// which its windows have closed (varint, milliseconds).
func (u *Unit) Frontier(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(u.windows)))
	for _, w := range u.windows {
		dst = binary.AppendVarint(dst, *w.advanced)
	}
	return dst
}

var errFrontier = errors.New("the emit frontier is malformed")

// Restore: see processor.Unit. The frontier says all: windows close and expire
// in Advance only, so stream time alone moves nothing.
func (u *Unit) Restore(_ int64, frontier []byte) error {
	if frontier == nil {
		frontier = u.Frontier(nil) // of a new unit: nothing has closed
	}
	n, size := binary.Uvarint(frontier)
	if size <= 0 {
		return errFrontier
	}
	if n != uint64(len(u.windows)) {
		return fmt.Errorf("the emit frontier has %d window operators, the program %d: the state is of another program", n, len(u.windows))
	}
	frontier = frontier[size:]
	for _, w := range u.windows {
		at, size := binary.Varint(frontier)
		if size <= 0 {
			return errFrontier
		}
		frontier = frontier[size:]
		if err := w.restore(at); err != nil {
			return u.wrap(w.id, err)
		}
	}
	if len(frontier) != 0 {
		return errFrontier
	}
	return nil
}

// LastWindowEnd: see processor.Unit.
func (u *Unit) LastWindowEnd(timestampMS int64) int64 {
	end := timestampMS
	for _, w := range u.windows {
		end = max(end, w.lastEnd(timestampMS))
	}
	return end
}

// Usage: see processor.Unit.
func (u *Unit) Usage() processor.Usage {
	var sum processor.Usage
	for _, s := range u.states {
		x := s.usage()
		sum.DirtyBytes += x.DirtyBytes
		sum.CacheBytes += x.CacheBytes
		sum.Entries += x.Entries
		sum.CacheHits += x.CacheHits
		sum.CacheMisses += x.CacheMisses
	}
	return sum
}

// Running: see processor.Unit.
func (u *Unit) Running() string { return u.topo.Nodes[u.ctx.node].Name }

func (u *Unit) wrap(id topology.NodeID, err error) error {
	return fmt.Errorf("operator %q: %w", u.topo.Nodes[id].Name, err)
}
