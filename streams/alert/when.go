package alert

import (
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
// <app>-<rule's name>-repartition first. Records with a null key or value are
// dropped.
func When[K, V any](s *streams.Stream[K, V], c Condition, opts ...Option) *streams.Stream[string, Event] {
	r := &rule{Condition: c}
	for _, o := range opts {
		if o.apply != nil {
			o.apply(r)
		}
	}
	return streamOf(s, r)
}
