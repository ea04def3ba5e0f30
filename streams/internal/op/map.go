package op

import "github.com/millstream-io/millstream/streams/topology"

// SelectKey gives the record another key.
func SelectKey[K, V, K2 any](node topology.NodeID, key func(K, V) K2, next Next[K2, V]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		c.node = node
		k2 := key(k, v)
		rawKey, raw := c.rawKey, c.raw
		c.Rekeyed()
		next(c, k2, v)
		c.rawKey, c.raw = rawKey, raw
	}
}

// Map makes another record.
func Map[K, V, K2, V2 any](node topology.NodeID, fn func(K, V) (K2, V2), next Next[K2, V2]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		c.node = node
		k2, v2 := fn(k, v)
		rawKey, raw, null := c.rawKey, c.raw, c.null
		c.Rekeyed()
		c.null = false
		next(c, k2, v2)
		c.rawKey, c.raw, c.null = rawKey, raw, null
	}
}

// MapValues makes another value; null stays null.
func MapValues[K, V, V2 any](node topology.NodeID, fn func(K, V) V2, next Next[K, V2]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		if c.null {
			var none V2
			next(c, k, none)
			return
		}
		c.node = node
		next(c, k, fn(k, v))
	}
}
