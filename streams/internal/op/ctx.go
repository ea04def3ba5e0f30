// Package op holds the operators of streams: typed closures that are built once
// per task and fuse into one call per record, and the Unit that runs them.
//
// It is instantiated from streams only. A built operator is a Next[K, V]: a
// func(c *Ctx, k K, v V) that passes its results to the Next of its children.
// Ctx carries what is not key or value. The rules:
//
//   - an operator that changes something in Ctx restores it after its child
//     returns, because its parent may go on with other children;
//   - an operator sets Ctx.node before it calls a user function, so that after a
//     panic the one to blame is known, without a defer per record;
//   - the first error stops the record: Ctx.fail keeps it, operators that call
//     their children more than once look at Ctx.err in between.
//
// Everything here belongs to the task's goroutine. There is no clock.
package op

import (
	"slices"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/topology"
	"github.com/millstream-io/millstream/streams/window"
)

// Next takes the records of one node.
type Next[K, V any] func(c *Ctx, k K, v V)

// Changed takes the changes of one table node. w is the zero Window for tables
// without windows.
type Changed[K, V any] func(c *Ctx, k K, w window.Window, old, new V, ch Change)

// Change says which of a change's two values are there.
type Change uint8

const (
	// HadOld: there was a value, and it is known: operators that emit on commit
	// look it up only where something downstream wants it.
	HadOld Change = 1 << iota
	// HasNew: there is a value now; without it the key was deleted.
	HasNew
)

// Ctx is a record beside its key and value.
type Ctx struct {
	Timestamp  int64 // event time, milliseconds
	StreamTime int64 // that the record carries, milliseconds
	Headers    []processor.Header

	in *processor.Record // as it was read; nil of what a commit or a close caused
	// rawKey is the key's bytes (nil: null), as the stream's key serde has them, if
	// raw. A verb that makes a new key clears raw.
	rawKey []byte
	raw    bool
	null   bool // the value is null: a tombstone

	node   topology.NodeID // whose user function runs or ran last
	err    error
	target int64 // during Unit.Advance: what stream time rises to
}

// Topic, Partition and Offset of the input record; "", -1 and -1 if a commit or
// a close caused the record.
func (c *Ctx) Topic() string {
	if c.in == nil {
		return ""
	}
	return c.in.Topic
}

func (c *Ctx) Partition() int32 {
	if c.in == nil {
		return -1
	}
	return c.in.Partition
}

func (c *Ctx) Offset() int64 {
	if c.in == nil {
		return -1
	}
	return c.in.Offset
}

// Null reports whether the value is null.
func (c *Ctx) Null() bool { return c.null }

// NotNull says that the value was made anew. For Scoped functions.
func (c *Ctx) NotNull() { c.null = false }

// Rekeyed says that the key was made anew. For Scoped functions.
func (c *Ctx) Rekeyed() { c.raw, c.rawKey = false, nil }

// Header returns the last header with the key.
func (c *Ctx) Header(key string) ([]byte, bool) {
	for i := len(c.Headers) - 1; i >= 0; i-- {
		if c.Headers[i].Key == key {
			return c.Headers[i].Value, true
		}
	}
	return nil, false
}

// SetHeader replaces the headers with the key by one. For Scoped functions: the
// slice is a new one, so that what others see stays as it was.
func (c *Ctx) SetHeader(key string, value []byte) {
	hs := make([]processor.Header, 0, len(c.Headers)+1)
	for _, h := range c.Headers {
		if h.Key != key {
			hs = append(hs, h)
		}
	}
	c.Headers = slices.Clip(append(hs, processor.Header{Key: key, Value: value}))
}

// nullKey reports whether the key is known to be null.
func (c *Ctx) nullKey() bool { return c.raw && c.rawKey == nil }

func (c *Ctx) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// take returns the error and clears it.
func (c *Ctx) take() error {
	err := c.err
	c.err = nil
	return err
}

// caused makes c the context of a record that no single input record caused.
func (c *Ctx) caused(timestamp, streamTime int64, rawKey []byte) {
	c.Timestamp, c.StreamTime, c.Headers = timestamp, max(streamTime, timestamp), nil
	c.in, c.rawKey, c.raw, c.null = nil, rawKey, true, false
}

// Fan joins several children into one.
func Fan[K, V any](next []Next[K, V]) Next[K, V] {
	switch len(next) {
	case 0:
		return func(*Ctx, K, V) {}
	case 1:
		return next[0]
	}
	return func(c *Ctx, k K, v V) {
		for _, n := range next {
			if n(c, k, v); c.err != nil {
				return
			}
		}
	}
}

// FanChanges joins several children into one.
func FanChanges[K, V any](next []Changed[K, V]) Changed[K, V] {
	switch len(next) {
	case 0:
		return func(*Ctx, K, window.Window, V, V, Change) {}
	case 1:
		return next[0]
	}
	return func(c *Ctx, k K, w window.Window, old, new V, ch Change) {
		for _, n := range next {
			if n(c, k, w, old, new, ch); c.err != nil {
				return
			}
		}
	}
}
