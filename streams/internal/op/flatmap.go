package op

import "github.com/millstream-io/millstream/streams/topology"

// FlatMap makes any number of records. The emit function is made once; where the
// record stands it learns from the unit's one Ctx.
func FlatMap[K, V, K2, V2 any](node topology.NodeID, fn func(K, V, func(K2, V2)), next Next[K2, V2]) Next[K, V] {
	var at *Ctx
	emit := func(k2 K2, v2 V2) {
		c := at
		if c.err != nil {
			return
		}
		rawKey, raw, null := c.rawKey, c.raw, c.null
		c.Rekeyed()
		c.null = false
		next(c, k2, v2)
		c.rawKey, c.raw, c.null = rawKey, raw, null
		c.node = node
	}
	return func(c *Ctx, k K, v V) {
		c.node, at = node, c
		fn(k, v, emit)
	}
}

// FlatMapValues makes any number of values; null stays null.
func FlatMapValues[K, V, V2 any](node topology.NodeID, fn func(K, V, func(V2)), next Next[K, V2]) Next[K, V] {
	var (
		at  *Ctx
		key K
	)
	emit := func(v2 V2) {
		if at.err != nil {
			return
		}
		next(at, key, v2)
		at.node = node
	}
	return func(c *Ctx, k K, v V) {
		if c.null {
			var none V2
			next(c, k, none)
			return
		}
		c.node, at, key = node, c, k
		fn(k, v, emit)
	}
}
