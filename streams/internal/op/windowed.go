package op

import (
	"math"

	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/window"
)

// WindowedAggregate describes an aggregate over windows.
type WindowedAggregate[K, V, A any] struct {
	Aggregate[K, A]
	Windows  window.Windows
	KeepLate bool
	Input    serde.Serde[V] // of late records that no input record caused; may be nil
	Step     Step[K, V, A]
}

// none is a window start that no window has.
const none = math.MaxInt64

// windowed folds records into a window store.
//
// A window lives through: open (takes records), closed (its result is final:
// stream time has reached its end plus grace), expired (dropped: stream time has
// reached its start plus retention, which is no earlier).
//
// Invariant: advanced is the stream time up to which windows were closed and
// expired; a record for a window that closes at or before it is late.
// Invariant: open is the least start of a window that holds entries and has not
// closed (of EmitOnClose only), live of one that has not expired.
type windowed[K, V, A any] struct {
	stateful[K, A]
	wins *cache.Windows[A]
	step Step[K, V, A]

	windows    window.Windows
	every      int64 // the windows' advance
	closeAfter int64 // size plus grace
	keepLate   bool
	input      serde.Serde[V]
	late       processor.Record
	valBuf     []byte

	advanced   int64
	open, live int64
	due        int64 // stream time of the next close or expiry

	// The latest window found by a record's time: most records fall into it.
	first, last int64
	from, to    int64 // times from <= t < to have these first and last windows
}

// NewWindowedAggregate builds an aggregate over windows.
func NewWindowedAggregate[K, V, A any](t *Task, a WindowedAggregate[K, V, A], next Changed[K, A]) Next[K, V] {
	g := &windowed[K, V, A]{
		stateful: newStateful(t, a.Aggregate, next), step: a.Step,
		windows: a.Windows, every: a.Windows.AdvanceMS(), closeAfter: a.Windows.SizeMS() + a.Windows.GraceMS(),
		keepLate: a.KeepLate, input: a.Input,
		advanced: processor.NoTime, open: none, live: none, due: processor.MaxTime,
	}
	g.wins = cache.NewWindows[A](t.host, g.store, a.Values, t.budget)
	t.addState(g.Node, g)
	return g.process
}

func (g *windowed[K, V, A]) process(c *Ctx, k K, v V) {
	key, ok := g.usable(c, k)
	if !ok {
		return
	}
	if t := c.Timestamp; t < g.from || t >= g.to {
		g.locate(t)
	}
	// What counts as now for this record: the stream time that it carries; windows
	// that have closed here stay closed in any case.
	now := max(c.StreamTime, g.advanced)
	late := false
	for start := g.first; start <= g.last; start += g.every {
		if now >= g.closeMS(start) {
			late = true
		} else if g.fold(c, k, v, key, start); c.err != nil {
			return
		}
		if start == g.last {
			break // and never past the end of time
		}
	}
	if late {
		g.tooLate(c, k, v, key)
	}
}

// locate finds the windows that hold time t.
func (g *windowed[K, V, A]) locate(t int64) {
	g.first, g.last = g.windows.First(t), g.windows.Last(t)
	// The windows change where one begins or one ends.
	g.from = max(g.last, g.first-g.windows.AdvanceMS()+g.windows.SizeMS())
	g.to = min(g.last+g.windows.AdvanceMS(), g.first+g.windows.SizeMS())
	if g.first > g.last || g.from > t || g.to <= t {
		g.from, g.to = t, t // at the ends of time: look it up again
	}
}

func (g *windowed[K, V, A]) fold(c *Ctx, k K, v V, key []byte, start int64) {
	e, err := g.wins.FindOrCreate(start, key)
	if err != nil {
		c.fail(err)
		return
	}
	old, existed := e.Value, e.Exists()
	c.node = g.Node
	e.Value = g.step(k, v, old, existed)
	if g.life == serde.Borrowed {
		e.Value = g.Values.Own(e.Value)
	}
	e.TimestampMS = max(e.TimestampMS, c.Timestamp)
	g.wins.Changed(e)
	if start < g.live || start < g.open && g.Emit == EmitOnClose {
		g.opened(start)
	}
	if g.Emit == EmitEveryUpdate {
		g.update(c, k, key, g.windows.Window(start), old, e.Value, change(existed), e.TimestampMS)
	}
}

// tooLate reports a record that missed a window: as it was read, or as it is here
// if no single record caused it.
func (g *windowed[K, V, A]) tooLate(c *Ctx, k K, v V, key []byte) {
	r := c.in
	if r == nil {
		g.late = processor.Record{Key: key, Timestamp: c.Timestamp, StreamTime: c.StreamTime, Partition: -1, Offset: -1}
		if g.input != nil && !c.null {
			value, err := encode(g.input, &g.valBuf, v)
			if err != nil {
				c.fail(g.t.encodeError(g.Node, "value", err))
				return
			}
			g.late.Value = value
		}
		r = &g.late
	}
	if err := g.t.host.Late(g.t.name(g.Node), g.keepLate, r); err != nil {
		c.fail(err)
	}
}

// closeMS is windows.CloseMS, small enough to be inlined.
func (g *windowed[K, V, A]) closeMS(start int64) int64 {
	if at := start + g.closeAfter; at >= start {
		return at
	}
	return processor.MaxTime
}

// opened takes note of a window that begins before all others.
func (g *windowed[K, V, A]) opened(start int64) {
	g.live = min(g.live, start)
	if g.Emit == EmitOnClose {
		g.open = min(g.open, start)
	}
	g.schedule()
}

// schedule computes due after open or live has changed.
func (g *windowed[K, V, A]) schedule() {
	g.due = processor.MaxTime
	if g.open != none {
		g.due = g.closeMS(g.open)
	}
	if g.live != none {
		g.due = min(g.due, g.windows.ExpireMS(g.live))
	}
}

func (g *windowed[K, V, A]) times() (due, advanced *int64) { return &g.due, &g.advanced }

// advance does what is due: a window closes, or windows expire.
func (g *windowed[K, V, A]) advance(c *Ctx) error {
	defer g.schedule()
	at := g.due
	g.advanced = max(g.advanced, at)
	if g.open != none && g.closeMS(g.open) == at {
		return g.closeWindow(c, g.open, at)
	}
	return g.expire(c)
}

// closeWindow emits a window's results. They carry the last millisecond before
// the closing time as stream time: they come before anything that was read at the
// closing time, so that they are not late for a window downstream that closes at
// the same time (seconds counted into a minute, without grace).
func (g *windowed[K, V, A]) closeWindow(c *Ctx, start, at int64) error {
	w := g.windows.Window(start)
	err := g.wins.Ascend(start, func(key []byte, v A, timestampMS int64) error {
		var old A
		return g.emit(c, key, w, old, v, HasNew, timestampMS, at-1)
	})
	if err != nil {
		return err
	}
	g.open, err = g.nextStart(start + 1)
	return err
}

func (g *windowed[K, V, A]) expire(c *Ctx) error {
	before := g.windows.Expired(g.advanced)
	if err := g.emitDirty(c, before); err != nil {
		return err
	}
	if err := g.wins.Expire(before); err != nil {
		return err
	}
	var err error
	g.live, err = g.nextStart(before)
	return err
}

func (g *windowed[K, V, A]) nextStart(from int64) (int64, error) {
	start, ok, err := g.wins.NextStart(from)
	if err != nil || !ok {
		return none, err
	}
	return start, nil
}

// emitDirty emits what changed in windows that start before a time, and makes the
// values the store's own.
func (g *windowed[K, V, A]) emitDirty(c *Ctx, before int64) error {
	if g.Emit != EmitOnCommit && g.life != serde.Safe {
		return nil
	}
	return g.wins.Dirty(before, func(start int64, key []byte, e *cache.Entry[A]) error {
		if g.life == serde.Safe {
			e.Value = g.Values.Own(e.Value)
		}
		if g.Emit != EmitOnCommit {
			return nil
		}
		var (
			old A
			had bool
			err error
		)
		if g.WantOld {
			g.scratch = state.AppendWindowKey(g.scratch[:0], start, key)
			if old, had, err = g.lastCommitted(g.scratch); err != nil {
				return err
			}
		}
		return g.emit(c, key, g.windows.Window(start), old, e.Value, change(had), e.TimestampMS, e.TimestampMS)
	})
}

// restore sets the time state of the last commit and finds the windows that are there.
func (g *windowed[K, V, A]) restore(advanced int64) error {
	defer g.schedule()
	g.advanced = advanced
	before := int64(math.MinInt64)
	if advanced != processor.NoTime {
		before = g.windows.Expired(advanced)
		if err := g.wins.Expire(before); err != nil {
			return err
		}
	}
	var err error
	if g.live, err = g.nextStart(before); err != nil || g.Emit != EmitOnClose {
		return err
	}
	for g.open = g.live; g.open != none && g.closeMS(g.open) <= advanced; {
		if g.open, err = g.nextStart(g.open + 1); err != nil {
			return err
		}
	}
	return nil
}

func (g *windowed[K, V, A]) lastEnd(timestampMS int64) int64 {
	return g.windows.CloseMS(g.windows.Last(timestampMS))
}

func (g *windowed[K, V, A]) emitOnCommit(c *Ctx) error { return g.emitDirty(c, processor.MaxTime) }
func (g *windowed[K, V, A]) flush() error              { return g.wins.Flush() }
func (g *windowed[K, V, A]) done()                     { g.wins.Committed() }
func (g *windowed[K, V, A]) usage() processor.Usage    { return g.wins.Usage() }
