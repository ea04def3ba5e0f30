package streams

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/topology"
)

// Stream is records, one after another; each stands for itself.
type Stream[K, V any] struct {
	b    *Builder
	n    *node
	keys serdeOf[K]
	vals serdeOf[V]
	// rekeyed: the key is no longer what the records are partitioned by.
	rekeyed bool
}

// derive appends an operator that keeps the stream's types. make is called once
// per task.
func (s *Stream[K, V]) derive(verb string, o *options, nilFunc bool, make func(n *node, t *op.Task) any) *Stream[K, V] {
	out := *s
	out.n = s.b.operator(verb, o, nilFunc, make, s.n)
	return &out
}

func (b *Builder) operator(verb string, o *options, nilFunc bool, make func(n *node, t *op.Task) any, parents ...*node) *node {
	n := b.add(verb, o, topology.Operator, parents...)
	if nilFunc {
		n.errs = append(n.errs, errors.New("its function is nil"))
	}
	n.make = func(t *op.Task) any { return make(n, t) }
	return n
}

// Filter keeps the records for which keep is true. Options: Named.
func (s *Stream[K, V]) Filter(keep func(k K, v V) bool, opts ...Option) *Stream[K, V] {
	o := parse("Filter", optNamed, opts)
	return s.derive("Filter", &o, keep == nil, func(n *node, t *op.Task) any {
		return op.Filter(n.ID, keep, downstream[K, V](n, t))
	})
}

// FilterNot drops the records for which drop is true. Options: Named.
func (s *Stream[K, V]) FilterNot(drop func(k K, v V) bool, opts ...Option) *Stream[K, V] {
	o := parse("FilterNot", optNamed, opts)
	return s.derive("FilterNot", &o, drop == nil, func(n *node, t *op.Task) any {
		return op.FilterNot(n.ID, drop, downstream[K, V](n, t))
	})
}

// Peek calls fn for every record and passes the record on. Options: Named.
func (s *Stream[K, V]) Peek(fn func(k K, v V), opts ...Option) *Stream[K, V] {
	o := parse("Peek", optNamed, opts)
	return s.derive("Peek", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.Peek(n.ID, fn, downstream[K, V](n, t))
	})
}

// ForEach calls fn for every record; the stream ends there. What fn does outside
// the program happens again when a transaction is repeated. Options: Named.
func (s *Stream[K, V]) ForEach(fn func(k K, v V), opts ...Option) {
	o := parse("ForEach", optNamed, opts)
	s.derive("ForEach", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.Peek(n.ID, fn, downstream[K, V](n, t))
	})
}

// Merge joins the streams' records, those of one stream in their order. The
// serdes are those of s.
func (s *Stream[K, V]) Merge(others ...*Stream[K, V]) *Stream[K, V] {
	o := parse("Merge", 0, nil)
	out := *s
	parents := []*node{s.n}
	for i, x := range others {
		if x == nil {
			o.errs = append(o.errs, fmt.Errorf("stream %d is nil", i+1))
			continue
		}
		parents = append(parents, s.b.reencoded(s, x))
		out.rekeyed = out.rekeyed || x.rekeyed
		if x.b != s.b {
			o.errs = append(o.errs, errors.New("the streams belong to different builders"))
			return &out
		}
	}
	out.n = s.b.operator("Merge", &o, false, func(n *node, t *op.Task) any {
		return downstream[K, V](n, t)
	}, parents...)
	return &out
}

// reencoded returns x's node, behind one that forgets the raw key where x has
// another encoding than s.
func (b *Builder) reencoded[K, V any](s, x *Stream[K, V]) *node {
	if x.keys.name() == s.keys.name() {
		return x.n
	}
	o := parse("Reencode", 0, nil)
	return b.operator("Reencode", &o, false, func(n *node, t *op.Task) any {
		return op.ForgetRawKey(downstream[K, V](n, t))
	}, x.n)
}

// SelectKey gives every record a new key. Options: Named, Keys.
func (s *Stream[K, V]) SelectKey[K2 any](key func(k K, v V) K2, opts ...Option) *Stream[K2, V] {
	o := parse("SelectKey", optNamed|optKeys, opts)
	return selectKey("SelectKey", s, key, &o)
}

func selectKey[K, V, K2 any](verb string, s *Stream[K, V], key func(k K, v V) K2, o *options) *Stream[K2, V] {
	keys := serdeFor[K2](s.b, o, optKeys)
	n := s.b.operator(verb, o, key == nil, func(n *node, t *op.Task) any {
		return op.SelectKey(n.ID, key, downstream[K2, V](n, t))
	}, s.n)
	return &Stream[K2, V]{b: s.b, n: n, keys: keys, vals: s.vals, rekeyed: true}
}

// Map makes a new record of each. Where the key stays, MapValues is better: it
// needs no repartitioning afterwards. Options: Named, Keys, Values.
func (s *Stream[K, V]) Map[K2, V2 any](fn func(k K, v V) (K2, V2), opts ...Option) *Stream[K2, V2] {
	o := parse("Map", optNamed|optKeys|optValues, opts)
	keys, vals := serdeFor[K2](s.b, &o, optKeys), serdeFor[V2](s.b, &o, optValues)
	n := s.b.operator("Map", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.Map(n.ID, fn, downstream[K2, V2](n, t))
	}, s.n)
	return &Stream[K2, V2]{b: s.b, n: n, keys: keys, vals: vals, rekeyed: true}
}

// MapValues makes a new value of each; null stays null. Options: Named, Values.
func (s *Stream[K, V]) MapValues[V2 any](fn func(k K, v V) V2, opts ...Option) *Stream[K, V2] {
	o := parse("MapValues", optNamed|optValues, opts)
	vals := serdeFor[V2](s.b, &o, optValues)
	n := s.b.operator("MapValues", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.MapValues(n.ID, fn, downstream[K, V2](n, t))
	}, s.n)
	return &Stream[K, V2]{b: s.b, n: n, keys: s.keys, vals: vals, rekeyed: s.rekeyed}
}

// FlatMap makes any number of records of each: emit may be called again and
// again until fn returns. Options: Named, Keys, Values.
func (s *Stream[K, V]) FlatMap[K2, V2 any](fn func(k K, v V, emit func(K2, V2)), opts ...Option) *Stream[K2, V2] {
	o := parse("FlatMap", optNamed|optKeys|optValues, opts)
	keys, vals := serdeFor[K2](s.b, &o, optKeys), serdeFor[V2](s.b, &o, optValues)
	n := s.b.operator("FlatMap", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.FlatMap(n.ID, fn, downstream[K2, V2](n, t))
	}, s.n)
	return &Stream[K2, V2]{b: s.b, n: n, keys: keys, vals: vals, rekeyed: true}
}

// FlatMapValues makes any number of values of each, under its key; null stays
// null. Options: Named, Values.
func (s *Stream[K, V]) FlatMapValues[V2 any](fn func(k K, v V, emit func(V2)), opts ...Option) *Stream[K, V2] {
	o := parse("FlatMapValues", optNamed|optValues, opts)
	vals := serdeFor[V2](s.b, &o, optValues)
	n := s.b.operator("FlatMapValues", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.FlatMapValues(n.ID, fn, downstream[K, V2](n, t))
	}, s.n)
	return &Stream[K, V2]{b: s.b, n: n, keys: s.keys, vals: vals, rekeyed: s.rekeyed}
}
