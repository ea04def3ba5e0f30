package op

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// Partitioner chooses the partition of a record.
type Partitioner[K, V any] func(k K, v V, partitions int32) int32

type sink[K, V any] struct {
	t      *Task
	node   topology.NodeID
	index  int
	keys   serde.Serde[K]
	vals   serde.Serde[V]
	raw    bool // the raw key, where known, is this sink's encoding
	part   Partitioner[K, V]
	rec    processor.Record
	keyBuf []byte
	valBuf []byte
}

// NewSink builds the end of a stream that goes to a topic. part may be nil.
func NewSink[K, V any](t *Task, node topology.NodeID, keys serde.Serde[K], vals serde.Serde[V], raw bool, part Partitioner[K, V]) Next[K, V] {
	s := &sink[K, V]{t: t, node: node, index: t.sink(node), keys: keys, vals: vals, raw: raw, part: part}
	return s.send
}

func (s *sink[K, V]) send(c *Ctx, k K, v V) {
	key, err := s.key(c, k)
	if err != nil {
		c.fail(s.t.encodeError(s.node, "key", err))
		return
	}
	value, err := s.value(c, v)
	if err != nil {
		c.fail(s.t.encodeError(s.node, "value", err))
		return
	}
	partition := processor.AnyPartition
	if s.part != nil {
		n := s.t.host.Partitions(s.index)
		c.node = s.node
		if partition = s.part(k, v, n); partition < 0 || partition >= n {
			c.fail(fmt.Errorf("operator %q: its partitioner chose partition %d, expected 0 to %d", s.t.name(s.node), partition, n-1))
			return
		}
	}
	s.rec = processor.Record{
		Key: key, Value: value, Headers: c.Headers,
		Timestamp: c.Timestamp, StreamTime: max(c.StreamTime, c.Timestamp),
		Topic: c.Topic(), Partition: c.Partition(), Offset: c.Offset(),
	}
	if err := s.t.host.Send(s.index, &s.rec, partition); err != nil {
		c.fail(err)
	}
}

func (s *sink[K, V]) key(c *Ctx, k K) ([]byte, error) {
	if c.raw && (s.raw || c.rawKey == nil) {
		return c.rawKey, nil
	}
	return encode(s.keys, &s.keyBuf, k)
}

func (s *sink[K, V]) value(c *Ctx, v V) ([]byte, error) {
	if c.null {
		return nil, nil
	}
	return encode(s.vals, &s.valBuf, v)
}

// encode encodes v into *buf, which it may grow; nil stands for null.
func encode[T any](s serde.Serde[T], buf *[]byte, v T) ([]byte, error) {
	b, err := s.Append((*buf)[:0], v)
	if errors.Is(err, serde.ErrNull) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if b == nil {
		b = []byte{}
	}
	*buf = b
	return b, nil
}
