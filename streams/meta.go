package streams

import (
	"time"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/processor"
)

// Header is one header of a record. Keys may repeat.
type Header = processor.Header

// Meta is a record beside its key and value, as the ...Meta verbs see it. It is
// valid until the function that got it returns. What is set holds for whatever
// follows from the record in this branch of the program.
type Meta struct{ c *op.Ctx }

// Topic, Partition and Offset say where the record stood that was read. Of
// results that a commit or a closing window caused, Topic is empty and Offset -1.
func (m Meta) Topic() string    { return m.c.Topic() }
func (m Meta) Partition() int32 { return m.c.Partition() }
func (m Meta) Offset() int64    { return m.c.Offset() }

// Timestamp is the record's event time, in UTC.
func (m Meta) Timestamp() time.Time { return time.UnixMilli(m.c.Timestamp).UTC() }

// SetTimestamp sets the event time, to the millisecond.
func (m Meta) SetTimestamp(t time.Time) { m.c.Timestamp = t.UnixMilli() }

// StreamTime is the stream time that the record carries, in UTC.
func (m Meta) StreamTime() time.Time { return time.UnixMilli(m.c.StreamTime).UTC() }

// Null reports whether the record's value is null (a tombstone).
func (m Meta) Null() bool { return m.c.Null() }

// Headers are the record's headers, borrowed: not to be changed or kept.
func (m Meta) Headers() []Header { return m.c.Headers }

// Header returns the last header with the key, borrowed.
func (m Meta) Header(key string) (value []byte, ok bool) { return m.c.Header(key) }

// SetHeader sets the header, in place of any with the same key. value is not
// copied: it must stay as it is until the function returns and beyond, as fresh
// slices and those of string conversions do.
func (m Meta) SetHeader(key string, value []byte) { m.c.SetHeader(key, value) }

// FilterMeta is Filter with the record's Meta.
func (s *Stream[K, V]) FilterMeta(keep func(m Meta, k K, v V) bool, opts ...Option) *Stream[K, V] {
	o := parse("FilterMeta", optNamed, opts)
	return s.derive("FilterMeta", &o, keep == nil, func(n *node, t *op.Task) any {
		return op.Scoped(n.ID, func(c *op.Ctx, k K, v V, next op.Next[K, V]) {
			if keep(Meta{c}, k, v) {
				next(c, k, v)
			}
		}, downstream[K, V](n, t))
	})
}

// PeekMeta is Peek with the record's Meta: the verb to set headers or the event
// time with.
func (s *Stream[K, V]) PeekMeta(fn func(m Meta, k K, v V), opts ...Option) *Stream[K, V] {
	o := parse("PeekMeta", optNamed, opts)
	return s.derive("PeekMeta", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.Scoped(n.ID, func(c *op.Ctx, k K, v V, next op.Next[K, V]) {
			fn(Meta{c}, k, v)
			next(c, k, v)
		}, downstream[K, V](n, t))
	})
}

// MapMeta is Map with the record's Meta.
func (s *Stream[K, V]) MapMeta[K2, V2 any](fn func(m Meta, k K, v V) (K2, V2), opts ...Option) *Stream[K2, V2] {
	o := parse("MapMeta", optNamed|optKeys|optValues, opts)
	keys, vals := serdeFor[K2](s.b, &o, optKeys), serdeFor[V2](s.b, &o, optValues)
	n := s.b.operator("MapMeta", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.Scoped(n.ID, func(c *op.Ctx, k K, v V, next op.Next[K2, V2]) {
			k2, v2 := fn(Meta{c}, k, v)
			c.Rekeyed()
			c.NotNull()
			next(c, k2, v2)
		}, downstream[K2, V2](n, t))
	}, s.n)
	return &Stream[K2, V2]{b: s.b, n: n, keys: keys, vals: vals, rekeyed: true}
}

// MapValuesMeta is MapValues with the record's Meta; fn is also called for null.
func (s *Stream[K, V]) MapValuesMeta[V2 any](fn func(m Meta, k K, v V) V2, opts ...Option) *Stream[K, V2] {
	o := parse("MapValuesMeta", optNamed|optValues, opts)
	vals := serdeFor[V2](s.b, &o, optValues)
	n := s.b.operator("MapValuesMeta", &o, fn == nil, func(n *node, t *op.Task) any {
		return op.Scoped(n.ID, func(c *op.Ctx, k K, v V, next op.Next[K, V2]) {
			v2 := fn(Meta{c}, k, v)
			c.NotNull()
			next(c, k, v2)
		}, downstream[K, V2](n, t))
	}, s.n)
	return &Stream[K, V2]{b: s.b, n: n, keys: s.keys, vals: vals, rekeyed: s.rekeyed}
}
