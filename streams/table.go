package streams

import (
	"time"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/window"
)

// changelog is what Table and WindowedTable have in common: an operator that
// makes changes.
type changelog[K, V any] struct {
	b    *Builder
	n    *node
	keys serdeOf[K]
	vals serdeOf[V]
	size int64 // of its windows, in milliseconds
	// lookup finds a key's value in the task's store; nil of windowed tables.
	lookup func(t *op.Task) op.Lookup[K, V]
}

// Table is the latest value of each key, and the changes to it.
type Table[K, V any] struct{ changelog[K, V] }

// WindowedTable is the latest value of each key in each window.
type WindowedTable[K, V any] struct{ changelog[K, V] }

// ToTable keeps the latest value of each key; null deletes. The stream goes
// through a repartition topic first if its key was changed. Options: Store
// (needed), Named, Keys, Values, EmitOnCommit or EmitEveryUpdate, NoChangelog,
// FormerName.
func (s *Stream[K, V]) ToTable(opts ...Option) *Table[K, V] {
	o := parse("ToTable", aggregateOptions|optKeys, opts)
	g := &Grouped[K, V]{s: s}
	if s.rekeyed {
		g.o.value, g.o.given = map[optionKind]any{}, o.given&(optKeys|optValues)
		for _, k := range []optionKind{optKeys, optValues} {
			if v, ok := o.value[k]; ok {
				g.o.value[k] = v
			}
		}
	} else {
		same := *s
		same.keys = override(&o, optKeys, s.keys)
		raw := same.keys.name() == s.keys.name()
		if !raw {
			same.n = s.b.reencoded(&same, s)
		}
		g.ready = &same
	}
	if o.given&optValues == 0 && s.vals.s != nil {
		o.given |= optValues
		o.value[optValues] = s.vals.s
	}
	return &Table[K, V]{newStateful(g, "ToTable", &o, false, state.Spec{}, func(n *node, t *op.Task, a op.Aggregate[K, V]) any {
		return op.NewTable(t, a, changes[K, V](n, t))
	})}
}

// ToStream is the table's changes as records: a deleted key is a null value.
// Options: Named.
func (t *Table[K, V]) ToStream(opts ...Option) *Stream[K, V] {
	o := parse("ToStream", optNamed, opts)
	n := t.b.operator("ToStream", &o, false, func(n *node, task *op.Task) any {
		return op.ToStream(downstream[K, V](n, task))
	}, t.n)
	return &Stream[K, V]{b: t.b, n: n, keys: t.keys, vals: t.vals}
}

// ToStream is the table's changes as records, under the key that key makes:
// Keyed, KeyOnly, or a function of the program. Options: Named, Keys.
func (t *WindowedTable[K, V]) ToStream[W any](key func(k K, w Window) W, opts ...Option) *Stream[W, V] {
	o := parse("ToStream", optNamed|optKeys, opts)
	keys := t.windowKeys[W](&o)
	n := t.b.operator("ToStream", &o, key == nil, func(n *node, task *op.Task) any {
		return op.ToKeyed(n.ID, key, downstream[W, V](n, task))
	}, t.n)
	return &Stream[W, V]{b: t.b, n: n, keys: keys, vals: t.vals, rekeyed: true}
}

// windowKeys finds the serde of W: the option's; of Windowed[K], the table's own
// key serde with the window's size; of K the table's own; else by type.
func (t *changelog[K, V]) windowKeys[W any](o *options) serdeOf[W] {
	if o.given&optKeys == 0 && t.keys.s != nil {
		if s, ok := t.keys.s.(serde.Serde[W]); ok {
			return serdeOf[W]{s: s}
		}
		if s, ok := window.SerdeOf(t.keys.s, time.Duration(t.size)*time.Millisecond).(serde.Serde[W]); ok {
			return serdeOf[W]{s: s}
		}
	}
	return serdeFor[W](t.b, o, optKeys)
}

// Filter keeps the values for which keep is true; a key whose value is no longer
// kept is deleted. Options: Named.
func (t *Table[K, V]) Filter(keep func(k K, v V) bool, opts ...Option) *Table[K, V] {
	return &Table[K, V]{t.filter(func(k K, _ Window, v V) bool { return keep(k, v) }, keep == nil, opts)}
}

// Filter keeps the values for which keep is true; a key whose value is no longer
// kept is deleted. Options: Named.
func (t *WindowedTable[K, V]) Filter(keep func(k K, w Window, v V) bool, opts ...Option) *WindowedTable[K, V] {
	return &WindowedTable[K, V]{t.filter(keep, keep == nil, opts)}
}

// MapValues makes a new value of each. Options: Named, Values.
func (t *Table[K, V]) MapValues[V2 any](fn func(k K, v V) V2, opts ...Option) *Table[K, V2] {
	return &Table[K, V2]{t.mapValues(func(k K, _ Window, v V) V2 { return fn(k, v) }, fn == nil, opts)}
}

// MapValues makes a new value of each. Options: Named, Values.
func (t *WindowedTable[K, V]) MapValues[V2 any](fn func(k K, w Window, v V) V2, opts ...Option) *WindowedTable[K, V2] {
	return &WindowedTable[K, V2]{t.mapValues(fn, fn == nil, opts)}
}

func (t *changelog[K, V]) filter(keep func(K, Window, V) bool, nilFunc bool, opts []Option) changelog[K, V] {
	o := parse("Filter", optNamed, opts)
	out := *t
	*t.n.wantOld = true
	out.n = t.b.operator("Filter", &o, nilFunc, func(n *node, task *op.Task) any {
		return op.FilterChanges(n.ID, keep, changes[K, V](n, task))
	}, t.n)
	out.n.wantOld = t.n.wantOld
	if t.lookup != nil {
		out.lookup = func(task *op.Task) op.Lookup[K, V] { return op.LookupFiltered(out.n.ID, keep, t.lookup(task)) }
	}
	return out
}

func (t *changelog[K, V]) mapValues[V2 any](fn func(K, Window, V) V2, nilFunc bool, opts []Option) changelog[K, V2] {
	o := parse("MapValues", optNamed|optValues, opts)
	vals := serdeFor[V2](t.b, &o, optValues)
	n := t.b.operator("MapValues", &o, nilFunc, func(n *node, task *op.Task) any {
		return op.MapChanges(n.ID, fn, changes[K, V2](n, task))
	}, t.n)
	n.wantOld = t.n.wantOld
	out := changelog[K, V2]{b: t.b, n: n, keys: t.keys, vals: vals, size: t.size}
	if t.lookup != nil {
		out.lookup = func(task *op.Task) op.Lookup[K, V2] { return op.LookupMapped(n.ID, fn, t.lookup(task)) }
	}
	return out
}
