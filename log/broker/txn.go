package broker

import (
	"fmt"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// ProducerIdentity is what InitProducerID hands out.
type ProducerIdentity struct {
	ID    record.ProducerID
	Epoch record.ProducerEpoch
}

// NoProducer is the identity of a producer that has none yet.
var NoProducer = ProducerIdentity{record.NoProducerID, record.NoProducerEpoch}

// transactions runs the coordinator's core: it appends the core's records,
// writes markers, and lets transactional batches in.
//
// Events of one transactional id are serialised by its entry's mutex; those of
// different ids run at the same time and meet only at mu and at the files.
type transactions struct {
	b *Broker

	mu    sync.RWMutex // guards what follows, held for moments only
	core  *txn.Core
	byID  map[string]*txnEntry
	byPID map[record.ProducerID]*txnEntry
}

// txnEntry is one transactional id.
//
// A transactional append holds mu for reading from its check to the end of the
// append; a decision holds it for writing. So a batch is either before the
// decision's end offsets or refused.
type txnEntry struct {
	id string
	mu sync.RWMutex // guards what follows
	t  *txn.Txn     // as in the core; nil before the first InitProducerID
	// unsynced are the partitions with markers that may not be on disk, by where
	// they end. They are synced before the next decision and before Complete.
	unsynced map[*Partition]record.Offset
}

func newTransactions(b *Broker) *transactions {
	return &transactions{
		b: b,
		core: txn.New(txn.Config{
			MaxTimeoutMS: b.cfg.MaxTransactionTimeout.Milliseconds(),
			ExpiryMS:     b.cfg.TransactionalIDExpiry.Milliseconds(),
		}),
		byID:  map[string]*txnEntry{},
		byPID: map[record.ProducerID]*txnEntry{},
	}
}

func (c *transactions) entry(id string) *txnEntry {
	c.mu.RLock()
	e := c.byID[id]
	c.mu.RUnlock()
	if e != nil {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e = c.byID[id]; e == nil {
		e = &txnEntry{id: id, unsynced: map[*Partition]record.Offset{}}
		c.byID[id] = e
	}
	return e
}

// enter lets a transactional append in: the producer's transaction is open and
// includes the partition. The entry is returned read-locked.
func (c *transactions) enter(who ProducerIdentity, tp record.TopicPartition) (*txnEntry, error) {
	c.mu.RLock()
	e := c.byPID[who.ID]
	c.mu.RUnlock()
	if e == nil {
		return nil, ErrUnknownProducerID
	}
	e.mu.RLock()
	switch {
	case e.t == nil || e.t.ID != who.ID:
		e.mu.RUnlock()
		return nil, ErrUnknownProducerID
	case e.t.Epoch != who.Epoch:
		e.mu.RUnlock()
		return nil, ErrInvalidProducerEpoch
	case e.t.State != txn.Ongoing || !e.t.Has(tp):
		e.mu.RUnlock()
		return nil, ErrNotInTransaction
	}
	return e, nil
}

// step asks the core, under its lock.
func (c *transactions) step(f func(*txn.Core) txn.Step) txn.Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f(c.core)
}

// apply makes a step count that is as durable as it asks. e.mu is held.
func (c *transactions) apply(e *txnEntry, s txn.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.core.Get(e.id)
	c.core.Apply(s)
	e.t = c.core.Get(e.id)
	if old != nil && (e.t == nil || e.t.ID != old.ID) {
		delete(c.byPID, old.ID)
	}
	if e.t != nil {
		c.byPID[e.t.ID] = e
	}
}

// run carries a step out: record, durability, apply, markers. e.mu is held.
func (c *transactions) run(e *txnEntry, s txn.Step) error {
	if s.Err != nil {
		return s.Err
	}
	if s.Next != nil {
		if s.Markers {
			s.Next.Ends = c.ends(s.Next)
		}
		if err := c.persist(&s); err != nil {
			return err
		}
		c.apply(e, s)
	}
	if s.Markers {
		return c.writeMarkers(e, s.Next == nil)
	}
	return nil
}

// persist appends the step's record and, where the step and the broker ask for
// it, syncs it.
func (c *transactions) persist(s *txn.Step) error {
	p, err := c.b.internalPartition(transactionTopic, s.Next.TransactionalID)
	if err != nil {
		return err
	}
	l, err := p.open()
	if err != nil {
		return err
	}
	key, value := s.Record()
	if err := c.b.gate.Enter(); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	res, err := c.b.appendRecords(p, l, []record.View{{Timestamp: c.b.nowMS(), Key: key, Value: value}}, nil)
	c.b.gate.Leave()
	if err != nil {
		return err
	}
	if !s.Sync || c.b.cfg.Flush != FlushCommit {
		return nil
	}
	if err := p.syncTo(l, res.Next); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return nil
}

// ends are the partitions' end offsets at a decision.
func (c *transactions) ends(t *txn.Txn) []txn.End {
	ends := make([]txn.End, len(t.Partitions))
	for i, tp := range t.Partitions {
		if p, err := c.b.Partition(tp); err == nil {
			ends[i] = txn.End{Offset: p.Offsets().End, Topic: p.topicID}
		}
	}
	return ends
}

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
	e := b.txns.entry(transactionalID)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		s := b.txns.step(func(core *txn.Core) txn.Step {
			return core.Init(transactionalID, timeout.Milliseconds(), txn.Identity(current), b.freshProducerID, b.nowMS())
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
	for _, tp := range tps {
		if _, err := b.Partition(tp); err != nil {
			return err
		}
	}
	return b.addToTxn(transactionalID, id, tps)
}

func (b *Broker) addToTxn(transactionalID string, id ProducerIdentity, tps []record.TopicPartition) error {
	if err := b.alive(); err != nil {
		return err
	}
	e := b.txns.entry(transactionalID)
	e.mu.Lock()
	defer e.mu.Unlock()
	s := b.txns.step(func(core *txn.Core) txn.Step {
		return core.Add(transactionalID, txn.Identity(id), tps, b.nowMS())
	})
	if err := b.txns.run(e, s); err != nil {
		return txnError(transactionalID, err)
	}
	return nil
}

// AddOffsetsToTxn adds the group's partition of __consumer_offsets to the transaction.
func (b *Broker) AddOffsetsToTxn(transactionalID string, id ProducerIdentity, group string) error {
	if err := b.ensureInternal(offsetsTopic); err != nil {
		return err
	}
	p, err := b.internalPartition(offsetsTopic, group)
	if err != nil {
		return err
	}
	return b.addToTxn(transactionalID, id, []record.TopicPartition{p.tp})
}

// EndTxn commits or aborts. Under FlushCommit a commit first syncs, in parallel,
// every partition that the transaction wrote and every input partition up to
// the offset that it commits; then it syncs the decision, which is the
// acknowledgement; readers advance before it returns. Repeating the same EndTxn
// is no error. ErrUnknownOutcome: see there; any other error leaves the
// transaction open or says that it is not the caller's. The identity returned
// is the one to go on with.
func (b *Broker) EndTxn(transactionalID string, id ProducerIdentity, commit bool) (ProducerIdentity, error) {
	if err := b.alive(); err != nil {
		return NoProducer, err
	}
	began := b.cfg.Now()
	e := b.txns.entry(transactionalID)
	e.mu.Lock()
	defer e.mu.Unlock()
	s := b.txns.step(func(core *txn.Core) txn.Step {
		return core.End(transactionalID, txn.Identity(id), commit, began.UnixMilli())
	})
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

// writeMarkers ends the decided transaction in its partitions. again says that
// some may be written already: then a partition gets one only if the producer's
// open transaction there is the decided one. e.mu is held.
func (c *transactions) writeMarkers(e *txnEntry, again bool) error {
	if err := c.mark(e, e.t, again); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.core.MarkersWritten(e.id)
	e.t = c.core.Get(e.id)
	return nil
}

// mark writes t's markers; the first error is returned after all were tried.
func (c *transactions) mark(e *txnEntry, t *txn.Txn, again bool) error {
	m := record.Marker{Type: record.AbortMarker, CoordinatorEpoch: c.b.coordinatorEpoch(t.TransactionalID)}
	if t.State == txn.PrepareCommit {
		m.Type = record.CommitMarker
	}
	var first error
	for i, tp := range t.Partitions {
		p, err := c.b.Partition(tp)
		if err != nil {
			continue // the topic is deleted
		}
		if again {
			open, err := p.openTxn(t.ID)
			end := t.EndAt(i)
			other := end.Topic != [16]byte{} && end.Topic != p.topicID // deleted and made again
			if err == nil && (open == nil || open.First >= end.Offset || other) {
				continue
			}
		}
		next, err := c.b.appendMarker(p, ProducerIdentity(t.Identity), m)
		switch {
		case err == nil:
			e.unsynced[p] = next
		case first == nil:
			first = err
		}
	}
	return first
}

// openTxn finds a producer's open transaction in the partition; nil if there is none.
func (p *Partition) openTxn(pid record.ProducerID) (*segment.OngoingTxn, error) {
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	for _, o := range l.Ongoing() {
		if o.ProducerID == pid {
			return &o, nil
		}
	}
	return nil, nil
}

// appendMarker ends a producer's transaction in one partition, wakes its
// readers, and settles the offsets that were pending there.
func (b *Broker) appendMarker(p *Partition, who ProducerIdentity, m record.Marker) (record.Offset, error) {
	if p.tp.Topic == offsetsTopic {
		return b.groups.appendMarker(p, who, m)
	}
	return p.appendMarker(who, m)
}

func (p *Partition) appendMarker(who ProducerIdentity, m record.Marker) (record.Offset, error) {
	l, err := p.open()
	if err != nil {
		return 0, err
	}
	res, err := l.AppendMarker(who.ID, who.Epoch, m, p.b.nowMS())
	if err != nil {
		return 0, p.wrap(err)
	}
	p.watchers.wake(true)
	return res.Next, nil
}
