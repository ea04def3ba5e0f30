package connectortest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Records is a Source of given records, for tests of sinks. It can replay; its
// position is the number of records read.
type Records struct {
	Out   []connectors.Out
	Chunk int  // records of one Read; default 1
	Stay  bool // wait at the end instead of saying io.EOF

	next int
}

var _ connectors.Source = (*Records)(nil)

// Open goes on at a position.
func (r *Records) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	r.next = 0
	if position == nil {
		return nil
	}
	n := uint64(len(r.Out)) + 1
	if len(position) == 8 {
		n = binary.BigEndian.Uint64(position)
	}
	if n > uint64(len(r.Out)) {
		return connectors.Permanent(fmt.Errorf("the position %x does not fit %d records: give the records of before", position, len(r.Out)))
	}
	r.next = int(n)
	return nil
}

// Read hands out the next records.
func (r *Records) Read(ctx context.Context, out *connectors.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.next == len(r.Out) {
		if !r.Stay {
			return io.EOF
		}
		<-ctx.Done()
		return ctx.Err()
	}
	for range max(r.Chunk, 1) {
		if r.next < len(r.Out) {
			out.Add(r.Out[r.next])
			r.next++
		}
	}
	return nil
}

// Position is the number of records read, 8 bytes big-endian.
func (r *Records) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(r.next)) }

// Close does nothing.
func (r *Records) Close() error { return nil }

// Collector is a Sink that keeps what it gets, for tests of sources. It may be
// read from any goroutine.
type Collector struct {
	// Fail, if set, is asked before each Write: an error is returned as it is.
	Fail func(records []connectors.Record) error

	mu     sync.Mutex
	got    []connectors.Record
	change chan struct{}
}

var _ connectors.Sink = (*Collector)(nil)

// Open does nothing.
func (c *Collector) Open(context.Context, connectors.SinkContext) error { return nil }

// Write keeps copies.
func (c *Collector) Write(_ context.Context, records []connectors.Record) error {
	if c.Fail != nil {
		if err := c.Fail(records); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range records {
		c.got = append(c.got, cloneRecord(&records[i]))
	}
	if c.change != nil {
		close(c.change)
		c.change = nil
	}
	return nil
}

// Close does nothing.
func (c *Collector) Close() error { return nil }

// Records are copies of what was written so far, in that order.
func (c *Collector) Records() []connectors.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]connectors.Record(nil), c.got...)
}

// Await waits until at least n records are written.
func (c *Collector) Await(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		have := len(c.got)
		if c.change == nil {
			c.change = make(chan struct{})
		}
		change := c.change
		c.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("%d records, expected %d: %w", have, n, ctx.Err())
		}
	}
}

func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func cloneRecord(r *connectors.Record) connectors.Record {
	c := *r
	c.Key, c.Value = cloneBytes(r.Key), cloneBytes(r.Value)
	c.Headers = append([]record.Header(nil), r.Headers...)
	for i := range c.Headers {
		c.Headers[i].Value = cloneBytes(c.Headers[i].Value)
	}
	return c
}
