package op

import (
	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/window"
)

// table keeps the latest value of each key.
type table[K, V any] struct {
	stateful[K, V]
	kv *cache.KV[V]
}

// NewTable builds a table. Records are taken in the order in which they come; a
// null value deletes; those with a null key are counted and ignored.
func NewTable[K, V any](t *Task, a Aggregate[K, V], next Changed[K, V]) Next[K, V] {
	b := &table[K, V]{stateful: newStateful(t, a, next)}
	b.kv = cache.NewKV[V](t.host, b.store, a.Values, t.budget)
	holderOf[V](t, a.Node).kv = b.kv
	t.addState(b.Node, b)
	return b.process
}

func (b *table[K, V]) process(c *Ctx, k K, v V) {
	key, ok := b.usableKey(c, k)
	if !ok {
		return
	}
	if c.null {
		b.remove(c, k, key)
		return
	}
	e, err := b.kv.FindOrCreate(key)
	if err != nil {
		c.fail(err)
		return
	}
	old, existed := e.Value, e.Exists()
	b.kv.Set(e, v, c.Timestamp)
	if b.Emit == EmitEveryUpdate {
		b.update(c, k, key, window.Window{}, old, v, change(existed), c.Timestamp)
	}
}

func (b *table[K, V]) remove(c *Ctx, k K, key []byte) {
	e, err := b.kv.Find(key)
	if err != nil {
		c.fail(err)
		return
	}
	if e == nil {
		return
	}
	old := e.Value
	b.kv.Delete(e, c.Timestamp)
	if b.Emit == EmitEveryUpdate {
		var none V
		b.update(c, k, key, window.Window{}, old, none, HadOld, c.Timestamp)
	}
}

func (b *table[K, V]) emitOnCommit(c *Ctx) error { return emitKV(&b.stateful, b.kv, c) }
func (b *table[K, V]) flush() error              { return b.kv.Flush() }
func (b *table[K, V]) done()                     { b.kv.Committed() }
func (b *table[K, V]) usage() processor.Usage    { return b.kv.Usage() }
