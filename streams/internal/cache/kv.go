package cache

import "github.com/millstream-io/millstream/streams/processor"

// KV caches a key-value store.
type KV[V any] struct {
	store[V]
	t table[V]

	// complete: every value of the store is in t.
	complete bool
	probed   bool
}

// NewKV returns a cache of store (an index into SubTopology.Stores). Caches of
// one unit share budget.
func NewKV[V any](h processor.Host, store int, s Serde[V], budget *Budget) *KV[V] {
	return &KV[V]{store: newStore(h, store, s, budget)}
}

// Find returns the entry of key, nil if the store has no value there.
func (c *KV[V]) Find(key []byte) (*Entry[V], error) {
	hash := hashKey(key)
	e := c.t.find(hash, key)
	if e == nil {
		var err error
		if e, err = c.miss(hash, key, false); err != nil || e == nil {
			return nil, err
		}
	} else {
		c.hits++
		e.flags |= flagUsed
	}
	if !e.Exists() {
		return nil, nil
	}
	return e, nil
}

// FindOrCreate returns the entry of key. If the store has no value there,
// Exists is false, Value is V's zero and TimestampMS is processor.NoTime, or when
// the running transaction deleted it; the entry then comes to exist with Changed.
func (c *KV[V]) FindOrCreate(key []byte) (*Entry[V], error) {
	hash := hashKey(key)
	if e := c.t.find(hash, key); e != nil {
		c.hits++
		e.flags |= flagUsed
		return e, nil
	}
	return c.miss(hash, key, true)
}

// miss looks behind the table. Without create it may return nil for an absence
// that is known.
func (c *KV[V]) miss(hash uint32, key []byte, create bool) (*Entry[V], error) {
	if !c.probed {
		if err := c.probe(); err != nil {
			return nil, err
		}
		if e := c.t.find(hash, key); e != nil {
			c.hits++
			return e, nil
		}
	}
	if c.complete {
		c.hits++
		if !create {
			return nil, nil
		}
		return c.insert(&c.t, hash, key), nil
	}
	if c.budget.over() {
		c.sweep(&c.t, sweepSteps)
	}
	return c.load(&c.t, hash, key, key)
}

// sweepSteps bounds what one miss pays for eviction.
const sweepSteps = 64

// probe reads the store into the table as far as the budget reaches.
func (c *KV[V]) probe() error {
	c.probed, c.complete = true, true
	var inner error
	err := c.backend.Range(nil, nil, func(key, stored []byte) bool {
		if c.budget.over() {
			c.complete = false
			return false
		}
		if hash := hashKey(key); c.t.find(hash, key) == nil {
			_, inner = c.insertDecoded(&c.t, hash, key, stored)
		}
		return inner == nil
	})
	return cmpErr(inner, err)
}

// Changed says that Value or TimestampMS was written in place.
func (c *KV[V]) Changed(e *Entry[V]) {
	if e.flags&(flagDirty|flagExists) != flagDirty|flagExists {
		c.change(e)
	}
}

func (c *KV[V]) change(e *Entry[V]) {
	e.flags |= flagExists
	if !e.Dirty() {
		c.mark(e, 0)
	}
}

// Set stores a detached copy of v (the serde's Own) and its timestamp.
func (c *KV[V]) Set(e *Entry[V], v V, timestampMS int64) {
	c.set(e, v, timestampMS)
	c.Changed(e)
}

// Delete removes the value: the changelog gets a tombstone. TimestampMS, for
// Dirty, is the time of the deletion until the next Flush.
func (c *KV[V]) Delete(e *Entry[V], timestampMS int64) {
	var zero V
	e.Value, e.TimestampMS = zero, timestampMS
	c.setHeap(&c.t, e, 0)
	e.flags &^= flagExists
	if !e.Dirty() {
		c.mark(e, 0)
	}
}

// Key is the entry's encoded key, borrowed as the entry is.
func (c *KV[V]) Key(e *Entry[V]) []byte { return c.t.key(e) }

// Dirty calls fn for the entries changed since the last Flush, in the order in
// which they were first changed; also for deleted ones (Exists is false). fn
// must not call the cache, but Key.
func (c *KV[V]) Dirty(fn func(key []byte, e *Entry[V]) error) error {
	for _, ref := range c.dirty {
		e := c.t.entry(ref.idx)
		if err := fn(c.t.key(e), e); err != nil {
			return err
		}
	}
	return nil
}

// Ascend calls fn for every value in the order of the key bytes, cached or not.
// Key and value are borrowed: a value that is not cached may alias memory that
// is used again after fn. fn must not call the cache.
func (c *KV[V]) Ascend(fn func(key []byte, v V, timestampMS int64) error) error {
	return c.Range(nil, nil, fn)
}

// Range is Ascend for the keys with from <= key < to; a nil to has no end.
func (c *KV[V]) Range(from, to []byte, fn func(key []byte, v V, timestampMS int64) error) error {
	if !c.probed {
		if err := c.probe(); err != nil {
			return err
		}
	}
	return c.ascend(&c.t, c.complete, from, to, 0, fn)
}

// Flush hands every changed entry to the changelog, once.
func (c *KV[V]) Flush() error {
	for _, ref := range c.dirty {
		e := c.t.entry(ref.idx)
		if err := c.emit(&c.t, e, c.t.key(e)); err != nil {
			return err
		}
	}
	c.flushedAll()
	return nil
}

// Committed makes the flushed entries clean and evicts down to the budget.
func (c *KV[V]) Committed() {
	for _, ref := range c.flushed {
		c.t.entry(ref.idx).flags &^= flagFlushed
	}
	c.flushed = c.flushed[:0]
	if len(c.dirty) == 0 {
		c.dirtyBytes = 0
	}
	if c.budget.over() {
		c.pool.trim()
		if c.sweep(&c.t, 2*int(c.t.next)) {
			c.complete = false
		}
	}
}

// Usage reports sizes and counters.
func (c *KV[V]) Usage() processor.Usage { return c.usage() }
