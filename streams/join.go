package streams

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/topology"
)

// Join gives each record the table's value of its key, as it is at the record's
// event time: fn makes the result, under the record's key, time and headers. A
// record whose key the table does not have is left out; one with a null key or
// value is dropped and counted. Changes of the table cause nothing by themselves.
// Options: Named, Values.
//
// Key and table must be partitioned alike. If the stream's key was changed, it
// goes through a repartition topic <app>-<operator's name>-repartition with as
// many partitions as the table has; otherwise both topics must have equal numbers
// of partitions, which is checked when the engine is made, and must have been
// written with the same partitioner.
//
// A record that reaches stream and table both, because they are made of one
// topic, changes the table before it is joined. v2 is the table's own: it must
// not be changed.
func (s *Stream[K, V]) Join[V2, R any](table *Table[K, V2], fn func(k K, v V, v2 V2) R, opts ...Option) *Stream[K, R] {
	return joined[K, V, V2, R]("Join", s, table, fn == nil, opts, func(n *node, t *op.Task, l op.Lookup[K, V2], in *Stream[K, V]) any {
		return op.Join(t, n.ID, in.keys.s, l, fn, downstream[K, R](n, t))
	})
}

// LeftJoin is Join that keeps every record with a value: where the table does not
// have the key, or the key is null, ok is false and v2 the zero V2 (as Kafka
// Streams does since 3.7, KIP-962). Options: Named, Values.
func (s *Stream[K, V]) LeftJoin[V2, R any](table *Table[K, V2], fn func(k K, v V, v2 V2, ok bool) R, opts ...Option) *Stream[K, R] {
	return joined[K, V, V2, R]("LeftJoin", s, table, fn == nil, opts, func(n *node, t *op.Task, l op.Lookup[K, V2], in *Stream[K, V]) any {
		return op.LeftJoin(t, n.ID, in.keys.s, l, fn, downstream[K, R](n, t))
	})
}

// joined appends an operator that looks the keys of s up in a table, behind a
// repartition topic if the stream's key was changed. make gets the stream that
// the operator reads.
func joined[K, V, V2, R any](verb string, s *Stream[K, V], table *Table[K, V2], nilFunc bool, opts []Option,
	make func(n *node, t *op.Task, l op.Lookup[K, V2], in *Stream[K, V]) any) *Stream[K, R] {
	b := s.b
	o := parse(verb, optNamed|optValues, opts)
	vals := serdeFor[R](b, &o, optValues)
	switch {
	case table == nil:
		o.errs = append(o.errs, errors.New("its table is nil"))
	case table.b != b:
		o.errs = append(o.errs, errors.New("stream and table belong to different builders"))
		table = nil
	}
	if table == nil {
		n := b.operator(verb, &o, nilFunc, nil, s.n)
		return &Stream[K, R]{b: b, n: n, keys: s.keys, vals: vals}
	}
	in := s.toJoin(verb, &o, table.keys)
	need(&o, "keys", in.keys)
	if have, want := in.keys.name(), table.keys.name(); have != want && have != "" && want != "" {
		o.errs = append(o.errs, fmt.Errorf("the stream's keys are %s, those of table %q are %s: one key has other bytes on either side; give both the same serde with streams.Keys", have, table.n.Name, want))
	}
	n := b.operator(verb, &o, nilFunc, func(n *node, t *op.Task) any { return make(n, t, table.lookup(t), in) }, in.n)
	// The table is a parent that hands nothing down: the operator looks into it.
	n.Parents = append(n.Parents, table.n.ID)
	n.Join, n.Detail = true, "table "+table.n.Name
	table.n.joins = append(table.n.joins, n)
	return &Stream[K, R]{b: b, n: n, keys: in.keys, vals: vals}
}

// toJoin returns the stream, behind a repartition topic of the operator's name if
// its key was changed. There the keys are encoded as the table's are.
func (s *Stream[K, V]) toJoin(verb string, o *options, keys serdeOf[K]) *Stream[K, V] {
	if !s.rekeyed {
		return s
	}
	name := o.string(optNamed)
	if name == "" {
		name = fmt.Sprintf("%s-%d", verb, s.b.verbs[verb]+1) // what the operator will be called
	}
	var r options
	if keys.s != nil {
		r = options{given: optKeys, value: map[optionKind]any{optKeys: keys.s}}
	}
	return s.repartition(&r, name)
}

// orderTables makes tables go first at equal times. Sources that feed a joined
// table and not its stream are marked for the runtime; where one record reaches
// both sides, the way to the table is taken first.
func (b *Builder) orderTables() {
	for _, n := range b.nodes {
		if !n.Join {
			continue
		}
		stream, table := b.upstream(b.nodes[n.Parents[0]]), b.upstream(b.nodes[n.Parents[1]])
		stream[n.ID] = true
		for _, x := range b.nodes {
			if x.Kind == topology.Source && table[x.ID] && !stream[x.ID] {
				x.Table = true
			}
			if !stream[x.ID] || !table[x.ID] {
				continue
			}
			slices.SortStableFunc(x.children, func(a, b *node) int {
				return cmp.Compare(side(stream, table, a), side(stream, table, b))
			})
		}
	}
}

// side is less for an operator that leads to the table of a join alone.
func side(stream, table map[topology.NodeID]bool, n *node) int {
	if table[n.ID] && !stream[n.ID] {
		return 0
	}
	return 1
}

// upstream are n and what leads to it without a topic between.
func (b *Builder) upstream(n *node) map[topology.NodeID]bool {
	seen := map[topology.NodeID]bool{}
	var up func(n *node)
	up = func(n *node) {
		if seen[n.ID] {
			return
		}
		seen[n.ID] = true
		for _, p := range n.Parents {
			up(b.nodes[p])
		}
	}
	up(n)
	return seen
}
