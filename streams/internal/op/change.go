package op

import (
	"github.com/millstream-io/millstream/streams/topology"
	"github.com/millstream-io/millstream/streams/window"
)

// FilterChanges passes on the values that keep is true for; where a value that
// was kept is followed by one that is not, the key is deleted.
func FilterChanges[K, V any](node topology.NodeID, keep func(K, window.Window, V) bool, next Changed[K, V]) Changed[K, V] {
	return func(c *Ctx, k K, w window.Window, old, new V, ch Change) {
		c.node = node
		if ch&HadOld != 0 && !keep(k, w, old) {
			ch &^= HadOld
		}
		if ch&HasNew != 0 && !keep(k, w, new) {
			ch &^= HasNew
		}
		if ch == 0 {
			return
		}
		var none V
		if ch&HadOld == 0 {
			old = none
		}
		if ch&HasNew == 0 {
			new = none
		}
		next(c, k, w, old, new, ch)
	}
}

// MapChanges makes other values.
func MapChanges[K, V, V2 any](node topology.NodeID, fn func(K, window.Window, V) V2, next Changed[K, V2]) Changed[K, V] {
	return func(c *Ctx, k K, w window.Window, old, new V, ch Change) {
		var old2, new2 V2
		c.node = node
		if ch&HadOld != 0 {
			old2 = fn(k, w, old)
		}
		if ch&HasNew != 0 {
			new2 = fn(k, w, new)
		}
		next(c, k, w, old2, new2, ch)
	}
}

// ToStream makes records of changes: a deletion is a null value.
func ToStream[K, V any](next Next[K, V]) Changed[K, V] {
	return func(c *Ctx, k K, _ window.Window, _, new V, ch Change) {
		null := c.null
		c.null = ch&HasNew == 0
		next(c, k, new)
		c.null = null
	}
}

// ToKeyed makes records of changes, under a key made of key and window.
func ToKeyed[K, V, W any](node topology.NodeID, key func(K, window.Window) W, next Next[W, V]) Changed[K, V] {
	return func(c *Ctx, k K, w window.Window, _, new V, ch Change) {
		c.node = node
		wk := key(k, w)
		rawKey, raw, null := c.rawKey, c.raw, c.null
		c.Rekeyed()
		c.null = ch&HasNew == 0
		next(c, wk, new)
		c.rawKey, c.raw, c.null = rawKey, raw, null
	}
}
