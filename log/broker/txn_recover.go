package broker

import (
	"fmt"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
)

// recover folds __transaction_state and brings the partitions in line with it:
//
//  1. decisions found in the log get the markers that are missing;
//  2. after a new boot of the machine, open transactions are aborted and every
//     id's epoch is raised (what its producer believes written may be gone);
//  3. what is open in a partition and not in the coordinator (its record was
//     cut) is aborted.
func (c *transactions) recover(newBoot bool) error {
	if err := c.replay(); err != nil {
		return err
	}
	for _, t := range c.core.Undone() {
		e := c.entry(t.TransactionalID)
		if err := c.mark(e, t, true); err != nil {
			c.b.cfg.Logger.Warn("decided transaction: not all markers are written", "transactional_id", t.TransactionalID, "err", err)
			continue
		}
		if e.t.State == t.State && e.t.Identity == t.Identity {
			c.change(e, func(core *txn.Core) { core.MarkersWritten(e.id) })
		}
	}
	if newBoot {
		if err := c.fenceAll(); err != nil {
			return err
		}
	}
	return c.abortHanging()
}

// fenceAll raises every id's epoch above all that was written with it: under
// flush=os a power cut may take records of the coordinator and leave those of
// the producer, whose epoch the partitions then know better.
func (c *transactions) fenceAll() error {
	seen := map[record.ProducerID]record.ProducerEpoch{}
	for _, p := range c.b.allPartitions() {
		l, err := p.open()
		if err != nil {
			continue
		}
		for _, s := range l.Producers() {
			seen[s.ProducerID] = max(seen[s.ProducerID], s.Epoch)
		}
	}
	for _, t := range c.core.All() {
		e := c.entry(t.TransactionalID)
		err := c.run(e, c.core.NewBoot(e.id, seen[t.ID], c.b.nowMS()))
		switch {
		case err == nil:
		case e.t.State == txn.PrepareAbort: // decided; a partition is offline
			c.b.cfg.Logger.Warn("decided transaction: not all markers are written", "transactional_id", e.id, "err", err)
		default:
			return txnError(e.id, err)
		}
	}
	return nil
}

// abortIn aborts an id's transaction if it is open and includes a partition that
// was brought back from disk. e.mu is held.
func (c *transactions) abortIn(e *txnEntry, tp record.TopicPartition) error {
	switch {
	case e.t == nil || !e.t.Has(tp):
		return nil
	case e.t.State == txn.Ongoing:
		return c.run(e, c.step(func(core *txn.Core) txn.Step { return core.NewBoot(e.id, record.NoProducerEpoch, c.b.nowMS()) }))
	case e.t.State == txn.PrepareCommit || e.t.State == txn.PrepareAbort:
		return c.writeMarkers(e, true)
	}
	return nil
}

// replay reads every partition of __transaction_state.
func (c *transactions) replay() error {
	for _, p := range c.b.partitionsOf(transactionTopic) {
		err := p.scan(func(h *record.BatchHeader, v *record.View) error {
			if h.Control() {
				return nil
			}
			return c.core.Replay(v.Key, v.Value)
		})
		if err != nil {
			// The ids of this partition are unknown, so none of their producers may go on.
			p.setOffline(fmt.Errorf("cannot be replayed: %w", err))
			p.log.Store(nil)
		}
	}
	for _, t := range c.core.All() {
		e := c.entry(t.TransactionalID)
		e.t = t
		c.byPID[t.ID] = e
	}
	return nil
}

// abortHanging ends transactions that are open in a partition without the
// coordinator's knowledge.
func (c *transactions) abortHanging() error {
	for _, p := range c.b.allPartitions() {
		l, err := p.open()
		if err != nil {
			continue
		}
		for _, o := range l.Ongoing() {
			who := ProducerIdentity{o.ProducerID, o.Epoch}
			if e := c.byPID[o.ProducerID]; e != nil {
				t := e.t
				if t.State == txn.Ongoing && t.Epoch == o.Epoch && t.Has(p.tp) || t.State == txn.PrepareCommit || t.State == txn.PrepareAbort {
					continue
				}
				who.Epoch = max(who.Epoch, t.Epoch)
			} else if c.unreadable() {
				continue // it may belong to an id in a partition that is offline
			}
			m := record.Marker{Type: record.AbortMarker, CoordinatorEpoch: c.b.coordinatorEpoch("")}
			c.b.cfg.Logger.Warn("aborting a transaction whose records in __transaction_state are gone",
				"topic", p.tp.Topic, "partition", p.tp.Partition, "producer_id", o.ProducerID, "first_offset", o.First)
			if _, err := p.appendMarker(who, m); err != nil {
				c.b.cfg.Logger.Warn("abort marker not written", "topic", p.tp.Topic, "partition", p.tp.Partition, "err", err)
			}
		}
	}
	return nil
}

// unreadable says that a partition of __transaction_state is offline.
func (c *transactions) unreadable() bool {
	for _, p := range c.b.partitionsOf(transactionTopic) {
		if p.log.Load() == nil {
			return true
		}
	}
	return false
}

// scan reads a partition from its start to its end, record by record.
func (p *Partition) scan(f func(h *record.BatchHeader, v *record.View) error) error {
	l, err := p.open()
	if err != nil {
		return err
	}
	var it record.Iterator
	defer it.Release()
	for at := l.Start(); at < l.End(); {
		c, err := p.Read(at, ReadOptions{MaxBytes: 1 << 20})
		if err != nil {
			return err
		}
		it.Reset(c.Data, record.ReadOptions{})
		for err == nil && it.NextBatch() {
			var v record.View
			for err == nil && it.NextInBatch(&v) {
				if v.Offset >= at {
					err = f(it.Batch(), &v)
				}
			}
		}
		if err == nil {
			err = it.Err()
		}
		if c.Next <= at && err == nil {
			err = fmt.Errorf("no batch at offset %d below the end %d", at, l.End())
		}
		at = c.Next
		c.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
