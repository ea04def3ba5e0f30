package embedded

import (
	"fmt"
	"sync"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// batch implements logclient.Batch over a chunk: the run of records of all
// batches in it.
//
// Invariant: chunk is nil from Release until the batch is lent again.
type batch struct {
	it    record.Iterator // over the current record batch
	opts  record.ReadOptions
	chunk *broker.Chunk
	part  *broker.Partition
	tp    record.TopicPartition
	err   error
}

// batches keeps released batches with their iterators' memory. Release may come
// from another goroutine than the reader's.
var batches = sync.Pool{New: func() any { return new(batch) }}

func lend(in *input, chunk *broker.Chunk, keep bool) *batch {
	b := batches.Get().(*batch)
	b.chunk, b.part, b.tp, b.err = chunk, in.part, in.tp, nil
	b.opts = record.ReadOptions{From: chunk.From, KeepRecords: keep}
	b.it.Reset(nil, b.opts)
	return b
}

// TopicPartition implements logclient.Batch.
func (b *batch) TopicPartition() record.TopicPartition { return b.tp }

// NextOffset implements logclient.Batch.
func (b *batch) NextOffset() record.Offset { return b.chunk.Next }

// Epoch implements logclient.Batch: that of the last record.
func (b *batch) Epoch() record.LeaderEpoch { return b.part.EpochAt(b.chunk.Next - 1) }

// Err implements logclient.Batch.
func (b *batch) Err() error { return b.err }

// Next implements logclient.Batch.
func (b *batch) Next(v *record.View) bool {
	return b.it.NextInBatch(v) || b.nextBatch(v)
}

// nextBatch goes on to the next record batch that has a record.
func (b *batch) nextBatch(v *record.View) bool {
	for b.err == nil {
		if err := b.it.Err(); err != nil {
			b.err = fmt.Errorf("embedded log: read %s-%d: %w", b.tp.Topic, b.tp.Partition, err)
			return false
		}
		_, raw, ok := b.chunk.NextBatch()
		if !ok {
			if err := b.chunk.Err(); err != nil {
				b.err = classified(fmt.Sprintf("read %s-%d", b.tp.Topic, b.tp.Partition), err)
			}
			return false
		}
		b.it.Reset(raw, b.opts)
		if b.it.NextBatch() && b.it.NextInBatch(v) {
			return true
		}
	}
	return false
}

// Release implements logclient.Batch.
func (b *batch) Release() {
	if b.chunk == nil {
		return
	}
	b.it.Release()
	b.chunk.Release()
	b.chunk, b.part, b.err = nil, nil, nil
	batches.Put(b)
}

var _ logclient.Batch = (*batch)(nil)
