package engine

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/window"
)

// WindowValue is the value of a key in one window.
type WindowValue[V any] struct {
	Start, End time.Time
	Value      V
}

// store is a store as a query sees it.
type store[K, V any] struct {
	spec    state.Spec
	index   int
	key     serde.Serde[K]
	value   serde.Serde[V]
	readers []task.Reader // by partition
}

// Stores is what the queries ask: an *Engine, or in tests a *streamstest.Driver.
type Stores interface {
	// StoreView finds the committed entries of a store.
	StoreView(store string) (StoreView, error)
}

// StoreView is one store over all its tasks, for the queries of this package.
type StoreView struct {
	spec    state.Spec
	index   int           // among the stores of its sub-topology
	readers []task.Reader // by partition
}

// ViewStore makes the view of a store of p, for a Stores of another package of
// the runtime; reader finds a task's reader.
func ViewStore(p *plan.Plan, store string, reader func(plan.TaskID) (task.Reader, bool)) (StoreView, error) {
	sub, index, ok := p.FindStore(store)
	if !ok {
		return StoreView{}, fmt.Errorf("%w: %q", ErrUnknownStore, store)
	}
	v := StoreView{spec: sub.Stores[index].Spec, index: index}
	for i := range sub.Tasks {
		r, ok := reader(plan.TaskID{Sub: sub.ID, Partition: i})
		if !ok {
			return StoreView{}, fmt.Errorf("store %q: %w", store, ErrNotRunning)
		}
		v.readers = append(v.readers, r)
	}
	return v, nil
}

// StoreView implements Stores.
func (e *Engine) StoreView(store string) (StoreView, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return StoreView{}, fmt.Errorf("store %q: %w", store, ErrNotRunning)
	}
	return ViewStore(e.plan, store, func(id plan.TaskID) (task.Reader, bool) {
		r, ok := e.readers[id]
		return r, ok
	})
}

func find[K, V any](e Stores, name string, kind state.Kind) (*store[K, V], error) {
	view, err := e.StoreView(name)
	if err != nil {
		return nil, err
	}
	s := &store[K, V]{spec: view.spec, index: view.index, readers: view.readers}
	if s.spec.Kind != kind {
		return nil, fmt.Errorf("store %q: key-value and window stores have queries of their own: Get, Range, All; Get with streams.At, Fetch, AllWindows", name)
	}
	var ok bool
	if s.key, ok = s.spec.KeySerde.(serde.Serde[K]); !ok {
		return nil, fmt.Errorf("store %q has %s, not keys of type %T", name, s.spec.SerdeName, *new(K))
	}
	if s.value, ok = s.spec.ValSerde.(serde.Serde[V]); !ok {
		return nil, fmt.Errorf("store %q has %s, not values of type %T", name, s.spec.SerdeName, *new(V))
	}
	return s, nil
}

// encode encodes a key; the null key has no entry anywhere.
func (s *store[K, V]) encode(k K) ([]byte, error) {
	b, err := s.key.Append(nil, k)
	if err != nil {
		return nil, fmt.Errorf("store %q: encode the key: %w", s.spec.Called(), err)
	}
	return b, nil
}

// decode decodes what a store keeps under a key; the value shares no memory with b.
func (s *store[K, V]) decode(b []byte) (v V, err error) {
	_, enc, ok := state.SplitValue(b)
	if !ok {
		return v, fmt.Errorf("store %q: a value of %d bytes, expected at least 8", s.spec.Called(), len(b))
	}
	if v, err = s.value.Decode(enc); err != nil {
		return v, fmt.Errorf("store %q: decode a value: %w", s.spec.Called(), err)
	}
	return s.value.Own(v), nil
}

func (s *store[K, V]) decodeKey(b []byte) (k K, err error) {
	if k, err = s.key.Decode(b); err != nil {
		return k, fmt.Errorf("store %q: decode a key: %w", s.spec.Called(), err)
	}
	return s.key.Own(k), nil
}

// get looks a stored key up: first where the default partitioner puts it, then
// everywhere, because a program may partition as it likes.
func (s *store[K, V]) get(plain, stored []byte) (v V, ok bool, err error) {
	n := len(s.readers)
	first := int(record.PartitionForKey(plain, int32(n)))
	for i := range n {
		b, found, _, err := s.readers[(first+i)%n].Get(s.index, stored, nil)
		if err != nil {
			return v, false, fmt.Errorf("store %q: %w", s.spec.Called(), err)
		}
		if found {
			v, err = s.decode(b)
			return v, err == nil, err
		}
	}
	return v, false, nil
}

// Get reads the committed value of key in a store. key is a K, or for a window
// store a streams.Windowed[K]: streams.At(k, t) for the window that holds t
// (the last to start, if several do), or a result's own key for exactly its window.
//
// ok is false if there is none. Changes of a transaction that is not committed
// are never seen.
func Get[K, V any](e Stores, store string, key any) (value V, ok bool, err error) {
	switch k := key.(type) {
	case window.Windowed[K]:
		return getWindow[K, V](e, store, k)
	case K:
		s, err := find[K, V](e, store, state.KeyValue)
		if err != nil {
			return value, false, err
		}
		b, err := s.encode(k)
		if err != nil {
			return value, false, err
		}
		return s.get(b, b)
	}
	return value, false, fmt.Errorf("store %q: key of type %T, expected %T or a window of it", store, key, *new(K))
}

func getWindow[K, V any](e Stores, store string, k window.Windowed[K]) (value V, ok bool, err error) {
	s, err := find[K, V](e, store, state.Window)
	if err != nil {
		return value, false, err
	}
	b, err := s.encode(k.Key)
	if err != nil {
		return value, false, err
	}
	start := k.Start
	if advance := s.spec.AdvanceMS; advance > 0 { // a moment in a window stands for the window
		start -= ((start % advance) + advance) % advance
	}
	return s.get(b, state.AppendWindowKey(nil, start, b))
}

// Range calls fn for the committed entries of a key-value store with from <=
// key < to, in order of the encoded keys, over all tasks one after the other,
// until fn returns false. Each task's entries are those of one commit.
func Range[K, V any](e Stores, store string, from, to K, fn func(K, V) bool) error {
	s, err := find[K, V](e, store, state.KeyValue)
	if err != nil {
		return err
	}
	lo, err1 := s.encode(from)
	hi, err2 := s.encode(to)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return s.scan(lo, hi, fn)
}

// All is Range over everything in a key-value store.
func All[K, V any](e Stores, store string, fn func(K, V) bool) error {
	s, err := find[K, V](e, store, state.KeyValue)
	if err != nil {
		return err
	}
	return s.scan(nil, nil, fn)
}

func (s *store[K, V]) scan(from, to []byte, fn func(K, V) bool) error {
	return s.each(from, to, func(key, value []byte) (bool, error) {
		k, err := s.decodeKey(key)
		if err != nil {
			return false, err
		}
		v, err := s.decode(value)
		if err != nil {
			return false, err
		}
		return fn(k, v), nil
	})
}

// each ranges over all tasks' entries until fn returns false.
func (s *store[K, V]) each(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	for _, r := range s.readers {
		var inner error
		more := true
		err := r.Range(s.index, from, to, func(key, value []byte) bool {
			more, inner = fn(key, value)
			return more && inner == nil
		})
		if err := errors.Join(inner, err); err != nil {
			return fmt.Errorf("store %q: %w", s.spec.Called(), err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// Fetch reads a key's windows that start in [from, to), oldest first.
func Fetch[K, V any](e Stores, store string, key K, from, to time.Time) ([]WindowValue[V], error) {
	s, err := find[K, V](e, store, state.Window)
	if err != nil {
		return nil, err
	}
	b, err := s.encode(key)
	if err != nil {
		return nil, err
	}
	var out []WindowValue[V]
	lo, hi := state.AppendWindowStart(nil, from.UnixMilli()), state.AppendWindowStart(nil, to.UnixMilli())
	err = s.each(lo, hi, func(k, value []byte) (bool, error) {
		start, plain, ok := state.SplitWindowKey(k)
		if !ok || !bytes.Equal(plain, b) {
			return true, nil
		}
		v, err := s.decode(value)
		out = append(out, s.windowValue(start, v))
		return true, err
	})
	return out, err
}

func (s *store[K, V]) windowValue(start int64, v V) WindowValue[V] {
	return WindowValue[V]{Start: time.UnixMilli(start).UTC(), End: time.UnixMilli(start + s.spec.SizeMS).UTC(), Value: v}
}

// AllWindows calls fn for every committed entry of a window store, oldest
// window first within each task, until fn returns false.
func AllWindows[K, V any](e Stores, store string, fn func(K, WindowValue[V]) bool) error {
	s, err := find[K, V](e, store, state.Window)
	if err != nil {
		return err
	}
	return s.each(nil, nil, func(key, value []byte) (bool, error) {
		start, plain, ok := state.SplitWindowKey(key)
		if !ok {
			return false, fmt.Errorf("a window's key of %d bytes, expected at least 8", len(key))
		}
		k, err := s.decodeKey(plain)
		if err != nil {
			return false, err
		}
		v, err := s.decode(value)
		if err != nil {
			return false, err
		}
		return fn(k, s.windowValue(start, v)), nil
	})
}

// Positions are the committed input offsets that the answers of a store's
// queries reflect.
func (e *Engine) Positions(store string) ([]Position, error) {
	sub, _, ok := e.plan.FindStore(store)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownStore, store)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Position
	for p := range sub.Tasks {
		r, ok := e.readers[plan.TaskID{Sub: sub.ID, Partition: p}]
		if !ok {
			return nil, fmt.Errorf("store %q: %w", store, ErrNotRunning)
		}
		ps, _ := r.Positions()
		for _, q := range ps {
			out = append(out, Position{Topic: q.Topic, Partition: int32(q.Partition), Offset: int64(q.Offset)})
		}
	}
	return out, nil
}
