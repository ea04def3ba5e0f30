package op

import (
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// joiner looks each record's key up in a table of the same task.
type joiner[K, V2 any] struct {
	t      *Task
	node   topology.NodeID
	keys   serde.Serde[K]
	lookup Lookup[K, V2]
	keyBuf []byte
}

// key returns the encoded key, nil for null; ok is false after an error.
func (j *joiner[K, V2]) key(c *Ctx, k K) (key []byte, ok bool) {
	if c.raw {
		return c.rawKey, true
	}
	key, err := encode(j.keys, &j.keyBuf, k)
	if err != nil {
		c.fail(j.t.encodeError(j.node, "key", err))
		return nil, false
	}
	return key, true
}

// Join passes on what fn makes of a record and of the table's value of its key.
// A record without key or value, or whose key the table does not have, ends here;
// the former are counted.
func Join[K, V, V2, R any](t *Task, node topology.NodeID, keys serde.Serde[K], lookup Lookup[K, V2],
	fn func(K, V, V2) R, next Next[K, R]) Next[K, V] {
	j := &joiner[K, V2]{t: t, node: node, keys: keys, lookup: lookup}
	return func(c *Ctx, k K, v V) {
		if c.null {
			t.dropped(node)
			return
		}
		key, ok := j.key(c, k)
		if !ok {
			return
		}
		if key == nil {
			t.dropped(node)
			return
		}
		v2, ok := j.lookup(c, k, key)
		if !ok {
			return // not there, or an error that c holds
		}
		c.node = node
		next(c, k, fn(k, v, v2))
	}
}

// LeftJoin is Join that also passes records on whose key is null or not in the
// table: ok is false then.
func LeftJoin[K, V, V2, R any](t *Task, node topology.NodeID, keys serde.Serde[K], lookup Lookup[K, V2],
	fn func(K, V, V2, bool) R, next Next[K, R]) Next[K, V] {
	j := &joiner[K, V2]{t: t, node: node, keys: keys, lookup: lookup}
	return func(c *Ctx, k K, v V) {
		if c.null {
			t.dropped(node)
			return
		}
		key, ok := j.key(c, k)
		if !ok {
			return
		}
		var v2 V2
		if ok = key != nil; ok {
			if v2, ok = j.lookup(c, k, key); c.err != nil {
				return
			}
		}
		c.node = node
		next(c, k, fn(k, v, v2, ok))
	}
}
