package op

import "github.com/millstream-io/millstream/streams/topology"

// Branch is one way out of a split.
type Branch[K, V any] struct {
	Want func(K, V) bool
	Next Next[K, V]
}

// Split passes a record to the first branch that wants it, else to rest.
func Split[K, V any](node topology.NodeID, branches []Branch[K, V], rest Next[K, V]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		for i := range branches {
			c.node = node
			if branches[i].Want(k, v) {
				branches[i].Next(c, k, v)
				return
			}
		}
		rest(c, k, v)
	}
}
