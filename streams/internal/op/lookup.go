package op

import (
	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/topology"
	"github.com/millstream-io/millstream/streams/window"
)

// Lookup finds what a table holds under a key: k, and key as the table's key
// serde encodes it. It sees what the running transaction has changed. The value
// is the table's own: not to be changed.
type Lookup[K, V any] func(c *Ctx, k K, key []byte) (v V, ok bool)

// holder is where an operator with a key-value store leaves it for those who
// look up, which may be built before it.
type holder[V any] struct{ kv *cache.KV[V] }

func holderOf[V any](t *Task, id topology.NodeID) *holder[V] {
	if h, ok := t.tables[id]; ok {
		return h.(*holder[V])
	}
	h := &holder[V]{}
	t.tables[id] = h
	return h
}

// LookupStore looks into the store of an aggregate or table of the same task.
func LookupStore[K, V any](t *Task, id topology.NodeID) Lookup[K, V] {
	h := holderOf[V](t, id)
	return func(c *Ctx, _ K, key []byte) (v V, ok bool) {
		e, err := h.kv.Find(key)
		if err != nil {
			c.fail(err)
			return v, false
		}
		if e == nil {
			return v, false
		}
		return e.Value, true
	}
}

// LookupFiltered is what FilterChanges is to changes.
func LookupFiltered[K, V any](node topology.NodeID, keep func(K, window.Window, V) bool, in Lookup[K, V]) Lookup[K, V] {
	return func(c *Ctx, k K, key []byte) (V, bool) {
		v, ok := in(c, k, key)
		if !ok {
			return v, false
		}
		if c.node = node; !keep(k, window.Window{}, v) {
			var none V
			return none, false
		}
		return v, true
	}
}

// LookupMapped is what MapChanges is to changes.
func LookupMapped[K, V, V2 any](node topology.NodeID, fn func(K, window.Window, V) V2, in Lookup[K, V]) Lookup[K, V2] {
	return func(c *Ctx, k K, key []byte) (v2 V2, ok bool) {
		v, ok := in(c, k, key)
		if !ok {
			return v2, false
		}
		c.node = node
		return fn(k, window.Window{}, v), true
	}
}
