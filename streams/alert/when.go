package alert

import (
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/millstream-io/millstream/streams"
)

// rule is a condition with its modifiers.
type rule struct {
	Condition
	name      string
	holdMS    int64
	repeatMS  int64
	forgetMS  int64
	waitMS    int64
	resolved  bool
	atClose   bool
	keepLate  bool
	labels    map[string]string
	annotate  any // func(k K, e *Event)
	group     any // func(k K) string
	expect    any // []K
	merge     any // func(a, b A) A
	collector collecting
	errs      []error
}

// When watches a condition for every key of s and gives the events of its alerts,
// keyed by the key as text (or by the group). Options: Named (needed), For,
// Repeat, NotifyResolved, AtClose, Forget, KeepLate, Label, Annotate, Collect,
// Merge, GroupBy, Expect.
//
// A stream whose key was changed goes through a repartition topic
// <app>-<rule's name>-repartition first. A record with a null key is dropped and
// counted; one with a null value changes nothing.
func When[K, V any](s *streams.Stream[K, V], c Condition, opts ...Option) *streams.Stream[string, Event] {
	if s == nil {
		panic("alert: When is given a nil stream, which belongs to no builder that could report it")
	}
	w := &watcher[K, V]{rule: rule{Condition: c}}
	for _, o := range opts {
		if o.apply != nil {
			o.apply(&w.rule)
		}
	}
	w.check()
	name := w.name
	if name == "" {
		name = "unnamed-rule"
	}
	if keys, ok := w.expect.([]K); ok {
		s = s.Repartition(streams.Named(name), streams.Partitions(1))
		w.expected = keys
		w.seeded = streams.NewState[string, bool](name + "-expected")
	}
	w.state = streams.NewState[K, *keyState](name, streams.Values[*keyState](stateSerde{w.collector}))
	options := []streams.Option{
		streams.Named(name), streams.Uses(w.state), streams.OnTimer("due", w.timer), streams.Detail(w.detail()),
		streams.Mistake(errors.Join(w.errs...)),
	}
	if w.seeded != nil {
		options = append(options, streams.Uses(w.seeded))
	}
	if w.keepLate {
		options = append(options, streams.KeepLate())
	}
	if w.measure.tumbling && w.absent == 0 {
		options = append(options, streams.WaitForAll())
		if w.measure.windows.Validate() == nil {
			options = append(options, streams.EndOfInput(w.measure.windows))
		}
	}
	events := s.Process(w.record, options...)
	if w.group == nil {
		return events
	}
	return w.grouped(events)
}

// watcher is a rule for keys of type K and values of type V. It is the same for
// all tasks, so nothing in it changes once it is made.
type watcher[K, V any] struct {
	rule
	of       func(v V) float64 // nil: Count, or Absent
	gather   adder[K, V]
	finish   func(k K, e *Event)
	groupOf  func(k K) string
	expected []K

	state  *streams.State[K, *keyState]
	seeded *streams.State[string, bool]
}

// adder is a collector of K and V, of any A.
type adder[K, V any] interface {
	addTo(acc any, k K, v V)
}

func (c *collector[K, V, A]) addTo(acc any, k K, v V) {
	a := acc.(*A)
	*a = c.add(k, v, *a)
}

// check finds every mistake of the rule.
func (w *watcher[K, V]) check() {
	add := func(format string, args ...any) { w.errs = append(w.errs, fmt.Errorf(format, args...)) }
	if w.name == "" {
		add("the alert has no name: give it one with alert.Named")
	}
	if err := w.validate(); err != nil {
		w.errs = append(w.errs, err)
	}
	if m := &w.measure; w.absent == 0 && !m.tumbling && m.slices > 0 {
		m.sliceMS = max(m.over.Milliseconds()/m.slices, 1)
	}
	take(&w.errs, w.measure.number.of, &w.of, "the condition's number is taken")
	take(&w.errs, w.annotate, &w.finish, "Annotate's function is made")
	take(&w.errs, w.group, &w.groupOf, "GroupBy's function is made")
	var merge any
	if w.collector != nil {
		g, ok := w.collector.(adder[K, V])
		if !ok {
			add("Collect's function is made for other types than the stream's %T and %T", *new(K), *new(V))
		}
		w.gather, merge = g, w.collector.merger(w.merge)
	}
	over := w.absent == 0 && !w.measure.tumbling
	switch {
	case over && w.collector != nil && merge == nil:
		add("Collect with Over needs Merge, with a function for Collect's type, to make one value of those of the slices")
	case w.merge != nil && (w.collector == nil || !over):
		add("Merge is for Collect with Over")
	}
	if w.merge = merge; w.expect != nil {
		if _, ok := w.expect.([]K); !ok {
			add("Expect has keys of type %T, the stream's are %T", w.expect, *new(K))
		}
		if w.absent == 0 {
			add("Expect is for Absent")
		}
	}
	if w.atClose && (w.absent > 0 || !w.measure.tumbling) {
		add("AtClose is for In: nothing else closes")
	}
	if w.measure.tumbling && w.absent == 0 && w.repeatMS == 0 && !w.incidents() && w.forgetMS > 0 && !w.watchesEmpty() {
		w.forgetMS = 0 // a window's key is forgotten with its window
	}
	if len(w.labels) > 0 {
		w.labels = maps.Clone(w.labels)
	}
}

// take makes a function of the type that is needed out of an option's.
func take[F any](errs *[]error, from any, to *F, what string) {
	if from == nil {
		return
	}
	f, ok := from.(F)
	if !ok {
		*errs = append(*errs, fmt.Errorf("%s by a %T, expected a %T", what, from, f))
	} else if reflect.ValueOf(f).IsNil() {
		*errs = append(*errs, fmt.Errorf("%s by a nil function", what))
	}
	*to = f
}

// detail is the rule in words: part of the fingerprint.
func (w *watcher[K, V]) detail() string {
	s := w.Condition.String()
	for _, m := range []struct {
		on   bool
		text string
	}{
		{w.atClose, "at close"},
		{w.holdMS > 0, fmt.Sprintf("for %v", ms(w.holdMS))},
		{w.repeatMS > 0, fmt.Sprintf("repeat %v", ms(w.repeatMS))},
		{w.resolved, "notify resolved"},
		{w.forgetMS > 0, fmt.Sprintf("forget %v", ms(w.forgetMS))},
		{w.expected != nil, fmt.Sprintf("expect %d keys", len(w.expected))},
	} {
		if m.on {
			s += ", " + m.text
		}
	}
	return s
}

// text is a key as people and identifiers have it.
func text[K any](k K) string {
	switch k := any(k).(type) {
	case string:
		return k
	case []byte:
		return string(k)
	}
	return fmt.Sprint(k)
}

func (w *watcher[K, V]) record(c *streams.Context[string, Event], k K, v V) {
	if w.seeded != nil {
		w.seed(c)
	}
	if c.Null() {
		return
	}
	at := c.Timestamp().UnixMilli()
	st, ok := w.state.Get(c, k)
	if !ok {
		st = newState(at)
	}
	n := notices[K, V]{w: w, c: c, k: k, st: st, at: at}
	var used bool
	switch {
	case w.absent > 0:
		used = n.seen(v)
	case w.measure.tumbling:
		used = n.intoWindow(v)
	default:
		used = n.intoSlice(v)
	}
	if !used {
		c.Late()
		if !ok {
			return
		}
	}
	n.save()
}

func (w *watcher[K, V]) timer(c *streams.Context[string, Event], k K) {
	st, ok := w.state.Get(c, k)
	if !ok {
		return
	}
	at := c.Timestamp().UnixMilli()
	st.now, st.timer = max(st.now, at), never
	n := notices[K, V]{w: w, c: c, k: k, st: st, at: at, to: c.Reached().UnixMilli()}
	n.due()
	n.save()
}

// seed makes the expected keys known, with the first record of any.
func (w *watcher[K, V]) seed(c *streams.Context[string, Event]) {
	if done, _ := w.seeded.Get(c, ""); done {
		return
	}
	w.seeded.Put(c, "", true)
	at := c.Timestamp().UnixMilli()
	for _, k := range w.expected {
		if _, known := w.state.Get(c, k); known {
			continue
		}
		st := newState(at)
		st.timer = plus(at, w.absent.Milliseconds())
		w.state.Put(c, k, st)
		c.SetTimerOf(k, "due", moment(st.timer))
	}
}

func newState(at int64) *keyState {
	return &keyState{first: at, last: at, now: at, timer: never, judged: never, repeatAt: never, lastStart: never}
}
