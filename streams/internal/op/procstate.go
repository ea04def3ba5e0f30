package op

import (
	"fmt"

	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// State is the store of a Process operator as its functions use it.
type State[K, V any] struct {
	stateful[K, V]
	kv *cache.KV[V]
}

// NewState builds a store of a Process operator.
func NewState[K, V any](t *Task, node topology.NodeID, store string, keys serde.Serde[K], values serde.Serde[V]) *State[K, V] {
	s := &State[K, V]{stateful: newStateful[K, V](t, Aggregate[K, V]{Node: node, Store: store, Keys: keys, Values: values, Emit: EmitEveryUpdate}, nil)}
	s.kv = cache.NewKV[V](t.host, s.store, values, t.budget)
	t.addState(node, s)
	return s
}

// Node is the operator that the store belongs to.
func (s *State[K, V]) Node() topology.NodeID { return s.stateful.Node }

func (s *State[K, V]) encoded(c *Ctx, k K) (key []byte, ok bool) {
	key, err := encode(s.Keys, &s.keyBuf, k)
	switch {
	case err != nil:
		c.fail(fmt.Errorf("store %q: %w", s.Store, s.t.encodeError(s.stateful.Node, "key", err)))
	case key == nil:
		c.fail(fmt.Errorf("store %q of operator %q: the key is null", s.Store, s.t.name(s.stateful.Node)))
	}
	return key, err == nil && key != nil
}

// Get is the value of a key.
func (s *State[K, V]) Get(c *Ctx, k K) (v V, ok bool) {
	key, ok := s.encoded(c, k)
	if !ok {
		return v, false
	}
	e, err := s.kv.Find(key)
	if err != nil {
		c.fail(err)
	}
	if e == nil {
		return v, false
	}
	return e.Value, true
}

// Put sets the value of a key.
func (s *State[K, V]) Put(c *Ctx, k K, v V) {
	key, ok := s.encoded(c, k)
	if !ok {
		return
	}
	e, err := s.kv.FindOrCreate(key)
	if err != nil {
		c.fail(err)
		return
	}
	if s.life == serde.Borrowed {
		v = s.Values.Own(v)
	}
	e.Value, e.TimestampMS = v, c.Timestamp
	s.kv.Changed(e)
}

// Delete deletes a key.
func (s *State[K, V]) Delete(c *Ctx, k K) {
	key, ok := s.encoded(c, k)
	if !ok {
		return
	}
	e, err := s.kv.Find(key)
	if err != nil {
		c.fail(err)
	}
	if e != nil {
		s.kv.Delete(e, c.Timestamp)
	}
}

// Each calls fn for the entries with from <= key < to in the order of the encoded
// keys, until it is false; a nil bound is none. It sees the entries as they are
// when it is called: fn may change the store.
func (s *State[K, V]) Each(c *Ctx, from, to *K, fn func(K, V) bool) {
	var lo, hi []byte
	for _, b := range []struct {
		k   *K
		dst *[]byte
	}{{from, &lo}, {to, &hi}} {
		if b.k == nil {
			continue
		}
		key, ok := s.encoded(c, *b.k)
		if !ok {
			return
		}
		*b.dst = append([]byte{}, key...)
	}
	type entry struct {
		k K
		v V
	}
	var all []entry
	err := s.kv.Range(lo, hi, func(key []byte, v V, _ int64) error {
		k, err := s.Keys.Decode(key)
		if err != nil {
			return fmt.Errorf("store %q: a key: %w", s.Store, err)
		}
		all = append(all, entry{s.Keys.Own(k), s.Values.Own(v)})
		return nil
	})
	if err != nil {
		c.fail(err)
		return
	}
	for _, e := range all {
		if !fn(e.k, e.v) {
			return
		}
	}
}

func (s *State[K, V]) emitOnCommit(c *Ctx) error { return emitKV(&s.stateful, s.kv, c) }
func (s *State[K, V]) flush() error              { return s.kv.Flush() }
func (s *State[K, V]) done()                     { s.kv.Committed() }
func (s *State[K, V]) usage() processor.Usage    { return s.kv.Usage() }
