package kafka

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// chunk is what one answer brought of a partition: whole record batches. Its
// bytes are the answer's own, which the garbage collector owns.
type chunk struct {
	data  []byte
	from  record.Offset // the first record asked for; batches may begin before it
	next  record.Offset // after the last whole batch
	epoch record.LeaderEpoch
	// aborted transactions whose records may be in data, by first offset
	aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction
}

// newChunk finds the whole batches of an answer; nil if there is none. The last
// batch may be cut off, because a broker sends so many bytes as asked for.
func newChunk(p *kmsg.FetchResponseTopicPartition, from record.Offset, committed bool) (*chunk, error) {
	c := &chunk{from: from, next: from}
	at := 0
	for at < len(p.RecordBatches) {
		size, ok := record.PeekSize(p.RecordBatches[at:])
		if !ok || size > len(p.RecordBatches)-at {
			break
		}
		h, err := record.ParseHeader(p.RecordBatches[at : at+size])
		if err != nil {
			return nil, err
		}
		c.next, c.epoch = max(c.next, h.NextOffset()), h.LeaderEpoch
		at += size
	}
	if c.next == from {
		return nil, nil
	}
	c.data = p.RecordBatches[:at:at]
	if committed {
		// Apache Kafka lists them by where they end.
		c.aborted = p.AbortedTransactions
		slices.SortFunc(c.aborted, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
			return cmp.Compare(a.FirstOffset, b.FirstOffset)
		})
	}
	return c, nil
}

// batch implements logclient.Batch over a chunk.
//
// Invariant: chunk is nil from Release until the batch is lent again.
type batch struct {
	it    record.Iterator // over the current record batch
	opts  record.ReadOptions
	log   *Log
	chunk *chunk
	at    int // in chunk.data
	tp    record.TopicPartition
	// open are the producers whose aborted transaction the reader is in.
	open map[int64]bool
	seen int // aborted transactions that have begun
	err  error
}

// batches keeps released batches with their iterators' memory.
var batches = sync.Pool{New: func() any { return &batch{open: map[int64]bool{}} }}

func lend(l *Log, tp record.TopicPartition, c *chunk, keep bool) *batch {
	b := batches.Get().(*batch)
	b.log, b.tp, b.chunk, b.at, b.seen, b.err = l, tp, c, 0, 0, nil
	clear(b.open)
	b.opts = record.ReadOptions{From: c.from, KeepRecords: keep}
	b.it.Reset(nil, b.opts)
	return b
}

// TopicPartition implements logclient.Batch.
func (b *batch) TopicPartition() record.TopicPartition { return b.tp }

// NextOffset implements logclient.Batch.
func (b *batch) NextOffset() record.Offset { return b.chunk.next }

// Epoch implements logclient.Batch: that of the last record batch.
func (b *batch) Epoch() record.LeaderEpoch { return b.chunk.epoch }

// Err implements logclient.Batch.
func (b *batch) Err() error { return b.err }

// Next implements logclient.Batch.
func (b *batch) Next(v *record.View) bool {
	return b.it.NextInBatch(v) || b.nextBatch(v)
}

// nextBatch goes on to the next record batch that has a record to show.
func (b *batch) nextBatch(v *record.View) bool {
	for b.err == nil {
		if err := b.it.Err(); err != nil {
			return b.fail(err)
		}
		data := b.chunk.data
		if b.at == len(data) {
			return false
		}
		h, err := record.ParseHeader(data[b.at:])
		if err != nil {
			return b.fail(err)
		}
		raw := data[b.at : b.at+h.Size()]
		b.at += len(raw)
		if h.Control() {
			if err := b.control(&h, raw); err != nil {
				return b.fail(err)
			}
			continue
		}
		if b.aborted(&h) || h.Count == 0 {
			continue
		}
		b.it.Reset(raw, b.opts)
		if b.it.NextBatch() && b.it.NextInBatch(v) {
			return true
		}
	}
	return false
}

func (b *batch) fail(err error) bool {
	b.err = fmt.Errorf("kafka log: read %s-%d: %w", b.tp.Topic, b.tp.Partition, err)
	return false
}

// aborted reports whether a batch belongs to a transaction that was aborted.
func (b *batch) aborted(h *record.BatchHeader) bool {
	for a := b.chunk.aborted; b.seen < len(a) && a[b.seen].FirstOffset <= int64(h.LastOffset()); b.seen++ {
		b.open[a[b.seen].ProducerID] = true
	}
	return h.Transactional() && b.open[int64(h.ProducerID)]
}

// control ends a producer's aborted transaction at its marker.
func (b *batch) control(h *record.BatchHeader, raw []byte) error {
	if len(b.open) == 0 && b.seen == len(b.chunk.aborted) {
		return nil
	}
	b.aborted(h)
	var v record.View
	b.it.Reset(raw, record.ReadOptions{})
	if !b.it.NextBatch() || !b.it.NextInBatch(&v) {
		err := b.it.Err()
		b.it.Reset(nil, b.opts)
		return err // a marker that the cleaner has emptied says nothing
	}
	kind, err := record.ParseControlType(v.Key)
	b.it.Reset(nil, b.opts)
	if err == nil && kind == record.AbortMarker {
		delete(b.open, int64(h.ProducerID))
	}
	return err
}

// Release implements logclient.Batch.
func (b *batch) Release() {
	if b.chunk == nil {
		return
	}
	b.it.Release()
	b.chunk, b.log, b.err = nil, nil, nil
	batches.Put(b)
}

var _ logclient.Batch = (*batch)(nil)
