package streams

import (
	"cmp"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/state"
)

// Table reads a topic as a table: the latest value of each key, in the order of
// the topic. A null value deletes its key; a record with a null key is dropped
// and counted, as Kafka Streams does. Options: Store (needed), Named, Keys,
// Values, EventTime, EmitOnCommit or EmitEveryUpdate, NoChangelog, FormerName.
//
// The store has a compacted changelog of its own, whatever the topic's own
// retention: the topic need not be compacted, and what was deleted from it stays
// in the table until a null value comes. A topic is read once in a program:
// where its records are wanted too, use From and ToTable.
//
// Where a task has other inputs, they are merged by event time, and at equal
// times the table's records go first: a stream that is joined with the table sees
// it as it was at the time of each record. How long a task waits for an input
// without data is the engine's MaxTaskIdle; a bounded run always waits.
func (b *Builder) Table[K, V any](topic string, opts ...Option) *Table[K, V] {
	o := parse("Table", aggregateOptions|optKeys|optEventTime, opts)
	keys, vals := serdeFor[K](b, &o, optKeys), serdeFor[V](b, &o, optValues)
	store := b.storeName(&o)
	name := o.string(optNamed)
	if name == "" {
		name = cmp.Or(o.string(optStore), store)
	}
	var none options
	in := b.source("TableSource", topic, &none, &o, keys, vals)
	in.Name, in.Table = name+"-source", true
	if o.given&optValues == 0 && vals.s != nil {
		o.given |= optValues
		o.value[optValues] = vals.s
	}
	s := &Stream[K, V]{b: b, n: in, keys: keys, vals: vals}
	return &Table[K, V]{newStore(s, "Table", store, &o, false, state.Spec{}, func(n *node, t *op.Task, a op.Aggregate[K, V]) any {
		return op.NewTable(t, a, changes[K, V](n, t))
	})}
}
