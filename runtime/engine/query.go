package engine

import "time"

// WindowValue is the value of a key in one window.
type WindowValue[V any] struct {
	Start, End time.Time
	Value      V
}

// Get reads the committed value of key in a store. key is a K, or for a window
// store a streams.Windowed[K]: streams.At(k, t) for the window that holds t
// (the last to start, if several do), or a result's own key for exactly its window.
//
// ok is false if there is none. Changes of a transaction that is not committed
// are never seen.
func Get[K, V any](e *Engine, store string, key any) (value V, ok bool, err error) {
	panic("engine.Get: not written yet")
}

// Range calls fn for the committed entries of a key-value store with from <=
// key < to, in order of the encoded keys, over all tasks one after the other,
// until fn returns false. Each task's entries are those of one commit.
func Range[K, V any](e *Engine, store string, from, to K, fn func(K, V) bool) error {
	panic("engine.Range: not written yet")
}

// All is Range over everything in a key-value store.
func All[K, V any](e *Engine, store string, fn func(K, V) bool) error {
	panic("engine.All: not written yet")
}

// Fetch reads a key's windows that start in [from, to), oldest first.
func Fetch[K, V any](e *Engine, store string, key K, from, to time.Time) ([]WindowValue[V], error) {
	panic("engine.Fetch: not written yet")
}

// AllWindows calls fn for every committed entry of a window store, oldest
// window first within each task, until fn returns false.
func AllWindows[K, V any](e *Engine, store string, fn func(K, WindowValue[V]) bool) error {
	panic("engine.AllWindows: not written yet")
}

// Positions are the committed input offsets that the answers of a store's
// queries reflect.
func (e *Engine) Positions(store string) ([]Position, error) {
	panic("engine.Positions: not written yet")
}
