package cache

import "github.com/millstream-io/millstream/streams/processor"

// KV caches a key-value store.
type KV[V any] struct{}

// NewKV returns a cache of store (an index into SubTopology.Stores). Caches of
// one unit share budget.
func NewKV[V any](h processor.Host, store int, s Serde[V], budget *Budget) *KV[V] { panic("soon") }

// Find returns the entry of key, nil if the store has no value there.
func (c *KV[V]) Find(key []byte) (*Entry[V], error) { panic("soon") }

// FindOrCreate returns the entry of key. If the store has no value there,
// Exists is false, Value is V's zero and TimestampMS is processor.NoTime; the
// entry then comes to exist with Changed.
func (c *KV[V]) FindOrCreate(key []byte) (*Entry[V], error) { panic("soon") }

// Changed says that Value or TimestampMS was written in place.
func (c *KV[V]) Changed(e *Entry[V]) { panic("soon") }

// Set stores a detached copy of v (the serde's Own) and its timestamp.
func (c *KV[V]) Set(e *Entry[V], v V, timestampMS int64) { panic("soon") }

// Delete removes the value: the changelog gets a tombstone.
func (c *KV[V]) Delete(e *Entry[V]) { panic("soon") }

// Key is the entry's encoded key, borrowed as the entry is.
func (c *KV[V]) Key(e *Entry[V]) []byte { panic("soon") }

// Dirty calls fn for the entries changed since the last Flush, in the order in
// which they were first changed; also for deleted ones (Exists is false). fn
// must not call the cache, but Key.
func (c *KV[V]) Dirty(fn func(key []byte, e *Entry[V]) error) error { panic("soon") }

// Ascend calls fn for every value in the order of the key bytes, cached or not.
// Key and value are borrowed. fn must not call the cache.
func (c *KV[V]) Ascend(fn func(key []byte, v V, timestampMS int64) error) error { panic("soon") }

// Flush hands every changed entry to the changelog, once.
func (c *KV[V]) Flush() error { panic("soon") }

// Committed makes the flushed entries clean and evicts down to the budget.
func (c *KV[V]) Committed() { panic("soon") }

// Usage reports sizes and counters.
func (c *KV[V]) Usage() processor.Usage { panic("soon") }
