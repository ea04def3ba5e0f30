package streamstest

import (
	"errors"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// In is a topic that a test writes to.
type In[K, V any] struct {
	w     *world
	topic string
	serdes[K, V]
}

// Input makes an input. Keys and values are encoded as the operator that reads
// the topic expects them: its From's serdes.
func Input[K, V any](h Harness, topic string) *In[K, V] {
	w := h.harness()
	w.t.Helper()
	topicOf(w, "Input", topic)
	s, err := serdesOf[K, V](w, topic, topology.Source)
	if err != nil {
		w.fatal("Input of topic %q: %v", topic, err)
	}
	return &In[K, V]{w, topic, s}
}

// InputWith is Input with serdes of the test's choice.
func InputWith[K, V any](h Harness, topic string, keys serde.Serde[K], values serde.Serde[V]) *In[K, V] {
	w := h.harness()
	w.t.Helper()
	topicOf(w, "Input", topic)
	return &In[K, V]{w, topic, serdes[K, V]{keys, values}}
}

// SendOption changes what is sent.
type SendOption func(*message)

type message struct {
	view      record.View
	partition int32
}

// ToPartition sends to this partition. Default: by the key as Kafka's default
// partitioner does, in turn where there is none.
func ToPartition(p int32) SendOption { return func(m *message) { m.partition = p } }

// WithHeader adds a header.
func WithHeader(key, value string) SendOption {
	return func(m *message) {
		m.view.Headers = append(m.view.Headers, record.Header{Key: key, Value: []byte(value)})
	}
}

// Send sends a record whose timestamp is at. The program sees it when it runs.
func (in *In[K, V]) Send(key K, value V, at time.Time, opts ...SendOption) {
	in.w.t.Helper()
	in.send(in.key(key), in.value(value), at, opts)
}

// SendValue sends a record without a key.
func (in *In[K, V]) SendValue(value V, at time.Time, opts ...SendOption) {
	in.w.t.Helper()
	in.send(nil, in.value(value), at, opts)
}

// Delete sends a tombstone: the key with a null value.
func (in *In[K, V]) Delete(key K, at time.Time, opts ...SendOption) {
	in.w.t.Helper()
	in.send(in.key(key), nil, at, opts)
}

// SendRaw sends bytes as they are, what does not decode too; nil is null.
func (in *In[K, V]) SendRaw(key, value []byte, at time.Time, opts ...SendOption) {
	in.w.t.Helper()
	in.send(key, value, at, opts)
}

func (in *In[K, V]) key(key K) []byte {
	in.w.t.Helper()
	return encoded(in.w, in.topic, "key", in.keys, key)
}

func (in *In[K, V]) value(value V) []byte {
	in.w.t.Helper()
	return encoded(in.w, in.topic, "value", in.vals, value)
}

func encoded[T any](w *world, topic, what string, s serde.Serde[T], v T) []byte {
	w.t.Helper()
	b, err := s.Append([]byte{}, v)
	if errors.Is(err, serde.ErrNull) {
		return nil
	}
	if err != nil {
		w.fatal("send to topic %q: the %s %v cannot be encoded: %v", topic, what, v, err)
	}
	return b
}

func (in *In[K, V]) send(key, value []byte, at time.Time, opts []SendOption) {
	w := in.w
	w.t.Helper()
	w.check()
	m := message{view: record.View{Key: key, Value: value, Timestamp: ms(at)}, partition: -1}
	for _, o := range opts {
		o(&m)
	}
	n := w.Partitions(in.topic)
	switch {
	case m.partition >= n:
		w.fatal("send to partition %d of topic %q, which has %d", m.partition, in.topic, n)
	case m.partition >= 0:
	case key == nil:
		m.partition = w.turn[in.topic] % n
		w.turn[in.topic] = m.partition + 1
	default:
		m.partition = int32(record.PartitionForKey(key, n))
	}
	if err := w.append(record.TopicPartition{Topic: in.topic, Partition: record.Partition(m.partition)}, &m.view); err != nil {
		w.fatal("send to topic %q: %v", in.topic, err)
	}
}
