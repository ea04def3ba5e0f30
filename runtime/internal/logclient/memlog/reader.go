package memlog

import (
	"context"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// poison is what released memory is overwritten with.
const poison = 0xDB

// reader implements logclient.Reader. Its fields belong to the goroutine that
// uses it; inUse finds a second one.
type reader struct {
	log    *Log
	cfg    logclient.ReaderConfig
	wakeup *wakeup
	inUse  atomic.Bool

	order  []*cursor // sorted by partition
	byTP   map[record.TopicPartition]*cursor
	turn   int // who is asked first at the next Poll
	lent   []logclient.Batch
	closed bool
}

type cursor struct {
	tp     record.TopicPartition
	next   record.Offset
	paused bool
}

// Reader implements logclient.Log.
func (l *Log) Reader(cfg logclient.ReaderConfig) (logclient.Reader, error) {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	if err := l.live(); err != nil {
		return nil, err
	}
	return &reader{log: l, cfg: cfg, wakeup: newWakeup(), byTP: map[record.TopicPartition]*cursor{}}, nil
}

func (r *reader) enter() {
	if !r.inUse.CompareAndSwap(false, true) {
		panic("memlog: a reader is used by two goroutines at once")
	}
}

func (r *reader) leave() { r.inUse.Store(false) }

// Assign implements logclient.Reader.
func (r *reader) Assign(from map[record.TopicPartition]record.Offset) {
	r.enter()
	defer r.leave()
	r.order, r.turn = nil, 0
	clear(r.byTP)
	for _, tp := range sorted(from) {
		c := &cursor{tp: tp, next: from[tp]}
		r.order = append(r.order, c)
		r.byTP[tp] = c
	}
}

// Pause implements logclient.Reader.
func (r *reader) Pause(tps ...record.TopicPartition) { r.setPaused(tps, true) }

// Resume implements logclient.Reader.
func (r *reader) Resume(tps ...record.TopicPartition) { r.setPaused(tps, false) }

func (r *reader) setPaused(tps []record.TopicPartition, paused bool) {
	r.enter()
	defer r.leave()
	for _, tp := range tps {
		if c := r.byTP[tp]; c != nil {
			c.paused = paused
		}
	}
}

// Poll implements logclient.Reader.
func (r *reader) Poll(ctx context.Context, maxBytes int) ([]logclient.Batch, error) {
	r.enter()
	defer r.leave()
	clear(r.lent) // the slice of the last Poll is no longer valid
	s := r.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := r.log.live(); err != nil {
			return nil, err
		}
		if r.closed {
			return nil, fmt.Errorf("memlog: the reader: %w", logclient.ErrClosed)
		}
		if err := s.faults.poll(); err != nil {
			return nil, err
		}
		lent, err := r.collect(maxBytes)
		if err != nil || len(lent) > 0 {
			r.lent = lent
			return lent, err
		}
		if err := s.wait(ctx, r.wakeup); err != nil {
			return nil, err
		}
	}
}

// collect takes one batch after the other from each partition in turn.
func (r *reader) collect(maxBytes int) ([]logclient.Batch, error) {
	var lent []logclient.Batch
	for len(r.order) > 0 {
		took := false
		for range r.order {
			c := r.order[r.turn%len(r.order)]
			r.turn++
			b, err := r.take(c)
			if err != nil {
				if len(lent) > 0 { // it comes again with the next Poll
					return lent, nil
				}
				return nil, err
			}
			if b == nil {
				continue
			}
			took = true
			lent = append(lent, b)
			if maxBytes -= b.bytes; maxBytes <= 0 {
				return lent, nil
			}
		}
		if !took {
			break
		}
	}
	return lent, nil
}

// take lends the next batch of one partition, or nil.
func (r *reader) take(c *cursor) (*lentBatch, error) {
	if c.paused {
		return nil, nil
	}
	p := r.log.srv.partition(c.tp)
	if p == nil {
		return nil, unknown(c.tp)
	}
	if c.next < p.start || c.next > p.end {
		return nil, &logclient.OffsetOutOfRangeError{TopicPartition: c.tp, Offset: c.next, Start: p.start, End: p.end}
	}
	limit := p.end
	if !r.cfg.ReadUncommitted {
		limit = p.stable()
	}
	if c.next >= limit {
		return nil, nil
	}
	b := &p.batches[p.at(c.next)]
	out := lend(b, c, r.cfg)
	c.next = b.next
	return out, nil
}

// End implements logclient.Reader.
func (r *reader) End(tp record.TopicPartition) record.Offset {
	s := r.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partition(tp)
	switch {
	case p == nil:
		return 0
	case r.cfg.ReadUncommitted:
		return p.end
	}
	return p.stable()
}

// Close implements logclient.Reader.
func (r *reader) Close() error {
	r.enter()
	defer r.leave()
	r.closed, r.order = true, nil
	clear(r.lent)
	return nil
}

// lentBatch implements logclient.Batch over a copy of the records.
type lentBatch struct {
	tp       record.TopicPartition
	next     record.Offset
	epoch    record.LeaderEpoch
	bytes    int
	records  []stored // slices of chunk
	chunk    []byte
	keep     bool // KeepChunks: memory is never overwritten
	headers  []record.Header
	at       int
	released bool
}

// lend copies what a reader at c may see of a batch.
func lend(b *batch, c *cursor, cfg logclient.ReaderConfig) *lentBatch {
	out := &lentBatch{tp: c.tp, next: b.next, epoch: b.epoch, bytes: b.bytes, keep: cfg.KeepChunks}
	if b.fate == control || b.fate == aborted && !cfg.ReadUncommitted {
		return out
	}
	size := 0
	for i := range b.records {
		size += len(b.records[i].key) + len(b.records[i].value)
		for _, h := range b.records[i].headers {
			size += len(h.Key) + len(h.Value)
		}
	}
	out.chunk = make([]byte, 0, size)
	for i := range b.records {
		r := b.records[i]
		if r.offset < c.next {
			continue
		}
		r.key, r.value = out.copy(r.key), out.copy(r.value)
		headers := make([]record.Header, len(r.headers))
		for j, h := range r.headers {
			// Also the key is the batch's memory, as it is in record.Iterator.
			key := out.copy(unsafe.Slice(unsafe.StringData(h.Key), len(h.Key)))
			headers[j] = record.Header{Key: unsafe.String(unsafe.SliceData(key), len(key)), Value: out.copy(h.Value)}
		}
		r.headers = headers
		out.records = append(out.records, r)
	}
	return out
}

// copy puts bytes into the chunk; the capacity ends with them.
func (b *lentBatch) copy(p []byte) []byte {
	if p == nil {
		return nil
	}
	from := len(b.chunk)
	b.chunk = append(b.chunk, p...)
	return b.chunk[from:len(b.chunk):len(b.chunk)]
}

func (b *lentBatch) TopicPartition() record.TopicPartition { return b.tp }
func (b *lentBatch) NextOffset() record.Offset             { return b.next }
func (b *lentBatch) Epoch() record.LeaderEpoch             { return b.epoch }
func (b *lentBatch) Err() error                            { return nil }

// Next implements logclient.Batch.
func (b *lentBatch) Next(v *record.View) bool {
	if b.released {
		panic("memlog: a batch of " + b.tp.Topic + " is used after its Release")
	}
	if b.at > 0 && !b.keep {
		b.poison(&b.records[b.at-1])
	}
	if b.at == len(b.records) {
		return false
	}
	r := &b.records[b.at]
	b.at++
	// The headers' slice is the iterator's own and used again for each record.
	b.headers = append(b.headers[:0], r.headers...)
	*v = record.View{Offset: r.offset, Timestamp: r.timestamp, Key: r.key, Value: r.value}
	if len(b.headers) > 0 {
		v.Headers = b.headers
	}
	return true
}

func (b *lentBatch) poison(r *stored) {
	overwrite(r.key)
	overwrite(r.value)
	for i := range r.headers {
		overwrite(r.headers[i].Value)
		overwrite(unsafe.Slice(unsafe.StringData(r.headers[i].Key), len(r.headers[i].Key)))
	}
	for i := range b.headers {
		b.headers[i] = record.Header{Key: "released"}
	}
}

func overwrite(p []byte) {
	for i := range p {
		p[i] = poison
	}
}

// Release implements logclient.Batch.
func (b *lentBatch) Release() {
	if b.released {
		panic("memlog: a batch of " + b.tp.Topic + " is released twice")
	}
	b.released = true
	for i := range b.headers {
		b.headers[i] = record.Header{Key: "released"}
	}
	if !b.keep {
		overwrite(b.chunk)
	}
}
