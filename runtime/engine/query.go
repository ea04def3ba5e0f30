package engine

import (
	"errors"
	"fmt"
	"time"

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
	StoreView
	key   serde.Serde[K]
	value serde.Serde[V]
}

// wrongKind is what a query says to a store of another kind.
const wrongKind = "store %q: key-value and window stores have queries of their own: Get, Range, All; Get with streams.At, Fetch, AllWindows"

func find[K, V any](e Stores, name string, kind state.Kind) (*store[K, V], error) {
	view, err := e.StoreView(name)
	if err != nil {
		return nil, err
	}
	s := &store[K, V]{StoreView: view}
	if s.spec.Kind != kind {
		return nil, fmt.Errorf(wrongKind, name)
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
		return nil, s.failed(fmt.Errorf("encode the key: %w", err))
	}
	return b, nil
}

// decode decodes what a store keeps under a key; the value shares no memory with b.
func (s *store[K, V]) decode(b []byte) (v V, err error) {
	_, enc, err := splitValue(b)
	if err != nil {
		return v, err
	}
	if v, err = s.value.Decode(enc); err != nil {
		return v, fmt.Errorf("decode a value: %w", err)
	}
	return s.value.Own(v), nil
}

func (s *store[K, V]) decodeKey(b []byte) (k K, err error) {
	if k, err = s.key.Decode(b); err != nil {
		return k, fmt.Errorf("decode a key: %w", err)
	}
	return s.key.Own(k), nil
}

// get looks a stored key up.
func (s *store[K, V]) get(plain, stored []byte) (v V, ok bool, err error) {
	b, ok, err := s.lookUp(plain, stored)
	if err != nil || !ok {
		return v, false, err
	}
	v, err = s.decode(b)
	return v, err == nil, s.failed(err)
}

// Get reads the committed value of key in a store. key is a K, or for a window
// store a streams.Windowed[K]: streams.At(k, t) for the window that holds t
// (the last to start, if several do), or a result's own key for exactly its window.
//
// ok is false if there is none. Changes of a transaction that is not committed
// are never seen. On a cluster the instance is asked that has the key: see Query.
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
	return s.get(b, state.AppendWindowKey(nil, s.windowOf(k.Start), b))
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
	return s.entries(span{from: lo, to: hi}, fn)
}

// All is Range over everything in a key-value store.
func All[K, V any](e Stores, store string, fn func(K, V) bool) error {
	s, err := find[K, V](e, store, state.KeyValue)
	if err != nil {
		return err
	}
	return s.entries(span{}, fn)
}

func (s *store[K, V]) entries(in span, fn func(K, V) bool) error {
	return s.scan(in, func(_ int32, key, value []byte) (bool, error) {
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
	err = s.scan(windowsOf(b, from.UnixMilli(), to.UnixMilli()), func(_ int32, k, value []byte) (bool, error) {
		start, _, err := splitKey(k)
		if err != nil {
			return false, err
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
	return s.scan(span{}, func(_ int32, key, value []byte) (bool, error) {
		start, plain, err := splitKey(key)
		if err != nil {
			return false, err
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
