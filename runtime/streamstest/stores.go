package streamstest

import (
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
)

// The stores of a program, as its last commits left them, over all partitions:
// engine.Get and its sisters, which take a Harness too, with errors that fail
// the test.

// Entry is an entry of a key-value store.
type Entry[K, V any] struct {
	Key   K
	Value V
}

// WindowEntry is an entry of a window store.
type WindowEntry[K, V any] struct {
	Key        K
	Start, End time.Time
	Value      V
}

// Get reads the committed value of a key: a K, or of a window store a
// streams.Windowed[K] such as streams.At(key, t). ok is false if there is none.
func Get[K, V any](h Harness, store string, key any) (value V, ok bool) {
	w := h.harness()
	w.t.Helper()
	value, ok, err := engine.Get[K, V](h, store, key)
	if err != nil {
		w.fatal("Get: %v", err)
	}
	return value, ok
}

// Range is the committed entries of a key-value store with from <= key < to,
// partition by partition, each in order of the encoded keys.
func Range[K, V any](h Harness, store string, from, to K) (entries []Entry[K, V]) {
	w := h.harness()
	w.t.Helper()
	err := engine.Range(h, store, from, to, func(k K, v V) bool {
		entries = append(entries, Entry[K, V]{k, v})
		return true
	})
	if err != nil {
		w.fatal("Range: %v", err)
	}
	return entries
}

// All is every committed entry of a key-value store.
func All[K, V any](h Harness, store string) (entries []Entry[K, V]) {
	w := h.harness()
	w.t.Helper()
	err := engine.All(h, store, func(k K, v V) bool {
		entries = append(entries, Entry[K, V]{k, v})
		return true
	})
	if err != nil {
		w.fatal("All: %v", err)
	}
	return entries
}

// Fetch is a key's windows that start in [from, to), oldest first.
func Fetch[K, V any](h Harness, store string, key K, from, to time.Time) []engine.WindowValue[V] {
	w := h.harness()
	w.t.Helper()
	values, err := engine.Fetch[K, V](h, store, key, from, to)
	if err != nil {
		w.fatal("Fetch: %v", err)
	}
	return values
}

// AllWindows is every committed entry of a window store.
func AllWindows[K, V any](h Harness, store string) (entries []WindowEntry[K, V]) {
	w := h.harness()
	w.t.Helper()
	err := engine.AllWindows(h, store, func(k K, v engine.WindowValue[V]) bool {
		entries = append(entries, WindowEntry[K, V]{k, v.Start, v.End, v.Value})
		return true
	})
	if err != nil {
		w.fatal("AllWindows: %v", err)
	}
	return entries
}
