package streams

import (
	"errors"
	"fmt"
	"iter"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// State is a key-value store of a Process or ProcessValues operator: declared
// once, handed to the verb with Uses, and used in its functions with their
// context. It holds the keys of a task's partition, survives crashes by its
// changelog topic <app>-<name>-changelog, and is queried by its name
// (engine.Get[K, V]). It belongs to one operator; for state shared by two
// streams, Merge them first.
//
// A read error ends the transaction, as an error in the function does: there is
// nothing to check.
type State[K, V any] struct {
	name string
	kept string // what Spec.Name is
	o    options
	used bool
	n    *node
	slot int
	keys serdeOf[K]
	vals serdeOf[V]
}

// NewState declares a store. Options: Keys, Values, NoChangelog, FormerName. The
// keys' serde is by default that of the stream's keys, where they are of the same
// type.
func NewState[K, V any](name string, opts ...Option) *State[K, V] {
	s := &State[K, V]{name: name, o: parse("NewState", optKeys|optValues|optNoChangelog|optFormerName, opts)}
	s.kept = s.o.kept(name)
	return s
}

// Uses, of Process and ProcessValues, gives the operator stores. The first one's
// name is the operator's, if it has no other.
func Uses(stores ...StateStore) Option { return Option{optUses, stores} }

// StateStore is a *State[K, V] of any types.
type StateStore interface {
	// storeName is what it is called, and the name under which it is kept.
	storeName() (name, kept string)
	// missing reports whether it is a nil *State.
	missing() bool
	// attach adds the store to the operator.
	attach(b *Builder, n *node, keys any) []error
	// open makes the store of one task.
	open(id topology.NodeID, t *op.Task)
}

func usedStores(o *options) (stores []StateStore) {
	list, _ := o.value[optUses].([]any)
	for _, x := range list {
		for _, s := range x.([]StateStore) {
			if s == nil || s.missing() {
				o.errs = append(o.errs, errors.New("Uses: a store is nil"))
				continue
			}
			stores = append(stores, s)
		}
	}
	return stores
}

func (s *State[K, V]) storeName() (name, kept string) { return s.name, s.kept }

func (s *State[K, V]) missing() bool { return s == nil }

func (s *State[K, V]) attach(b *Builder, n *node, keys any) []error {
	errs := s.o.errs
	if s.used {
		return []error{fmt.Errorf("store %q belongs to operator %q already: a State is used by one operator", s.name, s.n.Name)}
	}
	s.used, s.n, s.slot = true, n, len(n.Stores)
	if err := checkName(s.name); err != nil {
		errs = append(errs, fmt.Errorf("store: %w", err))
	}
	o := options{value: s.o.value, given: s.o.given}
	if k, ok := keys.(serde.Serde[K]); ok && o.given&optKeys == 0 {
		s.keys = serdeOf[K]{s: k}
	} else {
		s.keys = serdeFor[K](b, &o, optKeys)
	}
	s.vals = serdeFor[V](b, &o, optValues)
	need(&o, "keys of store "+s.name, s.keys)
	need(&o, "values of store "+s.name, s.vals)
	n.Stores = append(n.Stores, s.kept)
	b.stores = append(b.stores, state.Spec{
		Name: s.kept, Alias: alias(s.name, s.kept), Changelog: o.given&optNoChangelog == 0,
		KeySerde: s.keys.s, ValSerde: s.vals.s, SerdeName: s.keys.name() + "," + s.vals.name(),
		KeyText: serde.TextOf(s.keys.s), ValText: serde.TextOf(s.vals.s),
	})
	return append(errs, o.errs...)
}

func (s *State[K, V]) open(id topology.NodeID, t *op.Task) {
	t.AddProcessState(id, op.NewState(t, id, s.kept, s.keys.s, s.vals.s))
}

// in finds the store of the task that a function runs in.
func (s *State[K, V]) in(c Scoped) (*op.State[K, V], *op.Ctx) {
	sc := c.scope()
	if s.n == nil || s.n.ID != sc.p.Node() {
		panic(fmt.Sprintf("operator %q uses store %q, which was not given to it: pass it with streams.Uses", sc.p.Name(), s.name))
	}
	return sc.p.State(s.slot).(*op.State[K, V]), sc.c
}

// Get returns the value of a key; ok is false if there is none. The value is the
// store's own: what it points to is changed only by whoever puts it back.
func (s *State[K, V]) Get(c Scoped, k K) (v V, ok bool) {
	st, x := s.in(c)
	return st.Get(x, k)
}

// Put sets the value of a key.
func (s *State[K, V]) Put(c Scoped, k K, v V) {
	st, x := s.in(c)
	st.Put(x, k, v)
}

// Delete deletes a key, if it is there.
func (s *State[K, V]) Delete(c Scoped, k K) {
	st, x := s.in(c)
	st.Delete(x, k)
}

// All are the entries of the task's partition in the order of the encoded keys,
// as they are when the loop begins; the loop may change the store. It reads them
// all: for Every, not for every record.
func (s *State[K, V]) All(c Scoped) iter.Seq2[K, V] {
	st, x := s.in(c)
	return func(yield func(K, V) bool) { st.Each(x, nil, nil, yield) }
}

// Range is All for the keys from <= k < to.
func (s *State[K, V]) Range(c Scoped, from, to K) iter.Seq2[K, V] {
	st, x := s.in(c)
	return func(yield func(K, V) bool) { st.Each(x, &from, &to, yield) }
}
