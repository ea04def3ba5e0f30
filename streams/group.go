package streams

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
)

// Grouped is a stream whose records with one key are to be aggregated together.
type Grouped[K, V any] struct {
	s *Stream[K, V]
	// name and o are of the repartition topic that a changed key needs; the first
	// aggregate makes it, the others share it.
	name  string
	o     options
	ready *Stream[K, V]
}

// GroupByKey groups by the key that the records have. They go through a
// repartition topic only if the key was changed before. Options: Named (of the
// repartition topic), Keys, Values, Partitions, Partitioner.
func (s *Stream[K, V]) GroupByKey(opts ...Option) *Grouped[K, V] {
	o := parse("GroupByKey", optNamed|optKeys|optValues|optPartitions|optPartitioner, opts)
	g := &Grouped[K, V]{s: s, name: o.string(optNamed), o: o}
	if !s.rekeyed {
		same := *s
		same.vals = override(&g.o, optValues, s.vals)
		if k := override(&g.o, optKeys, s.keys); k.name() != s.keys.name() {
			g.o.errs = append(g.o.errs, fmt.Errorf("the key's serde cannot change from %s to %s without a repartition: use Repartition", s.keys.name(), k.name()))
		}
		if g.o.given&(optPartitions|optPartitioner) != 0 {
			g.o.errs = append(g.o.errs, errors.New("Partitions and Partitioner have no effect: the key has not changed, so there is no repartition topic; use Repartition"))
		}
		g.ready = &same
	}
	return g
}

// GroupBy groups by a new key, through a repartition topic whose name is that of
// the operator, or of the first aggregate's store. Options: Named, Keys, Values,
// Partitions, Partitioner.
func (s *Stream[K, V]) GroupBy[K2 any](key func(k K, v V) K2, opts ...Option) *Grouped[K2, V] {
	o := parse("GroupBy", optNamed|optKeys|optValues|optPartitions|optPartitioner, opts)
	rest := o
	rest.errs = nil
	return &Grouped[K2, V]{s: selectKey("GroupBy", s, key, &o), name: o.string(optNamed), o: rest}
}

// Windowed cuts the groups into windows of event time.
func (g *Grouped[K, V]) Windowed(w Windows) *WindowedGroup[K, V] {
	return &WindowedGroup[K, V]{g, w}
}

// WindowedGroup is a Grouped cut into windows.
type WindowedGroup[K, V any] struct {
	g *Grouped[K, V]
	w Windows
}

const aggregateOptions = optNamed | optStore | optEmit | optValues | optNoChangelog | optFormerName

// Count counts the records per key. Options: Store (needed), Named, Values (the
// counts' serde), EmitOnCommit or EmitEveryUpdate, NoChangelog, FormerName.
func (g *Grouped[K, V]) Count(opts ...Option) *Table[K, int64] {
	return plain(g, "Count", countStep[K, V](), opts)
}

// Reduce combines the values of a key; the first stands for itself. Options as
// for Count.
func (g *Grouped[K, V]) Reduce(fn func(sum, v V) V, opts ...Option) *Table[K, V] {
	return plain(g, "Reduce", reduceStep[K](fn), opts)
}

// Aggregate folds the values of a key into an A that begins with init. Options as
// for Count; Values is the serde of A.
func (g *Grouped[K, V]) Aggregate[A any](init func() A, add func(k K, v V, a A) A, opts ...Option) *Table[K, A] {
	return plain(g, "Aggregate", aggregateStep(init, add), opts)
}

// Count counts the records per key and window. Options: Store (needed), Named,
// Values, EmitOnCommit, EmitEveryUpdate or EmitOnClose, KeepLate, NoChangelog,
// FormerName.
func (g *WindowedGroup[K, V]) Count(opts ...Option) *WindowedTable[K, int64] {
	return windowed(g, "Count", countStep[K, V](), opts)
}

// Reduce is Grouped.Reduce per window.
func (g *WindowedGroup[K, V]) Reduce(fn func(sum, v V) V, opts ...Option) *WindowedTable[K, V] {
	return windowed(g, "Reduce", reduceStep[K](fn), opts)
}

// Aggregate is Grouped.Aggregate per window.
func (g *WindowedGroup[K, V]) Aggregate[A any](init func() A, add func(k K, v V, a A) A, opts ...Option) *WindowedTable[K, A] {
	return windowed(g, "Aggregate", aggregateStep(init, add), opts)
}

func countStep[K, V any]() op.Step[K, V, int64] {
	return func(_ K, _ V, n int64, _ bool) int64 { return n + 1 }
}

func reduceStep[K, V any](fn func(sum, v V) V) op.Step[K, V, V] {
	if fn == nil {
		return nil
	}
	return func(_ K, v V, sum V, exists bool) V {
		if !exists {
			return v
		}
		return fn(sum, v)
	}
}

func aggregateStep[K, V, A any](init func() A, add func(k K, v V, a A) A) op.Step[K, V, A] {
	if init == nil || add == nil {
		return nil
	}
	return func(k K, v V, a A, exists bool) A {
		if !exists {
			a = init()
		}
		return add(k, v, a)
	}
}

// through returns the stream to aggregate, behind the group's repartition topic
// if it needs one.
func (g *Grouped[K, V]) through(store string) *Stream[K, V] {
	if g.ready == nil {
		name := g.name
		if name == "" {
			name = store
		}
		g.ready = g.s.repartition(&g.o, name)
		g.o.errs = nil
	}
	return g.ready
}

func plain[K, V, A any](g *Grouped[K, V], verb string, step op.Step[K, V, A], opts []Option) *Table[K, A] {
	o := parse(verb, aggregateOptions, opts)
	t := &Table[K, A]{newStateful(g, verb, &o, step == nil, state.Spec{}, func(n *node, t *op.Task, a op.Aggregate[K, A]) any {
		return op.NewAggregate(t, a, step, changes[K, A](n, t))
	})}
	return t
}

func windowed[K, V, A any](g *WindowedGroup[K, V], verb string, step op.Step[K, V, A], opts []Option) *WindowedTable[K, A] {
	o := parse(verb, aggregateOptions|optKeepLate, opts)
	spec := state.Spec{
		Kind: state.Window, SizeMS: g.w.SizeMS(), AdvanceMS: g.w.AdvanceMS(),
		GraceMS: g.w.GraceMS(), RetentionMS: g.w.RetentionMS(),
	}
	if err := g.w.Validate(); err != nil {
		o.errs = append(o.errs, err)
	}
	_, keep := typed[bool](&o, optKeepLate)
	vals := g.g.s.vals
	c := newStateful(g.g, verb, &o, step == nil, spec, func(n *node, t *op.Task, a op.Aggregate[K, A]) any {
		w := op.WindowedAggregate[K, V, A]{Aggregate: a, Windows: g.w, KeepLate: keep, Input: vals.s, Step: step}
		return op.NewWindowedAggregate(t, w, changes[K, A](n, t))
	})
	c.n.Detail = g.w.String() + ", " + c.n.Detail
	if keep {
		c.n.Detail += ", keep late"
	}
	c.size = g.w.SizeMS()
	return &WindowedTable[K, A]{c}
}

// newStateful appends an operator with a store. spec holds what is special to its kind.
func newStateful[K, V, A any](g *Grouped[K, V], verb string, o *options, nilFunc bool, spec state.Spec,
	make func(n *node, t *op.Task, a op.Aggregate[K, A]) any) changelog[K, A] {
	store := g.s.b.storeName(o)
	if g.ready != nil {
		o.errs = append(o.errs, g.o.errs...)
		g.o.errs = nil
	}
	in := g.through(store)
	return newStore(in, verb, store, o, nilFunc, spec, make)
}

// storeName is the name under which the verb's state is kept, by its options: the
// former name, if there is one, else the store's, which must be there.
func (b *Builder) storeName(o *options) string {
	store := o.string(optStore)
	if store == "" {
		o.errs = append(o.errs, errors.New("its state has no name: give it one with streams.Store"))
		b.verbs["unnamed state"]++
		store = fmt.Sprintf("unnamed-state-%d", b.verbs["unnamed state"])
	} else if err := checkName(store); err != nil {
		o.errs = append(o.errs, fmt.Errorf("store: %w", err))
	}
	return o.kept(store)
}

func newStore[K, V, A any](in *Stream[K, V], verb, store string, o *options, nilFunc bool, spec state.Spec,
	make func(n *node, t *op.Task, a op.Aggregate[K, A]) any) changelog[K, A] {
	b := in.b
	vals := serdeFor[A](b, o, optValues)
	need(o, "keys", in.keys)
	need(o, "values of the state", vals)
	mode, _ := typed[op.EmitMode](o, optEmit)
	if mode == op.EmitOnClose && spec.Kind != state.Window {
		o.errs = append(o.errs, errors.New("EmitOnClose needs windows: a key-value state never closes"))
	}
	if o.given&optNamed == 0 && o.string(optStore) != "" {
		o.given |= optNamed
		o.value[optNamed] = o.string(optStore)
	}
	spec.Name, spec.Changelog = store, o.given&optNoChangelog == 0
	if o.string(optStore) != "" {
		spec.Alias = alias(o.string(optStore), store)
	}
	spec.KeySerde, spec.ValSerde = in.keys.s, vals.s
	spec.SerdeName = in.keys.name() + "," + vals.name()
	spec.KeyText, spec.ValText, spec.ByRecordKey = serde.TextOf(in.keys.s), serde.TextOf(vals.s), true
	wantOld := new(bool)
	n := b.operator(verb, o, nilFunc, func(n *node, t *op.Task) any {
		return make(n, t, op.Aggregate[K, A]{
			Node: n.ID, Store: store, Keys: in.keys.s, Values: vals.s, Emit: mode, WantOld: *wantOld,
		})
	}, in.n)
	n.Stores, n.Detail, n.wantOld = []string{store}, mode.String(), wantOld
	n.KeySerde, n.ValSerde = in.keys.name(), vals.name()
	b.stores = append(b.stores, spec)
	out := changelog[K, A]{b: b, n: n, keys: in.keys, vals: vals}
	if spec.Kind == state.KeyValue {
		out.lookup = func(t *op.Task) op.Lookup[K, A] { return op.LookupStore[K, A](t, n.ID) }
	}
	return out
}
