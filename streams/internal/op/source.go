package op

import (
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// Extractor takes the event time, in milliseconds, from a record.
type Extractor[K, V any] func(k K, v V) int64

// Source decodes the records of one topic and hands them on.
type Source interface {
	// process runs a record through the operators; c is filled but for the key.
	process(c *Ctx, r *processor.Record) error
	eventTime(c *Ctx, r *processor.Record) (int64, error)
}

type source[K, V any] struct {
	node    topology.NodeID
	keys    serde.KeyDecoder[K]
	vals    serde.Serde[V]
	extract Extractor[K, V]
	next    Next[K, V]
}

// NewSource builds a source. extract may be nil.
func NewSource[K, V any](node topology.NodeID, keys serde.Serde[K], vals serde.Serde[V], extract Extractor[K, V], next Next[K, V]) Source {
	return &source[K, V]{node, serde.NewKeyDecoder(keys), vals, extract, next}
}

func (s *source[K, V]) process(c *Ctx, r *processor.Record) error {
	var (
		k   K
		v   V
		err error
	)
	if r.Key != nil {
		if k, err = s.keys.Decode(r.Key); err != nil {
			return decodeError(r, "key", err)
		}
	}
	if r.Value != nil {
		if v, err = s.vals.Decode(r.Value); err != nil {
			return decodeError(r, "value", err)
		}
	}
	c.null = r.Value == nil
	c.rawKey, c.raw = r.Key, true
	s.next(c, k, v)
	return nil
}

func (s *source[K, V]) eventTime(c *Ctx, r *processor.Record) (int64, error) {
	if s.extract == nil || r.Value == nil {
		return r.Timestamp, nil
	}
	var (
		k   K
		err error
	)
	if r.Key != nil {
		if k, err = s.keys.Decode(r.Key); err != nil {
			return 0, decodeError(r, "key", err)
		}
	}
	v, err := s.vals.Decode(r.Value)
	if err != nil {
		return 0, decodeError(r, "value", err)
	}
	c.node = s.node
	return s.extract(k, v), nil
}

func decodeError(r *processor.Record, field string, err error) error {
	return &processor.DecodeError{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Field: field, Err: err}
}
