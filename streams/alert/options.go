package alert

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

// Option is a modifier of When. A mistake in one is reported by Build.
type Option struct{ apply func(r *rule) }

// Named gives the rule its name, which every rule needs: the events' Kind, the
// operator's name, and the first part of its stores' names.
func Named(name string) Option { return Option{func(r *rule) { r.name = name }} }

// For lets an alert fire only once its condition has held for d.
func For(d time.Duration) Option {
	return duration("For", d, func(r *rule) { r.holdMS = d.Milliseconds() })
}

// Repeat sends the firing notice again every d while the alert goes on. Where time
// passes more than a thousand of them at once, only the last is sent.
func Repeat(d time.Duration) Option {
	return duration("Repeat", d, func(r *rule) { r.repeatMS = d.Milliseconds() })
}

// NotifyResolved sends a resolved notice when an alert ends.
func NotifyResolved() Option { return Option{func(r *rule) { r.resolved = true }} }

// AtClose judges a window when it closes, by its final number, instead of with
// each record.
func AtClose() Option { return Option{func(r *rule) { r.atClose = true }} }

// Forget makes a key unknown again after d without a record: an alert that it has
// ends, and Absent and Below no longer watch it. Default: keys stay known.
func Forget(d time.Duration) Option {
	return duration("Forget", d, func(r *rule) { r.forgetMS = d.Milliseconds() })
}

// KeepLate sends records that come too late for their window to the dead-letter
// topic. Default: they are only counted.
func KeepLate() Option { return Option{func(r *rule) { r.keepLate = true }} }

// Label gives every event of the rule a label.
func Label(name, value string) Option {
	return Option{func(r *rule) {
		if r.labels == nil {
			r.labels = map[string]string{}
		}
		r.labels[name] = value
	}}
}

// Annotate completes an event before it is sent: its Labels and Annotations,
// which are the event's own. It must depend on its arguments alone.
func Annotate[K any](fn func(k K, e *Event)) Option {
	return Option{func(r *rule) { r.annotate = fn }}
}

// Collect gathers an A of a key's records beside the number: of In per window, of
// Absent over all records since the key is known or the last alert ended, of Over
// per slice (see Merge). Events have it in Data, as JSON; the state keeps it by
// the serde of A. init and add are as for streams' Aggregate.
func Collect[K, V, A any](init func() A, add func(k K, v V, a A) A) Option {
	return Option{func(r *rule) {
		s, err := serde.For[A](nil)
		if err != nil {
			r.errs = append(r.errs, fmt.Errorf("Collect: %w", err))
			return
		}
		if init == nil || add == nil {
			r.errs = append(r.errs, fmt.Errorf("Collect: a function is nil"))
			return
		}
		r.collector = &collector[K, V, A]{init: init, add: add, serde: s}
	}}
}

// Merge is how Collect's values of several slices become one, for Over.
func Merge[A any](fn func(a, b A) A) Option { return Option{func(r *rule) { r.merge = fn }} }

// GroupBy makes one alert of those of a group's keys: its notice comes wait after
// its first key fired, has the group as Key and the firing keys as Members, and
// comes again, no sooner than another wait later, when keys have been added. With
// NotifyResolved it ends when all have ended; without, each notice stands for
// itself. The events of the keys go through a repartition topic.
func GroupBy[K any](group func(k K) string, wait time.Duration) Option {
	return duration("GroupBy", wait, func(r *rule) { r.group, r.waitMS = group, wait.Milliseconds() })
}

// Expect makes keys known from the start, for Absent: their time begins with the
// first record of any key. The stream then goes through a repartition topic with
// one partition, so that one task knows of all keys.
func Expect[K any](keys ...K) Option { return Option{func(r *rule) { r.expect = keys }} }

func duration(name string, d time.Duration, apply func(r *rule)) Option {
	return Option{func(r *rule) {
		if d < time.Millisecond || d%time.Millisecond != 0 {
			r.errs = append(r.errs, fmt.Errorf("%s %v, expected whole milliseconds, at least one", name, d))
		}
		apply(r)
	}}
}

// collecting is a collector of any types. An accumulator is a *A.
type collecting interface {
	fresh() any
	encode(dst []byte, acc any) ([]byte, error)
	decode(b []byte) (any, error)
	own(acc any)
	json(accs []any, merge any) (json.RawMessage, error)
	// merger is merge if it is a func(a, b A) A.
	merger(merge any) any
	name() string
}

type collector[K, V, A any] struct {
	init  func() A
	add   func(k K, v V, a A) A
	serde serde.Serde[A]
}

func (c *collector[K, V, A]) fresh() any {
	a := c.init()
	return &a
}

func (c *collector[K, V, A]) encode(dst []byte, acc any) ([]byte, error) {
	return c.serde.Append(dst, *acc.(*A))
}

func (c *collector[K, V, A]) decode(b []byte) (any, error) {
	a, err := c.serde.Decode(b)
	if err != nil {
		return nil, err
	}
	a = c.serde.Own(a)
	return &a, nil
}

func (c *collector[K, V, A]) own(acc any) {
	a := acc.(*A)
	*a = c.serde.Own(*a)
}

func (c *collector[K, V, A]) name() string { return c.serde.Name() }

func (c *collector[K, V, A]) merger(merge any) any {
	if f, ok := merge.(func(a, b A) A); ok && f != nil {
		return f
	}
	return nil
}

func (c *collector[K, V, A]) json(accs []any, merge any) (json.RawMessage, error) {
	var a A
	for i, acc := range accs {
		if i == 0 {
			a = *acc.(*A)
			continue
		}
		a = merge.(func(a, b A) A)(a, *acc.(*A))
	}
	return json.Marshal(a)
}
