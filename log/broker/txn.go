package broker

import (
	"fmt"
	"sync"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
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
	id   string
	mu   sync.RWMutex // guards what follows
	t    *txn.Txn     // as in the core; nil before the first InitProducerID
	dead bool         // not in byID any more: look again
	// unsynced are the partitions with markers that may not be on disk, by where
	// they end. They are synced before the next decision and before Complete.
	unsynced map[*Partition]record.Offset

	refused refusals
}

func newTransactions(b *Broker) *transactions {
	return &transactions{
		b: b,
		core: txn.New(txn.Config{
			MaxTimeoutMS: b.cfg.MaxTransactionTimeout.Milliseconds(),
			ExpiryMS:     b.cfg.TransactionalIDExpiry.Milliseconds(),

			NewProducerID: b.freshProducerID,
		}),
		byID:  map[string]*txnEntry{},
		byPID: map[record.ProducerID]*txnEntry{},
	}
}

// entry finds an id's entry, making it if there is none.
func (c *transactions) entry(id string) *txnEntry {
	if e := c.find(id); e != nil {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		e = &txnEntry{id: id, unsynced: map[*Partition]record.Offset{}}
		c.byID[id] = e
	}
	return e
}

// find is entry for an id that must be known: nil if it is not.
func (c *transactions) find(id string) *txnEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

// lock gives the entry of an id, locked; unlock gives it back. Without create it
// is nil if there is none, so that a request with a made up id leaves nothing behind.
func (c *transactions) lock(id string, create bool) *txnEntry {
	for {
		e := c.find(id)
		if e == nil {
			if !create {
				return nil
			}
			e = c.entry(id)
		}
		e.mu.Lock()
		if !e.dead {
			return e
		}
		e.mu.Unlock() // forgotten meanwhile: its successor is in the map, or none
	}
}

// unlock gives an entry back, and forgets it if it holds no id.
func (c *transactions) unlock(e *txnEntry) {
	if e.t == nil {
		c.mu.Lock()
		delete(c.byID, e.id)
		c.mu.Unlock()
		e.dead = true
	}
	e.mu.Unlock()
}

// enter lets a transactional append in: the producer's transaction is open and
// includes the partition. The entry is returned read-locked.
func (c *transactions) enter(who ProducerIdentity, tp record.TopicPartition) (*txnEntry, error) {
	return c.enterAt(who, tp, record.NoSequence)
}

// enterAt is enter for a batch that begins with a sequence: if it is refused now,
// the one behind it must not take its place.
func (c *transactions) enterAt(who ProducerIdentity, tp record.TopicPartition, seq int32) (*txnEntry, error) {
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
	case e.t.State == txn.PrepareCommit || e.t.State == txn.PrepareAbort:
		e.refused.add(tp, seq)
		e.mu.RUnlock()
		return nil, ErrConcurrentTransaction
	case e.t.State != txn.Ongoing || !e.t.Has(tp):
		e.refused.add(tp, seq)
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
	c.change(e, func(core *txn.Core) { core.Apply(s) })
}

// change lets the core change an id and takes over what it is then. e.mu is held.
func (c *transactions) change(e *txnEntry, f func(*txn.Core)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := e.t
	f(c.core)
	e.t = c.core.Get(e.id)
	if old == nil || e.t == nil || e.t.Identity != old.Identity || e.t.State != txn.Ongoing && old.State == txn.Ongoing {
		e.refused.clear()
	}
	if old != nil && (e.t == nil || e.t.ID != old.ID) {
		delete(c.byPID, old.ID)
	}
	if e.t != nil {
		c.byPID[e.t.ID] = e
	}
}

// run carries a step out: record, durability, apply, markers. e.mu is held. A
// decision that is made but whose markers are not all written is
// ErrConcurrentTransaction: they follow, see tick.
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
	if !s.Markers {
		return nil
	}
	err := c.writeMarkers(e, s.Next == nil)
	if err != nil && s.Next != nil {
		err = fmt.Errorf("%w: %w", ErrConcurrentTransaction, err)
	}
	return err
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
