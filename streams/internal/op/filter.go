package op

import "github.com/millstream-io/millstream/streams/topology"

// Filter passes on what keep is true for.
func Filter[K, V any](node topology.NodeID, keep func(K, V) bool, next Next[K, V]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		c.node = node
		if keep(k, v) {
			next(c, k, v)
		}
	}
}

// FilterNot passes on what drop is false for.
func FilterNot[K, V any](node topology.NodeID, drop func(K, V) bool, next Next[K, V]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		c.node = node
		if !drop(k, v) {
			next(c, k, v)
		}
	}
}
