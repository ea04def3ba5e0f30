package op

import "github.com/millstream-io/millstream/streams/topology"

// Peek calls fn and passes the record on.
func Peek[K, V any](node topology.NodeID, fn func(K, V), next Next[K, V]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		c.node = node
		fn(k, v)
		next(c, k, v)
	}
}
