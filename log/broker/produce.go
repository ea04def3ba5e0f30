package broker

import (
	"errors"
	"fmt"
	"sync"

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

// Produce appends one or more whole record batches and waits for what acks
// says; see Append.
func (p *Partition) Produce(batches []byte, acks Acks) (ProduceResult, error) {
	res, wait, err := p.Append(batches)
	if err == nil && acks == AcksAll {
		err = wait.Wait()
	}
	if err != nil {
		return ProduceResult{}, err
	}
	return res, nil
}

// Unsynced is an append that is in the page cache; the zero value waits for nothing.
type Unsynced struct {
	p    *Partition
	l    *segment.Log
	upTo record.Offset
}

// Done says that Wait would return nil at once.
func (u *Unsynced) Done() bool { return u.l == nil || u.l.Durable() >= u.upTo }

// Wait returns when the append is as durable as acks=all says; one fdatasync
// serves all who wait. An error means that nobody knows: the partition is offline.
func (u *Unsynced) Wait() error {
	if u.Done() {
		return nil
	}
	return u.p.syncTo(u.l, u.upTo)
}

// WaitAll waits for several appends, their syncs side by side, and puts the
// errors into errs, which is as long.
func (b *Broker) WaitAll(waits []Unsynced, errs []error) {
	var wg sync.WaitGroup
	var last *Unsynced
	at, slots := 0, make(chan struct{}, b.cfg.SyncParallelism)
	for i := range waits {
		if waits[i].Done() {
			continue
		}
		if last != nil {
			u, err := last, &errs[at]
			slots <- struct{}{}
			wg.Go(func() {
				*err = u.Wait()
				<-slots
			})
		}
		last, at = &waits[i], i
	}
	if last != nil {
		errs[at] = last.Wait() // one of them here: mostly it is the only one
	}
	wg.Wait()
}

// Append appends one or more whole record batches to the page cache: readers
// see them when it returns. It writes base offset and leader epoch into them
// and does not keep them. What acks=all must wait for is in the second result,
// so that the caller may append more meanwhile; a batch inside a transaction
// waits for nothing, the commit makes it durable. A transactional batch must
// belong to an ongoing transaction to which this partition was added; all
// batches of a call are of one producer, and transactional or not.
func (p *Partition) Append(batches []byte) (ProduceResult, Unsynced, error) {
	l, err := p.open()
	if err != nil {
		return ProduceResult{}, Unsynced{}, err
	}
	records, h, err := countRecords(batches)
	if err != nil {
		return ProduceResult{}, Unsynced{}, &PartitionError{p.tp, fmt.Errorf("%w: %w", segment.ErrInvalidBatch, err)}
	}
	s := p.settings.Load()
	if s.recompress {
		var again []byte
		err = p.b.unpacking.do(func(limit int) (err error) {
			again, err = recompress(batches, s.compression, limit)
			return err
		})
		if err != nil {
			return ProduceResult{}, Unsynced{}, &PartitionError{p.tp, fmt.Errorf("%w: %w", segment.ErrInvalidBatch, err)}
		}
		batches = again
	}
	opts := segment.AppendOptions{Now: p.b.nowMS(), LogAppendTime: s.logAppendTime}
	var e *txnEntry
	if h.Transactional() {
		// Held over the append, so that no batch can slip behind its own marker.
		e, err = p.b.txns.enterAt(ProducerIdentity{h.ProducerID, h.ProducerEpoch}, p.tp, h.BaseSequence)
		if err != nil {
			return ProduceResult{}, Unsynced{}, &PartitionError{p.tp, err}
		}
		defer e.mu.RUnlock()
		opts.FromZero = e.t.Implicit() || e.refused.skip(p.tp, h.BaseSequence)
	}
	res, err := l.Append(batches, opts)
	if err != nil {
		if e != nil && errors.Is(err, segment.ErrStorage) {
			e.refused.add(p.tp, h.BaseSequence)
		}
		return ProduceResult{}, Unsynced{}, p.wrap(err)
	}
	if !res.Duplicate {
		p.watchers.wake(!h.Transactional())
		if hook := p.b.cfg.Hooks.Appended; hook != nil {
			hook(p.tp, records, len(batches))
		}
	}
	if err := p.flushAfter(l, s, res.Next); err != nil {
		return ProduceResult{}, Unsynced{}, err
	}
	var wait Unsynced
	if !h.Transactional() && s.flush == FlushCommit {
		wait = Unsynced{p, l, res.Next}
	}
	return ProduceResult{
		BaseOffset: res.Base, NextOffset: res.Next, Epoch: res.Epoch,
		LogAppendTime: res.LogAppendTime, LogStart: l.Start(), Duplicate: res.Duplicate,
	}, wait, nil
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
// None may decompress to more than limit bytes.
func recompress(batches []byte, c record.Compression, limit int) ([]byte, error) {
	it := record.NewIterator(batches, record.ReadOptions{MaxDecompressed: limit})
	defer it.Release()
	out := make([]byte, 0, len(batches))
	b := record.NewBuilder()
	for it.NextBatch() {
		if it.Batch().Codec() == c.Codec {
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
		raw, err := b.FinishWith(c)
		if err != nil {
			return nil, err
		}
		out = append(out, raw...)
	}
	return out, it.Err()
}
