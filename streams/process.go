package streams

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
)

// Process calls fn for every record; what fn forwards is the stream that follows.
// It is the verb that the others could be written on: with state of its own
// (Uses), timers in event time (OnTimer) and a function called every so much of
// stream time (Every).
//
//	last := streams.NewState[string, Reading]("last")
//	quiet := readings.Process(func(c *streams.Context[string, Alert], device string, r Reading) {
//		last.Put(c, device, r)
//		c.SetTimer("quiet", c.Timestamp().Add(time.Minute)) // again and again: put off
//	}, streams.Uses(last), streams.OnTimer("quiet", func(c *streams.Context[string, Alert], device string) {
//		r, _ := last.Get(c, device)
//		c.Forward(device, Alert{"no reading for a minute", r})
//	}))
//
// With state or timers the function is the key's own: a stream whose key was
// changed goes through a repartition topic <app>-<operator's name>-repartition
// first, and a record with a null key is dropped and counted. Without, it gets
// every record. Null values are passed on to it: Meta.Null tells.
//
// For each key the function sees records and timers in the order of time: before
// a record, the key's timers fire up to the stream time that the record carries.
// What it does to its state, its timers and its output is one transaction with
// the record, so a crash neither repeats nor forgets any of it. An error that it
// reports (Scope.Fail) or a panic ends the transaction, as everywhere.
//
// c is valid until the function returns. Options: Named, Uses, OnTimer, Every,
// WaitForAll, EndOfInput, KeepLate, Keys and Values (of the results), NoChangelog
// (of the timers), FormerName, Detail.
func (s *Stream[K, V]) Process[K2, V2 any](fn func(c *Context[K2, V2], k K, v V), opts ...Option) *Stream[K2, V2] {
	o := parse("Process", processOptions|optEvery|optKeys, opts)
	keys, vals := serdeFor[K2](s.b, &o, optKeys), serdeFor[V2](s.b, &o, optValues)
	timers := timerFuncs[func(c *Context[K2, V2], k K)](&o)
	every, _ := typed[everyOption](&o, optEvery)
	tick := everyFunc[func(c *Context[K2, V2])](&o, every)
	n := processNode(s, "Process", &o, fn == nil, timers.names, func(n *node, t *op.Task, p *op.Processing, d op.Process[K, V]) op.Process[K, V] {
		c := &Context[K2, V2]{Scope: Scope{p: p, timers: timers.names}, next: downstream[K2, V2](n, t)}
		d.Record = func(x *op.Ctx, k K, v V) {
			c.Meta.c = x
			fn(c, k, v)
		}
		for _, f := range timers.funcs {
			d.Timers = append(d.Timers, func(x *op.Ctx, k K) {
				c.Meta.c = x
				f(c, k)
			})
		}
		if d.EveryMS = every.ms; tick != nil {
			d.Every = func(x *op.Ctx) {
				c.Meta.c = x
				tick(c)
			}
		}
		return d
	})
	if every.ms > 0 {
		n.EveryMS = every.ms
		n.Detail = joinDetail(n.Detail, "every "+(time.Duration(every.ms)*time.Millisecond).String())
	}
	return &Stream[K2, V2]{b: s.b, n: n, keys: keys, vals: vals, rekeyed: true}
}

// ProcessValues is Process that keeps the keys: what follows needs no
// repartitioning. Options: Named, Uses, OnTimer, WaitForAll, EndOfInput, KeepLate,
// Values (of the results), NoChangelog (of the timers), FormerName, Detail.
func (s *Stream[K, V]) ProcessValues[V2 any](fn func(c *ValueContext[V2], k K, v V), opts ...Option) *Stream[K, V2] {
	o := parse("ProcessValues", processOptions, opts)
	vals := serdeFor[V2](s.b, &o, optValues)
	timers := timerFuncs[func(c *ValueContext[V2], k K)](&o)
	out := &Stream[K, V2]{b: s.b, vals: vals}
	out.n = processNode(s, "ProcessValues", &o, fn == nil, timers.names, func(n *node, t *op.Task, p *op.Processing, d op.Process[K, V]) op.Process[K, V] {
		var key K
		next := downstream[K, V2](n, t)
		c := &ValueContext[V2]{Scope: Scope{p: p, timers: timers.names}}
		c.forward = func(x *op.Ctx, v V2, null bool, at int64) { op.ForwardValue(x, next, key, v, null, at) }
		d.Record = func(x *op.Ctx, k K, v V) {
			c.Meta.c, key = x, k
			fn(c, k, v)
		}
		for _, f := range timers.funcs {
			d.Timers = append(d.Timers, func(x *op.Ctx, k K) {
				was := key
				c.Meta.c, key = x, k
				f(c, k)
				key = was
			})
		}
		return d
	})
	out.keys, out.rekeyed = s.keys, s.rekeyed && len(out.n.Stores) == 0
	return out
}

const processOptions = optNamed | optUses | optOnTimer | optWaitForAll | optEndOfInput | optKeepLate | optValues | optNoChangelog | optFormerName | optDetail

// processNode appends the operator of Process and ProcessValues. complete gives the
// operator its functions, for one task.
func processNode[K, V any](s *Stream[K, V], verb string, o *options, nilFunc bool, timers []string,
	complete func(n *node, t *op.Task, p *op.Processing, d op.Process[K, V]) op.Process[K, V]) *node {
	b := s.b
	stores := usedStores(o)
	keyed := len(stores) > 0 || len(timers) > 0
	name := o.string(optNamed)
	kept := name
	if name == "" && len(stores) > 0 {
		name, kept = stores[0].storeName()
		o.given |= optNamed
		o.value[optNamed] = name
	}
	if o.given&optFormerName != 0 {
		kept = o.kept(name)
		if !keyed {
			o.errs = append(o.errs, errors.New("FormerName is of state or timers: it has neither"))
		}
	}
	if name == "" && len(timers) > 0 {
		o.errs = append(o.errs, errors.New("its timers are state and have no name: name the operator with streams.Named"))
	}
	in := s
	if keyed {
		need(o, "keys", s.keys)
		if s.rekeyed {
			in = s.repartition(&options{}, kept)
		}
	}
	wait, _ := typed[bool](o, optWaitForAll)
	keepLate, _ := typed[bool](o, optKeepLate)
	end, ended := typed[Windows](o, optEndOfInput)
	if ended {
		if err := end.Validate(); err != nil {
			o.errs = append(o.errs, fmt.Errorf("EndOfInput: %w", err))
		}
	}
	if (wait || ended || o.given&optNoChangelog != 0) && len(timers) == 0 {
		o.errs = append(o.errs, errors.New("WaitForAll, EndOfInput and NoChangelog are of timers: it has no OnTimer"))
	}
	n := b.operator(verb, o, nilFunc, func(n *node, t *op.Task) any {
		d := op.Process[K, V]{Node: n.ID, Keys: in.keys.s, Keyed: keyed, Wait: wait, KeepLate: keepLate}
		if len(timers) > 0 {
			d.ByKey, d.Index = kept+timersStore, kept+dueStore
		}
		if ended {
			d.LastEnd = func(ms int64) int64 { return end.CloseMS(end.Last(ms)) }
		}
		for _, st := range stores {
			st.open(n.ID, t)
		}
		return op.NewProcess(t, d, func(p *op.Processing) op.Process[K, V] { return complete(n, t, p, d) })
	}, in.n)
	for _, st := range stores {
		n.errs = append(n.errs, st.attach(b, n, in.keys.s)...)
	}
	if len(timers) > 0 {
		b.addTimerStores(n, name, kept, in.keys.s, in.keys.name(), serde.TextOf(in.keys.s), o.given&optNoChangelog == 0)
		n.Detail = "timers " + strings.Join(timers, ", ")
	}
	details, _ := o.value[optDetail].([]any)
	for _, d := range details {
		n.Detail = joinDetail(n.Detail, d.(string))
	}
	for _, d := range []struct {
		on   bool
		text string
	}{{wait, "wait for all"}, {ended, "end of input " + end.String()}, {keepLate, "keep late"}} {
		if d.on {
			n.Detail = joinDetail(n.Detail, d.text)
		}
	}
	return n
}

func joinDetail(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// What the names of an operator's two stores of timers end in.
const (
	timersStore = "-timers"
	dueStore    = "-timers-due"
)

// addTimerStores adds the two stores of an operator's timers.
func (b *Builder) addTimerStores(n *node, name, kept string, keys any, keyName string, keyText serde.Text, changelog bool) {
	for _, spec := range []state.Spec{
		{Name: timersStore, ValSerde: serde.Serde[op.KeyTimers](op.KeyTimersSerde{}), SerdeName: keyName + ",timers"},
		{Name: dueStore, Kind: state.Window, ValSerde: serde.Serde[struct{}](op.DueSerde{}), SerdeName: keyName + ",due",
			SizeMS: op.TimerBucketMS, AdvanceMS: op.TimerBucketMS, RetentionMS: op.TimerBucketMS},
	} {
		spec.Name, spec.Alias = kept+spec.Name, alias(name+spec.Name, kept+spec.Name)
		spec.KeySerde, spec.KeyText, spec.Changelog = keys, keyText, changelog
		n.Stores = append(n.Stores, spec.Name)
		b.stores = append(b.stores, spec)
	}
}

// OnTimer, of Process and ProcessValues, is the function that is called when time
// reaches the key's timer of that name; an operator has at most four. C is the
// verb's own context; its Timestamp is the time that the timer was set to.
//
// Timers of one operator fire in the order of their times, those of one time in
// the order of the keys' bytes. A timer fires once stream time has reached it:
// before the record that moved it there, and before any record of its key that
// carries a later time. At the end of a bounded run stream time is that of the
// last event (see EndOfInput): timers up to then fire; later ones stay for the
// next run. Where no records come, engine.Config.IdleAfter moves time. One record
// may move it by years: see Scope.Reached for timers that set themselves again.
func OnTimer[K, C any](name string, fn func(c C, k K)) Option {
	return Option{optOnTimer, timerOption{name, fn}}
}

type timerOption struct {
	name string
	fn   any
}

// Every, of Process, is a function that is called, without a key, when stream
// time reaches a multiple of d: once where it passes several, for the last. It
// begins after the task's first record. There is one call for each task, so what
// it sees is that partition's state; behind a repartition topic it also depends
// on the commits before it how far stream time moves at once. Where results must
// not depend on partitions, use OnTimer.
func Every[C any](d time.Duration, fn func(c C)) Option {
	return Option{optEvery, everyOption{ms: d.Milliseconds(), d: d, fn: fn}}
}

type everyOption struct {
	ms int64
	d  time.Duration
	fn any
}

// WaitForAll, of Process and ProcessValues, lets a timer fire only when the task's
// stream time has reached it. Behind a repartition topic, that is when every
// upstream task has, as windows close there; a record that carries a later time
// may come before. Without it a record of the key fires the key's timers first.
func WaitForAll() Option { return Option{optWaitForAll, true} }

// EndOfInput, of Process and ProcessValues with timers, is for functions that
// work in windows: at the end of a bounded run stream time rises at least to the
// end, plus grace, of the window that holds the last event, so that timers up to
// then fire.
func EndOfInput(w Windows) Option { return Option{optEndOfInput, w} }

// timerSet are an operator's timers with functions of type F.
type timerSet[F any] struct {
	names []string
	funcs []F
}

func timerFuncs[F any](o *options) (t timerSet[F]) {
	list, _ := o.value[optOnTimer].([]any)
	for _, x := range list {
		x := x.(timerOption)
		f, ok := x.fn.(F)
		switch {
		case !ok:
			o.errs = append(o.errs, fmt.Errorf("timer %q is for other types: its function is a %T, expected a %T", x.name, x.fn, f))
		case reflect.ValueOf(f).IsNil():
			o.errs = append(o.errs, fmt.Errorf("timer %q: its function is nil", x.name))
		case x.name == "":
			o.errs = append(o.errs, errors.New("a timer's name is empty"))
		case slices.Contains(t.names, x.name):
			o.errs = append(o.errs, fmt.Errorf("timer %q is given twice", x.name))
		}
		t.names, t.funcs = append(t.names, x.name), append(t.funcs, f)
	}
	if len(t.names) > op.MaxTimers {
		o.errs = append(o.errs, fmt.Errorf("it has %d timers, at most %d: let one serve several purposes", len(t.names), op.MaxTimers))
	}
	return t
}

func everyFunc[F any](o *options, e everyOption) (f F) {
	if o.given&optEvery == 0 {
		return f
	}
	f, ok := e.fn.(F)
	if !ok {
		o.errs = append(o.errs, fmt.Errorf("Every is for other types: its function is a %T, expected a %T", e.fn, f))
	}
	if ok && reflect.ValueOf(f).IsNil() {
		o.errs = append(o.errs, errors.New("Every: its function is nil"))
	}
	if e.d < time.Millisecond || e.d%time.Millisecond != 0 {
		o.errs = append(o.errs, fmt.Errorf("Every %v, expected whole milliseconds, at least one", e.d))
	}
	return f
}
