package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
)

// run appends what is ready until the producer or the broker is closed.
func (p *Producer) run() {
	defer close(p.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batches, next, closed := p.take()
		if len(batches) > 0 {
			p.send(batches)
			continue
		}
		if closed {
			return
		}
		timer.Reset(next)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-p.b.done:
			p.fail()
			return
		}
	}
}

// take returns the batches to send now, and how long the next one may linger.
func (p *Producer) take() (batches []*sendBatch, next time.Duration, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = time.Hour
	if len(p.open) > 0 {
		now := p.b.cfg.Now()
		for _, s := range p.open {
			left := p.cfg.Linger - now.Sub(s.since)
			if left <= 0 || p.flushing > 0 || p.closed {
				p.shut(s)
			} else {
				next = min(next, left)
			}
		}
	}
	batches, p.ready = p.ready, nil
	return batches, next, p.closed && len(p.open) == 0
}

// send appends the batches, makes them durable together, and tells who waits.
func (p *Producer) send(batches []*sendBatch) {
	results := make([]ProduceResult, len(batches))
	errs := make([]error, len(batches))
	var set syncSet
	for i, s := range batches {
		results[i], errs[i] = p.append(s)
		if errs[i] == nil && p.cfg.TransactionalID == "" && !p.cfg.AcksLeader && s.p.flush() == FlushCommit {
			errs[i] = set.add(s.p, results[i].NextOffset)
		}
	}
	syncErr := set.run(p.b.cfg.SyncParallelism)
	for i, s := range batches {
		if errs[i] == nil && syncErr != nil && s.p.Offsets().Durable < results[i].NextOffset {
			errs[i] = syncErr
		}
		p.tell(s, results[i], errs[i])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range batches {
		if errs[i] != nil && p.cfg.TransactionalID != "" && p.txnErr == nil {
			p.txnErr = errs[i]
		}
		p.recycle(s)
	}
	close(p.space)
	p.space = make(chan struct{})
}

// recycle takes a batch out of the accounts. p.mu is held.
func (p *Producer) recycle(s *sendBatch) {
	p.buffered -= s.bytes
	p.unsent--
	s.builder.Reset()
	clear(s.dones)
	s.p, s.bytes, s.dones = nil, 0, s.dones[:0]
	if len(p.free) < 64 {
		p.free = append(p.free, s)
	}
}

// append writes one batch to the page cache.
func (p *Producer) append(s *sendBatch) (ProduceResult, error) {
	if p.cfg.TransactionalID != "" {
		if err := p.join(s.p); err != nil {
			return ProduceResult{}, err
		}
		s.builder.SetTransactional(true)
	}
	tp := s.p.tp
	if p.id != NoProducer {
		s.builder.SetProducer(p.id.ID, p.id.Epoch, p.seq[tp])
	}
	raw, err := s.builder.Finish(p.cfg.Compression)
	if err != nil {
		return ProduceResult{}, err
	}
	res, err := s.p.Produce(raw, AcksLeader)
	if err == nil {
		// Nothing was written by an append that failed, so its sequences are used again.
		p.seq[tp] = record.AddSequence(p.seq[tp], int32(s.builder.Count()))
	}
	return res, err
}

// join adds the partition to the transaction.
func (p *Producer) join(part *Partition) error {
	p.mu.Lock()
	in := p.inTxn[part]
	p.mu.Unlock()
	if in {
		return nil
	}
	if err := p.b.AddPartitionsToTxn(p.cfg.TransactionalID, p.id, []record.TopicPartition{part.tp}); err != nil {
		return err
	}
	p.mu.Lock()
	p.inTxn[part] = true
	p.mu.Unlock()
	return nil
}

func (p *Producer) tell(s *sendBatch, res ProduceResult, err error) {
	m := Message{Topic: s.p.tp.Topic, Partition: s.p.tp.Partition}
	if res.LogAppendTime > 0 {
		m.Time = time.UnixMilli(res.LogAppendTime)
	}
	for i, done := range s.dones {
		if done != nil {
			m.Offset = res.BaseOffset + record.Offset(i)
			done(m, err)
		}
	}
}

// fail ends everything unsent, because the broker is closing.
func (p *Producer) fail() {
	p.mu.Lock()
	p.closed = true
	batches := p.ready
	p.ready = nil
	for part, s := range p.open {
		batches = append(batches, s)
		delete(p.open, part)
	}
	p.mu.Unlock()
	for _, s := range batches {
		p.tell(s, ProduceResult{}, ErrClosed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range batches {
		p.recycle(s)
	}
	close(p.space)
	p.space = make(chan struct{})
}

// SendOffsets puts a group's positions into the transaction: they count when it commits.
func (p *Producer) SendOffsets(m GroupMember, offsets map[record.TopicPartition]CommittedOffset) error {
	if p.cfg.TransactionalID == "" {
		return fmt.Errorf("producer: SendOffsets needs a TransactionalID")
	}
	if err := p.b.AddOffsetsToTxn(p.cfg.TransactionalID, p.id, m.Group); err != nil {
		return err
	}
	p.mu.Lock()
	p.inTxn[nil] = true // offsets alone make a transaction, too
	p.mu.Unlock()
	return p.b.TxnOffsetCommit(p.cfg.TransactionalID, p.id, m, offsets)
}

// Commit flushes and commits the transaction; without one it does nothing. If a
// message failed it returns that error, and the transaction is to be aborted.
func (p *Producer) Commit(ctx context.Context) error {
	if err := p.Flush(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	err := p.txnErr
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("producer: the transaction must be aborted: %w", err)
	}
	return p.end(true)
}

// Abort drops the transaction: its messages stay invisible to readers that read committed.
func (p *Producer) Abort(ctx context.Context) error {
	if err := p.Flush(ctx); err != nil {
		return err
	}
	return p.end(false)
}

func (p *Producer) end(commit bool) error {
	if p.cfg.TransactionalID == "" {
		return fmt.Errorf("producer: a transaction needs a TransactionalID")
	}
	p.mu.Lock()
	begun := len(p.inTxn) > 0
	p.mu.Unlock()
	if begun {
		id, err := p.b.EndTxn(p.cfg.TransactionalID, p.id, commit)
		if !commit && errors.Is(err, ErrInvalidProducerEpoch) {
			// The coordinator aborted it already (over time, or after a new boot): go on with a new epoch.
			if id, err = p.b.InitProducerID(p.cfg.TransactionalID, p.cfg.TransactionTimeout, p.id); err == nil {
				clear(p.seq)
			}
		}
		if err != nil {
			return err
		}
		p.id = id
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.inTxn)
	p.txnErr = nil
	return nil
}
