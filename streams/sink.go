package streams

import (
	"fmt"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/topology"
)

// To writes the stream to a topic. Options: Named, Keys, Values, Partitioner.
//
// Windowed keys are written as Kafka's TimeWindowedSerializer does (key, then
// the window's start in 8 bytes, big-endian) and partitioned by these bytes.
func (s *Stream[K, V]) To(topic string, opts ...Option) {
	o := parse("To", optNamed|optKeys|optValues|optPartitioner, opts)
	n := s.sink("To", &o)
	n.Topic = topic
	if err := checkTopic(topic); err != nil {
		n.errs = append(n.errs, err)
	}
}

// sink appends a node that encodes the stream's records.
func (s *Stream[K, V]) sink(verb string, o *options) *node {
	keys, vals := override(o, optKeys, s.keys), override(o, optValues, s.vals)
	need(o, "keys", keys)
	need(o, "values", vals)
	part, custom := typed[op.Partitioner[K, V]](o, optPartitioner)
	n := s.b.add(verb, o, topology.Sink, s.n)
	n.KeySerde, n.ValSerde = keys.name(), vals.name()
	n.Keys, n.Values = keys.s, vals.s
	if custom {
		n.Detail, n.CustomPartitioner = "custom partitioner", true
	}
	raw := keys.name() == s.keys.name()
	n.make = func(t *op.Task) any { return op.NewSink(t, n.ID, keys.s, vals.s, raw, part) }
	return n
}

// Repartition writes the stream to a topic of its own, <app>-<operator's
// name>-repartition, and reads it again, so that records with one key are in one
// task. Options: Named, Keys, Values, Partitioner, Partitions.
func (s *Stream[K, V]) Repartition(opts ...Option) *Stream[K, V] {
	o := parse("Repartition", optNamed|optKeys|optValues|optPartitioner|optPartitions, opts)
	s.b.verbs["Repartition"]++
	name := o.string(optNamed)
	if name == "" {
		name = fmt.Sprintf("Repartition-%d", s.b.verbs["Repartition"])
	}
	return s.repartition(&o, name)
}

// repartition appends the sink and the source of the short topic name
// <name>-repartition.
func (s *Stream[K, V]) repartition(o *options, name string) *Stream[K, V] {
	topic := name + "-repartition"
	n, given := typed[int32](o, optPartitions)
	keys, vals := override(o, optKeys, s.keys), override(o, optValues, s.vals)

	out := s.sink("RepartitionSink", o)
	out.Name, out.Topic, out.Repartition, out.Partitions = topic+"-sink", topic, true, n
	if given && n <= 0 {
		out.errs = append(out.errs, fmt.Errorf("%d partitions, expected at least 1", n))
	}

	var none options
	in := s.b.add("RepartitionSource", &none, topology.Source)
	in.Name, in.Topic, in.Repartition, in.Partitions = topic+"-source", topic, true, n
	in.KeySerde, in.ValSerde = keys.name(), vals.name()
	in.Keys, in.Values = keys.s, vals.s
	in.KeepChunks = vals.s != nil && vals.s.Aliases()
	in.make = func(t *op.Task) any {
		return op.NewSource(in.ID, keys.s, vals.s, nil, downstream[K, V](in, t))
	}
	return &Stream[K, V]{b: s.b, n: in, keys: keys, vals: vals}
}
