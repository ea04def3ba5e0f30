// Package cache holds the decoded entries of a task's stores: a write-back
// cache, typed in the value, keyed by encoded key bytes.
//
// It is the working store of the aggregates and tables of streams/internal/op.
// It is not the truth: what is committed stands in the changelog, and a cache
// is thrown away with its unit when a transaction fails. A miss is read through
// processor.Host.Backend; every changed entry goes to Host.Changelog once a
// transaction, in the order in which the entries were first changed.
//
// Two shapes: KV, a key-value store, and Windows, a window store (a table per
// window, so that a window expires as one piece and its memory is used again).
//
// What is known to be wholly cached needs no read: a store or window is scanned
// when it is first touched, as far as the budget reaches, and counts as complete
// from then on if the scan came to its end; a window that the backend does not
// have is complete when it is made. Evicting a value ends that knowledge.
//
// A unit's caches belong to one goroutine, the worker's. Nothing here locks,
// reads a clock or starts a goroutine.
package cache

import (
	"errors"
	"reflect"
)

// ErrExpired says that a window was used after it had expired. It is a bug of
// the caller: lateness is judged before a window is looked up.
var ErrExpired = errors.New("the window has expired")

// Serde is what a cache needs of serde.Serde[V].
type Serde[V any] interface {
	// Append appends the encoded value.
	Append(dst []byte, v V) ([]byte, error)
	// Decode decodes a value that may alias b.
	Decode(b []byte) (V, error)
	// Own returns a value that shares no memory with what it was decoded from.
	Own(v V) V
}

// Entry is one entry of a cache, used in place: read and write Value and
// TimestampMS directly, then call Changed once the entry is as it should be.
//
// A reference is valid until the next Find, FindOrCreate, Ascend, Expire or
// Committed of the same cache; those may evict or move what it points to.
//
// Invariant: a dirty or flushed entry is never evicted.
type Entry[V any] struct {
	Value       V     // must not alias a batch: use Set, or the serde's Own
	TimestampMS int64 // event time of the value

	keyRef uint32 // where the key stands in the table's arena
	keyLen uint32
	self   uint32 // its index in the table's slab
	owner  uint32 // of windows: the window's place in Windows.wins
	heap   uint32 // bytes that Value refers to, estimated by its encoded length
	flags  uint8
}

// Exists reports whether the store has a value under the entry's key. An entry
// that FindOrCreate has just made does not exist until Changed.
func (e *Entry[V]) Exists() bool { return e.flags&flagExists != 0 }

// Dirty reports whether the running transaction has changed the entry.
func (e *Entry[V]) Dirty() bool { return e.flags&flagDirty != 0 }

const (
	flagExists  uint8 = 1 << iota
	flagDirty         // changed since the last Flush
	flagFlushed       // handed to the changelog, not yet committed
	flagUsed          // CLOCK: used since the hand last passed
	flagFree          // on the table's free list
)

// flagsPinned keep an entry from being evicted.
const flagsPinned = flagDirty | flagFlushed

// Budget is the bound that the caches of one unit share, in bytes. Dirty
// entries count, but cannot be evicted: their bound is a commit.
type Budget struct {
	limit int64
	used  int64
}

// NewBudget returns a budget of limit bytes (processor.Host.CacheBytes).
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

func (b *Budget) over() bool { return b.used > b.limit }

// hasPointers reports whether values of t refer to memory of their own.
func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Pointer, reflect.Slice, reflect.String, reflect.Map, reflect.Interface,
		reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return true
	}
	return false
}
