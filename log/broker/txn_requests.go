package broker

import (
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
)

// InitProducerID hands out a producer id. With a transactional id it fences the
// predecessor, whose open transaction is aborted first, and it is durable when it returns.
// current is NoProducer, or what the producer has, to go on after an error (KIP-360).
// timeout 0 is one minute; it counts for transactional ids only.
func (b *Broker) InitProducerID(transactionalID string, timeout time.Duration, current ProducerIdentity) (ProducerIdentity, error) {
	if err := b.alive(); err != nil {
		return NoProducer, err
	}
	if transactionalID == "" {
		pid, err := b.freshProducerID()
		return ProducerIdentity{pid, 0}, err
	}
	if timeout == 0 {
		timeout = time.Minute
	}
	if err := b.ensureInternal(transactionTopic); err != nil {
		return NoProducer, err
	}
	e := b.txns.lock(transactionalID, true)
	defer b.txns.unlock(e)
	for {
		s := b.txns.step(func(core *txn.Core) txn.Step {
			return core.Init(transactionalID, timeout.Milliseconds(), txn.Identity(current), b.nowMS())
		})
		if err := b.txns.run(e, s); err != nil {
			return NoProducer, txnError(transactionalID, err)
		}
		if !s.Again {
			return ProducerIdentity(s.Identity), nil
		}
	}
}

func txnError(id string, err error) error {
	return fmt.Errorf("transactional id %q: %w", id, err)
}

// AddPartitionsToTxn begins a transaction if none is open, and adds partitions.
// Adding one twice is no error and writes nothing.
func (b *Broker) AddPartitionsToTxn(transactionalID string, id ProducerIdentity, tps []record.TopicPartition) error {
	return b.addPartitions(transactionalID, id, tps, false)
}

// JoinTxn is AddPartitionsToTxn by KIP-890's protocol: what a transactional
// produce request (version 12 and above) does before it appends. Partitions
// that the transaction has already cost one look. The strings of tps are not kept.
func (b *Broker) JoinTxn(transactionalID string, id ProducerIdentity, tps []record.TopicPartition) error {
	if e := b.txns.find(transactionalID); e != nil && e.has(id, tps) {
		return nil
	}
	return b.addPartitions(transactionalID, id, tps, true)
}

// CheckProducer says whether a producer id is the transactional id's:
// ErrUnknownProducerID if not. Produce requests before version 12 do not join,
// and so name both without the coordinator's check.
func (b *Broker) CheckProducer(transactionalID string, id record.ProducerID) error {
	b.txns.mu.RLock()
	e := b.txns.byPID[id]
	b.txns.mu.RUnlock()
	if e == nil || e.id != transactionalID {
		return txnError(transactionalID, ErrUnknownProducerID)
	}
	return nil
}

// has says whether the producer's transaction is open and includes all of tps.
func (e *txnEntry) has(who ProducerIdentity, tps []record.TopicPartition) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.t == nil || e.t.Identity != txn.Identity(who) || e.t.State != txn.Ongoing || !e.t.Implicit() {
		return false
	}
	for _, tp := range tps {
		if !e.t.Has(tp) {
			return false
		}
	}
	return true
}

func (b *Broker) addPartitions(transactionalID string, id ProducerIdentity, tps []record.TopicPartition, implicit bool) error {
	own := make([]record.TopicPartition, len(tps))
	for i, tp := range tps {
		p, err := b.Partition(tp)
		if err != nil {
			return err
		}
		own[i] = p.tp
	}
	return b.addToTxn(transactionalID, id, own, implicit)
}

func (b *Broker) addToTxn(transactionalID string, id ProducerIdentity, tps []record.TopicPartition, implicit bool) error {
	if err := b.alive(); err != nil {
		return err
	}
	e := b.txns.lock(transactionalID, false)
	if e == nil {
		return txnError(transactionalID, ErrUnknownProducerID)
	}
	defer b.txns.unlock(e)
	s := b.txns.step(func(core *txn.Core) txn.Step {
		return core.Add(transactionalID, txn.Identity(id), tps, implicit, b.nowMS())
	})
	if err := b.txns.run(e, s); err != nil {
		return txnError(transactionalID, err)
	}
	return nil
}

// VerifyTxn says which of the partitions the producer's open transaction lacks
// (AddPartitionsToTxn with verify-only); the error is about all of them.
func (b *Broker) VerifyTxn(transactionalID string, id ProducerIdentity, tps []record.TopicPartition) (missing []record.TopicPartition, err error) {
	b.txns.mu.RLock()
	t, err := b.txns.core.Verify(transactionalID, txn.Identity(id))
	b.txns.mu.RUnlock()
	if err != nil {
		return nil, txnError(transactionalID, err)
	}
	for _, tp := range tps {
		if t.State != txn.Ongoing || !t.Has(tp) {
			missing = append(missing, tp)
		}
	}
	return missing, nil
}

// AddOffsetsToTxn adds the group's partition of __consumer_offsets to the transaction.
func (b *Broker) AddOffsetsToTxn(transactionalID string, id ProducerIdentity, group string) error {
	return b.addOffsets(transactionalID, id, group, false)
}

// JoinTxnOffsets is AddOffsetsToTxn by KIP-890's protocol: what TxnOffsetCommit
// (version 5 and above) does before it writes.
func (b *Broker) JoinTxnOffsets(transactionalID string, id ProducerIdentity, group string) error {
	return b.addOffsets(transactionalID, id, group, true)
}

func (b *Broker) addOffsets(transactionalID string, id ProducerIdentity, group string, implicit bool) error {
	if err := b.ensureInternal(offsetsTopic); err != nil {
		return err
	}
	p, err := b.internalPartition(offsetsTopic, group)
	if err != nil {
		return err
	}
	if _, err := p.open(); err != nil {
		return err // its marker could not be written, and the transaction would not end
	}
	return b.addToTxn(transactionalID, id, []record.TopicPartition{p.tp}, implicit)
}

// EndTxn commits or aborts. Under FlushCommit a commit first syncs, in parallel,
// every partition that the transaction wrote and every input partition up to
// the offset that it commits; then it syncs the decision, which is the
// acknowledgement; readers advance before it returns. Repeating the same EndTxn
// is no error. ErrUnknownOutcome: see there; any other error leaves the
// transaction open or says that it is not the caller's. The identity returned
// is the one to go on with.
func (b *Broker) EndTxn(transactionalID string, id ProducerIdentity, commit bool) (ProducerIdentity, error) {
	return b.endTxn(transactionalID, commit, func(core *txn.Core, now int64) txn.Step {
		return core.End(transactionalID, txn.Identity(id), commit, now)
	})
}

// EndTxnAndBump is EndTxn by KIP-890's protocol (EndTxn version 5 and above): the
// identity returned has a higher epoch, or another producer id where the epochs
// are used up, and sequences begin with 0. The same request again is recognised
// by its epoch. An abort without a transaction is no error.
func (b *Broker) EndTxnAndBump(transactionalID string, id ProducerIdentity, commit bool) (ProducerIdentity, error) {
	return b.endTxn(transactionalID, commit, func(core *txn.Core, now int64) txn.Step {
		return core.EndAndBump(transactionalID, txn.Identity(id), commit, now)
	})
}

func (b *Broker) endTxn(transactionalID string, commit bool, event func(core *txn.Core, now int64) txn.Step) (ProducerIdentity, error) {
	if err := b.alive(); err != nil {
		return NoProducer, err
	}
	began := b.cfg.Now()
	e := b.txns.lock(transactionalID, false)
	if e == nil {
		return NoProducer, txnError(transactionalID, ErrUnknownProducerID)
	}
	defer b.txns.unlock(e)
	s := b.txns.step(func(core *txn.Core) txn.Step { return event(core, began.UnixMilli()) })
	if s.Err != nil {
		return NoProducer, txnError(transactionalID, s.Err)
	}
	if s.Next == nil {
		return ProducerIdentity(s.Identity), nil
	}
	if commit && b.cfg.Flush == FlushCommit {
		if err := b.txns.syncForCommit(e, s.Next); err != nil {
			return NoProducer, txnError(transactionalID, err)
		}
	}
	s.Next.Ends = b.txns.ends(s.Next)
	if err := b.txns.persist(&s); err != nil {
		return NoProducer, txnError(transactionalID, err)
	}
	b.txns.apply(e, s)
	if h := b.cfg.Hooks.TxnEnded; h != nil {
		h(transactionalID, commit, b.cfg.Now().Sub(began))
	}
	if err := b.txns.writeMarkers(e, false); err != nil {
		// Decided and acknowledged: the markers follow when the partition is back.
		b.cfg.Logger.Warn("transaction is decided, but not all markers are written; trying again later",
			"transactional_id", transactionalID, "err", err)
	}
	return ProducerIdentity(s.Identity), nil
}
