package broker

import (
	"fmt"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Acks says what Produce waits for.
type Acks uint8

const (
	// AcksLeader returns when the batches are appended (page cache).
	AcksLeader Acks = iota
	// AcksAll returns when they are as durable as the topic's flush says; inside a
	// transaction that is the page cache, the commit makes it durable.
	AcksAll
)

// ProduceResult says where batches went.
type ProduceResult struct {
	BaseOffset record.Offset
	NextOffset record.Offset // after the last record
	Epoch      record.LeaderEpoch
	// LogAppendTime in milliseconds where message.timestamp.type is LogAppendTime, else record.NoTimestamp.
	LogAppendTime int64
	LogStart      record.Offset
	// Duplicate: the producer had sent this batch before; the offsets are those of then.
	Duplicate bool
}

// Produce appends one or more whole record batches. It writes base offset and
// leader epoch into them and does not keep them. A transactional batch must
// belong to an ongoing transaction to which this partition was added; all
// batches of a call are of one producer, and transactional or not.
func (p *Partition) Produce(batches []byte, acks Acks) (ProduceResult, error) {
	l, err := p.open()
	if err != nil {
		return ProduceResult{}, err
	}
	records, h, err := countRecords(batches)
	if err != nil {
		return ProduceResult{}, &PartitionError{p.tp, fmt.Errorf("%w: %w", segment.ErrInvalidBatch, err)}
	}
	s := p.settings.Load()
	if s.recompress {
		if batches, err = recompress(batches, s.codec); err != nil {
			return ProduceResult{}, &PartitionError{p.tp, fmt.Errorf("%w: %w", segment.ErrInvalidBatch, err)}
		}
	}
	if h.Transactional() {
		// Held over the append, so that no batch can slip behind its own marker.
		e, err := p.b.txns.enter(ProducerIdentity{h.ProducerID, h.ProducerEpoch}, p.tp)
		if err != nil {
			return ProduceResult{}, &PartitionError{p.tp, err}
		}
		defer e.mu.RUnlock()
	}
	res, err := l.Append(batches, segment.AppendOptions{Now: p.b.nowMS(), LogAppendTime: s.logAppendTime})
	if err != nil {
		return ProduceResult{}, p.wrap(err)
	}
	if !res.Duplicate {
		p.watchers.wake(!h.Transactional())
		if hook := p.b.cfg.Hooks.Appended; hook != nil {
			hook(p.tp, records, len(batches))
		}
	}
	if acks == AcksAll && !h.Transactional() && s.flush == FlushCommit {
		if err := p.syncTo(l, res.Next); err != nil {
			return ProduceResult{}, err
		}
	}
	return ProduceResult{
		BaseOffset: res.Base, NextOffset: res.Next, Epoch: res.Epoch,
		LogAppendTime: res.LogAppendTime, LogStart: l.Start(), Duplicate: res.Duplicate,
	}, nil
}

// countRecords reads the headers and checks that the batches belong together.
func countRecords(batches []byte) (records int, first record.BatchHeader, err error) {
	for at := 0; at < len(batches); {
		h, err := record.ParseHeader(batches[at:])
		if err != nil {
			return 0, first, err
		}
		switch {
		case at == 0:
			first = h
		case h.Transactional() != first.Transactional() || h.ProducerID != first.ProducerID || h.ProducerEpoch != first.ProducerEpoch:
			return 0, first, fmt.Errorf("batch at byte %d: expected producer %d epoch %d as in the first batch, found %d epoch %d",
				at, first.ProducerID, first.ProducerEpoch, h.ProducerID, h.ProducerEpoch)
		}
		if h.Control() {
			return 0, first, fmt.Errorf("batch at byte %d: control batches are the broker's to write", at)
		}
		records += int(h.Count)
		at += h.Size()
	}
	return records, first, nil
}

// recompress rebuilds batches with the topic's codec where theirs is another.
func recompress(batches []byte, codec record.Codec) ([]byte, error) {
	it := record.NewIterator(batches, record.ReadOptions{})
	defer it.Release()
	out := make([]byte, 0, len(batches))
	b := record.NewBuilder()
	for it.NextBatch() {
		if it.Batch().Codec() == codec {
			out = append(out, it.Raw()...)
			continue
		}
		b.ResetFrom(it.Batch())
		var v record.View
		for it.NextInBatch(&v) {
			b.AppendAt(&v)
		}
		if it.Err() != nil {
			break
		}
		raw, err := b.Finish(codec)
		if err != nil {
			return nil, err
		}
		out = append(out, raw...)
	}
	return out, it.Err()
}
