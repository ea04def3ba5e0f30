package streamstest

import (
	"fmt"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// Record is a record that a program wrote. Nothing in it is shared.
type Record[K, V any] struct {
	Key       K
	Value     V
	NullKey   bool // the key is null, and Key its zero value
	NullValue bool // a tombstone: the value is null, and Value its zero value
	Time      time.Time
	Headers   []processor.Header
	Topic     string
	Partition int32
	Offset    int64
}

// Header is the last header of that key; false if there is none.
func (r *Record[K, V]) Header(key string) (string, bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value), true
		}
	}
	return "", false
}

// Out is a topic that a test reads, committed records only.
type Out[K, V any] struct {
	w     *world
	topic string
	serdes[K, V]
	next   []record.Offset // by partition
	unread []Record[K, V]
}

// Output makes an output, which begins at the topic's start. Keys and values are
// decoded as the operator that writes the topic encodes them. Any topic of the
// program will do, also internal ones: of a repartition topic it shows the
// user's records only.
func Output[K, V any](h Harness, topic string) *Out[K, V] {
	w := h.harness()
	w.t.Helper()
	topicOf(w, "Output", topic)
	s, err := serdesOf[K, V](w, topic, topology.Sink)
	if err != nil {
		w.fatal("Output of topic %q: %v", topic, err)
	}
	return newOut(w, topic, s)
}

// OutputWith is Output with serdes of the test's choice.
func OutputWith[K, V any](h Harness, topic string, keys serde.Serde[K], values serde.Serde[V]) *Out[K, V] {
	w := h.harness()
	w.t.Helper()
	topicOf(w, "Output", topic)
	return newOut(w, topic, serdes[K, V]{keys, values})
}

func newOut[K, V any](w *world, topic string, s serdes[K, V]) *Out[K, V] {
	w.t.Helper()
	return &Out[K, V]{w: w, topic: topic, serdes: s, next: make([]record.Offset, w.Partitions(topic))}
}

// Read is the next record that was not read yet; false if there is none.
// Records of one partition come in its order; partitions are merged by time,
// and by number where times are equal.
func (o *Out[K, V]) Read() (r Record[K, V], ok bool) {
	o.w.t.Helper()
	if len(o.unread) == 0 {
		o.fetch()
	}
	if len(o.unread) == 0 {
		return r, false
	}
	r, o.unread = o.unread[0], o.unread[1:]
	return r, true
}

// ReadAll is everything that was not read yet, in the order of Read.
func (o *Out[K, V]) ReadAll() []Record[K, V] {
	o.w.t.Helper()
	o.fetch()
	all := o.unread
	o.unread = nil
	return all
}

// Rewind begins at the topic's start again.
func (o *Out[K, V]) Rewind() {
	clear(o.next)
	o.unread = nil
}

// Latest is the last value of each key in all of the topic, read or not;
// tombstones delete.
func Latest[K comparable, V any](o *Out[K, V]) map[K]V {
	o.w.t.Helper()
	all := newOut(o.w, o.topic, o.serdes)
	latest := map[K]V{}
	for _, r := range all.ReadAll() {
		if r.NullValue {
			delete(latest, r.Key)
		} else {
			latest[r.Key] = r.Value
		}
	}
	return latest
}

// fetch adds what came since to unread.
func (o *Out[K, V]) fetch() {
	o.w.t.Helper()
	o.w.check()
	parts := make([][]Record[K, V], len(o.next))
	for p := range o.next {
		tp := record.TopicPartition{Topic: o.topic, Partition: record.Partition(p)}
		next, err := o.w.read(tp, o.next[p], func(v *record.View) error {
			if task.Watermark(v.Headers) {
				return nil
			}
			r, err := o.decode(tp, v)
			parts[p] = append(parts[p], r)
			return err
		})
		if err != nil {
			o.w.fatal("read %s-%d: %v", o.topic, p, err)
		}
		o.next[p] = next
	}
	o.unread = append(o.unread, merged(parts)...)
}

// merged merges partitions by time, each in its own order.
func merged[K, V any](parts [][]Record[K, V]) (all []Record[K, V]) {
	for {
		best := -1
		for p := range parts {
			if len(parts[p]) > 0 && (best < 0 || parts[p][0].Time.Before(parts[best][0].Time)) {
				best = p
			}
		}
		if best < 0 {
			return all
		}
		all = append(all, parts[best][0])
		parts[best] = parts[best][1:]
	}
}

func (o *Out[K, V]) decode(tp record.TopicPartition, v *record.View) (r Record[K, V], err error) {
	r = Record[K, V]{
		NullKey: v.Key == nil, NullValue: v.Value == nil, Time: at(v.Timestamp),
		Topic: tp.Topic, Partition: int32(tp.Partition), Offset: int64(v.Offset),
	}
	for _, h := range v.Headers {
		if !task.Reserved(h) {
			r.Headers = append(r.Headers, processor.Header{Key: strings.Clone(h.Key), Value: append([]byte(nil), h.Value...)})
		}
	}
	if v.Key != nil {
		if r.Key, err = decoded(o.keys, v.Key); err != nil {
			return r, fmt.Errorf("the key at offset %d does not decode as %s: %w", v.Offset, o.keys.Name(), err)
		}
	}
	if v.Value != nil {
		if r.Value, err = decoded(o.vals, v.Value); err != nil {
			return r, fmt.Errorf("the value at offset %d does not decode as %s: %w", v.Offset, o.vals.Name(), err)
		}
	}
	return r, nil
}

// decoded decodes a copy of what is borrowed.
func decoded[T any](s serde.Serde[T], b []byte) (T, error) {
	v, err := s.Decode(append([]byte{}, b...))
	if err != nil {
		return v, err
	}
	return s.Own(v), nil
}
