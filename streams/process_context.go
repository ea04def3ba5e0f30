package streams

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/serde"
)

// Scope is what the functions of Process and ProcessValues have in common: the
// record's Meta, the key's timers, failing. It is valid until the function
// returns. In a timer's function the Meta is the timer's: its time, no headers,
// no topic. Headers and time that are set hold for what is forwarded afterwards.
type Scope struct {
	Meta
	p      *op.Processing
	timers []string
}

// Scoped is a *Context or a *ValueContext: what a State is used with.
type Scoped interface{ scope() *Scope }

func (s *Scope) scope() *Scope { return s }

// Application is the program's name (NewBuilder's).
func (s *Scope) Application() string { return s.p.Application() }

// SetTimer makes the current key's timer fire at a time, in event time to the
// millisecond, in place of any that is pending under that name. A time that has
// been reached already fires as soon as the function returns; in a timer's own
// function, a time that is not after it becomes the next millisecond.
func (s *Scope) SetTimer(name string, at time.Time) {
	s.p.SetTimer(s.c, s.timer(name), clampTime(at))
}

// SetTimerOf is SetTimer for another key of the same task: k must be of the type of
// the stream's keys, and one whose records come to this task, or nobody will look
// for its state here. A time that has been reached becomes the next millisecond.
func (s *Scope) SetTimerOf[K any](k K, name string, at time.Time) {
	keys, ok := s.p.Keys().(serde.Serde[K])
	if !ok {
		panic(fmt.Sprintf("operator %q: SetTimerOf a key of type %T, the stream has others", s.p.Name(), k))
	}
	key, err := keys.Append(nil, k)
	if err != nil {
		s.Fail(fmt.Errorf("timer %q: the key: %w", name, err))
		return
	}
	s.p.SetTimerOf(s.c, key, s.index(name), clampTime(at))
}

// CancelTimer cancels the current key's timer, if it is pending.
func (s *Scope) CancelTimer(name string) { s.p.CancelTimer(s.c, s.timer(name)) }

// Timer is the time that the current key's timer is set to; ok is false if it is
// not pending.
func (s *Scope) Timer(name string) (at time.Time, ok bool) {
	ms, ok := s.p.Timer(s.c, s.timer(name))
	if !ok {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// clampTime keeps a timer's time away from the ends of time.
func clampTime(t time.Time) int64 {
	return min(max(unixMilli(t), math.MinInt64+op.TimerBucketMS), math.MaxInt64-2*op.TimerBucketMS)
}

// unixMilli is t.UnixMilli, but for a time that has none: then the end of time
// that is nearest.
func unixMilli(t time.Time) int64 {
	switch s := t.Unix(); {
	case s > math.MaxInt64/1000-1:
		return math.MaxInt64
	case s < math.MinInt64/1000+1:
		return math.MinInt64
	}
	return t.UnixMilli()
}

// index is the number of a timer.
func (s *Scope) index(name string) int {
	i := slices.Index(s.timers, name)
	if i < 0 {
		panic(fmt.Sprintf("operator %q has no timer %q, only %q: give it one with streams.OnTimer", s.p.Name(), name, s.timers))
	}
	return i
}

func (s *Scope) timer(name string) int {
	i := s.index(name)
	if !s.p.HasKey() {
		panic(fmt.Sprintf("operator %q: timer %q belongs to a key, and the function of streams.Every has none", s.p.Name(), name))
	}
	return i
}

// Reached is how far time goes on before another record of the key comes: in a
// timer's function the stream time that makes it fire, the timer's own time or a
// later one. A timer that sets itself again, every so much, looks at it: after a
// record that carries a far later time, it would fire for all that is in between.
func (s *Scope) Reached() time.Time { return time.UnixMilli(s.p.Reached(s.c)).UTC() }

// Late counts the record as one that came too late, and keeps it as a dead letter
// where the verb has KeepLate.
func (s *Scope) Late() { s.p.Late(s.c) }

// Fail ends the transaction with an error: nothing of what the function did, or
// does until it returns, holds. The task is built anew from what was committed,
// and the error is the engine's to handle.
func (s *Scope) Fail(err error) {
	if err != nil {
		s.c.Fail(fmt.Errorf("operator %q: %w", s.p.Name(), err))
	}
}

// Context is what a function of Process works with: it makes records with keys
// of type K and values of type V.
type Context[K, V any] struct {
	Scope
	next op.Next[K, V]
}

// Forward sends a record on, with the headers and time of the current one, or the
// timer's time.
func (c *Context[K, V]) Forward(k K, v V) { c.forward(k, v, false, c.c.Timestamp) }

// ForwardAt sends a record on with another event time.
func (c *Context[K, V]) ForwardAt(t time.Time, k K, v V) { c.forward(k, v, false, unixMilli(t)) }

// ForwardNull sends on a record whose value is null: a deletion.
func (c *Context[K, V]) ForwardNull(k K) {
	var none V
	c.forward(k, none, true, c.c.Timestamp)
}

func (c *Context[K, V]) forward(k K, v V, null bool, at int64) {
	op.Forward(c.c, c.next, k, v, null, at)
	c.p.Ran(c.c)
}

// ValueContext is what a function of ProcessValues works with: it makes records
// with the current key and values of type V.
type ValueContext[V any] struct {
	Scope
	forward func(c *op.Ctx, v V, null bool, at int64)
}

// Forward sends a value on under the current key, with the headers and time of
// the current record, or the timer's time.
func (c *ValueContext[V]) Forward(v V) { c.send(v, false, c.c.Timestamp) }

// ForwardAt sends a value on with another event time.
func (c *ValueContext[V]) ForwardAt(t time.Time, v V) { c.send(v, false, unixMilli(t)) }

// ForwardNull sends on a null value: the key's deletion.
func (c *ValueContext[V]) ForwardNull() {
	var none V
	c.send(none, true, c.c.Timestamp)
}

func (c *ValueContext[V]) send(v V, null bool, at int64) {
	c.forward(c.c, v, null, at)
	c.p.Ran(c.c)
}
