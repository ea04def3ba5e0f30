package cache

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
)

const noTime = processor.NoTime

// store is what KV and Windows share: the way to the host, the accounting, the
// dirty list and the scratch memory.
type store[V any] struct {
	host    processor.Host
	index   int
	backend state.Backend
	serde   Serde[V]
	budget  *Budget
	pool    entryPool[V]

	entryBytes int64 // fixed cost of an entry: the slab's part and its slots
	bytes      int64 // this cache's part of budget.used
	entries    int64
	dirtyBytes int64
	hits       int64
	misses     int64

	dirty   []dirtyRef // in the order of the first change since the last Flush
	flushed []dirtyRef // handed over by Flush, until Committed

	keyBuf, valBuf, encBuf []byte
	sorted                 []sortRef
}

// dirtyRef finds a changed entry again. gen is the generation of its window's
// place: a window that expired took its changes with it.
type dirtyRef struct{ idx, owner, gen uint32 }

func newStore[V any](h processor.Host, index int, s Serde[V], budget *Budget) store[V] {
	var e Entry[V]
	return store[V]{
		host: h, index: index, backend: h.Backend(index), serde: s, budget: budget,
		pool: entryPool[V]{
			pool:       pool{budget: budget},
			entryBytes: int64(unsafe.Sizeof(e)),
			refs:       hasPointers(reflect.TypeFor[V]()),
		},
		entryBytes: int64(unsafe.Sizeof(e)) + 2*slotBytes,
	}
}

func (c *store[V]) account(n int64) {
	c.bytes += n
	c.budget.used += n
}

// tableBytes is what a table costs beside its entries and keys: the window
// itself, lists, what is allocated in advance.
const tableBytes = 512

// insert adds an entry to t and accounts for it.
func (c *store[V]) insert(t *table[V], hash uint32, key []byte) *Entry[V] {
	if t.n == 0 {
		c.account(tableBytes)
	}
	e := t.insert(hash, key, &c.pool)
	c.entries++
	c.account(c.entryBytes + int64(len(key)))
	return e
}

// load reads key from the backend (fullKey is the key there) into a new entry,
// which does not exist if the backend has no value.
func (c *store[V]) load(t *table[V], hash uint32, key, fullKey []byte) (*Entry[V], error) {
	c.misses++
	b, ok, err := c.backend.Get(fullKey, c.valBuf[:0])
	if err != nil {
		return nil, err
	}
	c.valBuf = b[:0]
	if !ok {
		return c.insert(t, hash, key), nil
	}
	return c.insertDecoded(t, hash, key, b)
}

// insertDecoded adds the entry whose encoded value the backend holds.
func (c *store[V]) insertDecoded(t *table[V], hash uint32, key, stored []byte) (*Entry[V], error) {
	v, ts, err := c.decode(key, stored)
	if err != nil {
		return nil, err
	}
	e := c.insert(t, hash, key)
	e.Value, e.TimestampMS = c.serde.Own(v), ts
	e.flags |= flagExists
	c.setHeap(t, e, len(stored))
	return e, nil
}

// decode takes a stored value apart; the value may alias stored.
func (c *store[V]) decode(key, stored []byte) (v V, timestampMS int64, err error) {
	ts, enc, ok := state.SplitValue(stored)
	if !ok {
		return v, 0, fmt.Errorf("store %d: the value of key %q has %d bytes, expected 8 or more: the state is not this program's", c.index, key, len(stored))
	}
	v, err = c.serde.Decode(enc)
	if err != nil {
		return v, 0, fmt.Errorf("store %d: cannot decode the value of key %q: %w", c.index, key, err)
	}
	return v, ts, nil
}

func (c *store[V]) setHeap(t *table[V], e *Entry[V], encoded int) {
	if !c.pool.refs {
		return
	}
	d := int64(encoded) - int64(e.heap)
	e.heap = uint32(encoded)
	t.heap += d
	c.account(d)
}

// set stores v in e without marking it.
func (c *store[V]) set(e *Entry[V], v V, timestampMS int64) {
	if c.pool.refs {
		v = c.serde.Own(v)
	}
	e.Value, e.TimestampMS = v, timestampMS
}

// mark puts a clean entry on the dirty list. It reports whether the entry was
// not pinned before.
func (c *store[V]) mark(e *Entry[V], gen uint32) (first bool) {
	first = e.flags&flagsPinned == 0
	e.flags |= flagDirty
	c.dirty = append(c.dirty, dirtyRef{e.self, e.owner, gen})
	c.dirtyBytes += c.entryBytes + int64(e.keyLen) + int64(e.heap)
	return first
}

// emit hands one entry to the changelog.
func (c *store[V]) emit(t *table[V], e *Entry[V], fullKey []byte) error {
	e.flags = e.flags&^flagDirty | flagFlushed
	if !e.Exists() {
		e.TimestampMS = noTime
		return c.host.Changelog(c.index, fullKey, nil)
	}
	b := state.AppendValue(c.encBuf[:0], e.TimestampMS, nil)
	b, err := c.serde.Append(b, e.Value)
	if errors.Is(err, serde.ErrNull) { // a value that stands for null is no value
		var zero V
		e.Value, e.TimestampMS = zero, noTime
		e.flags &^= flagExists
		c.setHeap(t, e, 0)
		return c.host.Changelog(c.index, fullKey, nil)
	}
	if err != nil {
		return fmt.Errorf("store %d: cannot encode the value of key %q: %w", c.index, t.key(e), err)
	}
	c.encBuf = b[:0]
	c.setHeap(t, e, len(b))
	return c.host.Changelog(c.index, fullKey, b)
}

// flushedAll moves the dirty list behind the flushed one.
func (c *store[V]) flushedAll() {
	if len(c.flushed) == 0 {
		c.dirty, c.flushed = c.flushed, c.dirty
	} else {
		c.flushed = append(c.flushed, c.dirty...)
		c.dirty = c.dirty[:0]
	}
}

// evict takes one clean entry out.
func (c *store[V]) evict(t *table[V], e *Entry[V]) {
	c.account(-c.entryBytes - int64(e.keyLen) - int64(e.heap))
	c.entries--
	t.remove(e, &c.pool.pool)
	if t.n == 0 {
		c.account(-tableBytes)
	}
}

// sweep moves the CLOCK hand at most steps entries on and evicts what was not
// used since it last passed, until the budget holds. values says that a value,
// not only the knowledge of an absence, was evicted.
func (c *store[V]) sweep(t *table[V], steps int) (values bool) {
	for ; steps > 0 && t.n > 0 && c.budget.over(); steps-- {
		if t.hand >= t.next {
			t.hand = 0
		}
		e := t.entry(t.hand)
		t.hand++
		switch {
		case e.flags&(flagsPinned|flagFree) != 0:
		case e.flags&flagUsed != 0:
			e.flags &^= flagUsed
		default:
			values = values || e.Exists()
			c.evict(t, e)
		}
	}
	return values
}

// drop releases a whole table.
func (c *store[V]) drop(t *table[V]) {
	if t.n > 0 {
		c.account(-tableBytes)
	}
	c.account(-int64(t.n)*c.entryBytes - int64(t.keys.live) - t.heap)
	c.entries -= int64(t.n)
	t.release(&c.pool)
}

func (c *store[V]) usage() processor.Usage {
	return processor.Usage{
		DirtyBytes: c.dirtyBytes, CacheBytes: c.bytes, Entries: c.entries,
		CacheHits: c.hits, CacheMisses: c.misses,
	}
}
