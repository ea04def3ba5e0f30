package op

import "github.com/millstream-io/millstream/streams/topology"

// Scoped calls fn, which may change c in any way and call next any number of
// times, and restores c afterwards.
func Scoped[K, V, K2, V2 any](node topology.NodeID, fn func(c *Ctx, k K, v V, next Next[K2, V2]), next Next[K2, V2]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		timestamp, streamTime, headers := c.Timestamp, c.StreamTime, c.Headers
		rawKey, raw, null := c.rawKey, c.raw, c.null
		c.node = node
		fn(c, k, v, next)
		c.Timestamp, c.StreamTime, c.Headers = timestamp, streamTime, headers
		c.rawKey, c.raw, c.null = rawKey, raw, null
	}
}

// ForgetRawKey makes operators downstream encode the key: the stream that
// follows has another encoding than the one before. A null key stays null.
func ForgetRawKey[K, V any](next Next[K, V]) Next[K, V] {
	return func(c *Ctx, k K, v V) {
		if c.nullKey() {
			next(c, k, v)
			return
		}
		rawKey, raw := c.rawKey, c.raw
		c.Rekeyed()
		next(c, k, v)
		c.rawKey, c.raw = rawKey, raw
	}
}
