package cache

import "github.com/millstream-io/millstream/streams/processor"

// Windows caches a window store. A window is named by its start in
// milliseconds; keys are the encoded keys without the window.
type Windows[V any] struct{}

// NewWindows returns a cache of store (an index into SubTopology.Stores).
// Caches of one unit share budget.
func NewWindows[V any](h processor.Host, store int, s Serde[V], budget *Budget) *Windows[V] {
	panic("soon")
}

// Find returns the entry of key in the window, nil if there is no value.
func (c *Windows[V]) Find(startMS int64, key []byte) (*Entry[V], error) { panic("soon") }

// FindOrCreate returns the entry of key in the window, as KV.FindOrCreate does.
// It fails with ErrExpired if the window starts before the last Expire.
func (c *Windows[V]) FindOrCreate(startMS int64, key []byte) (*Entry[V], error) { panic("soon") }

// Changed says that Value or TimestampMS was written in place.
func (c *Windows[V]) Changed(e *Entry[V]) { panic("soon") }

// Set stores a detached copy of v (the serde's Own) and its timestamp.
func (c *Windows[V]) Set(e *Entry[V], v V, timestampMS int64) { panic("soon") }

// Delete removes the value: the changelog gets a tombstone.
func (c *Windows[V]) Delete(e *Entry[V]) { panic("soon") }

// Key is the entry's encoded key, Start its window's start.
func (c *Windows[V]) Key(e *Entry[V]) []byte { panic("soon") }

// Start is the start of the entry's window in milliseconds.
func (c *Windows[V]) Start(e *Entry[V]) int64 { panic("soon") }

// NextStart is the least start >= fromMS of a window that holds or held an
// entry and has not expired, cached or only in the backend. After a restart it
// is how the open windows are found.
func (c *Windows[V]) NextStart(fromMS int64) (startMS int64, ok bool, err error) { panic("soon") }

// Ascend calls fn for every value of one window in the order of the key bytes,
// cached or not. Key and value are borrowed. fn must not call the cache.
func (c *Windows[V]) Ascend(startMS int64, fn func(key []byte, v V, timestampMS int64) error) error {
	panic("soon")
}

// Dirty calls fn for the entries of windows that start before beforeMS
// (processor.MaxTime: all) and changed since the last Flush, in the order in
// which they were first changed; also for deleted ones (Exists is false). fn
// must not call the cache. Call it before Expire where changes must be seen.
func (c *Windows[V]) Dirty(beforeMS int64, fn func(startMS int64, key []byte, e *Entry[V]) error) error {
	panic("soon")
}

// Expire drops the windows that start before startMS, here and (Host.Expire) in
// the store. Changes to them that were not flushed never reach the changelog.
func (c *Windows[V]) Expire(startMS int64) error { panic("soon") }

// Flush hands every changed entry to the changelog, once.
func (c *Windows[V]) Flush() error { panic("soon") }

// Committed makes the flushed entries clean and evicts down to the budget.
func (c *Windows[V]) Committed() { panic("soon") }

// Usage reports sizes and counters.
func (c *Windows[V]) Usage() processor.Usage { panic("soon") }
