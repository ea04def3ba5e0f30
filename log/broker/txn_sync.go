package broker

import (
	"errors"
	"slices"
	"sync"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// syncTask makes a partition durable up to an offset.
type syncTask struct {
	p    *Partition
	l    *segment.Log
	upTo record.Offset
}

// syncSet gathers what must be on disk, once per partition.
type syncSet struct {
	tasks []syncTask
}

// add takes a partition up to an offset. A partition that is offline is an
// error: its data cannot be promised.
func (s *syncSet) add(p *Partition, upTo record.Offset) error {
	for i := range s.tasks {
		if t := &s.tasks[i]; t.p == p {
			t.upTo = max(t.upTo, upTo)
			return nil
		}
	}
	l, err := p.open()
	if err != nil {
		return err
	}
	s.tasks = append(s.tasks, syncTask{p, l, upTo})
	return nil
}

// run syncs all, up to parallel at once, and returns the first error in the
// order of adding. With parallel 1 the order is that of adding.
func (s *syncSet) run(parallel int) error {
	tasks := slices.DeleteFunc(s.tasks, func(t syncTask) bool { return t.l.Durable() >= min(t.upTo, t.l.End()) })
	if parallel == 1 || len(tasks) < 2 {
		for _, t := range tasks {
			if err := t.p.syncTo(t.l, t.upTo); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, len(tasks))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, t := range tasks {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = t.p.syncTo(t.l, t.upTo)
			<-slots
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// syncForCommit is step 1 of a commit (DESIGN.md section 4): the partitions
// that the transaction wrote, the input partitions up to the offsets that it
// commits, and the markers of this id's earlier transactions (so that the
// decision is never on disk without those before it). e.mu is held.
//
// Partitions whose topic says flush=os are left out: so their owner wants it.
func (c *transactions) syncForCommit(e *txnEntry, t *txn.Txn) error {
	var set syncSet
	for _, tp := range t.Partitions {
		p, err := c.b.Partition(tp)
		if err != nil {
			continue // deleted: nothing left to promise
		}
		if p.flush() == FlushCommit {
			if err := set.add(p, p.Offsets().End); err != nil {
				return err
			}
		}
		if tp.Topic == offsetsTopic {
			if err := c.addInputs(&set, p, t.ID); err != nil {
				return err
			}
		}
	}
	for p, upTo := range e.unsynced {
		if err := set.add(p, upTo); err != nil && !errors.Is(err, ErrClosed) {
			return err
		}
	}
	if err := set.run(c.b.cfg.SyncParallelism); err != nil {
		return err
	}
	clear(e.unsynced)
	return nil
}

// addInputs adds the partitions whose offsets the transaction commits through a
// partition of __consumer_offsets.
func (c *transactions) addInputs(set *syncSet, offsets *Partition, pid record.ProducerID) error {
	for tp, upTo := range c.b.groups.pendingInputs(offsets, pid) {
		in, err := c.b.Partition(tp)
		if err != nil || in.flush() != FlushCommit {
			continue
		}
		if err := set.add(in, upTo); err != nil {
			return err
		}
	}
	return nil
}

// syncMarkers makes the markers of an id durable. e.mu is held.
func (c *transactions) syncMarkers(e *txnEntry) error {
	if c.b.cfg.Flush == FlushCommit {
		var set syncSet
		for p, upTo := range e.unsynced {
			if err := set.add(p, upTo); err != nil && !errors.Is(err, ErrClosed) {
				return err
			}
		}
		if err := set.run(c.b.cfg.SyncParallelism); err != nil {
			return err
		}
	}
	clear(e.unsynced)
	return nil
}

// complete writes Complete records for transactions that are over, whose
// markers it syncs first.
func (c *transactions) complete() error {
	var first error
	for _, e := range c.entries() {
		e.mu.Lock()
		if e.t != nil && e.t.Unlogged {
			err := c.syncMarkers(e)
			if err == nil {
				err = c.run(e, c.step(func(core *txn.Core) txn.Step { return core.Complete(e.id, c.b.nowMS()) }))
			}
			if first == nil {
				first = err
			}
		}
		e.mu.Unlock()
	}
	return first
}

// settleMarkers makes every marker durable, before the cleaner may drop the
// decisions that stand for them.
func (c *transactions) settleMarkers() error {
	for _, e := range c.entries() {
		e.mu.Lock()
		err := c.syncMarkers(e)
		e.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// entries lists the ids in order.
func (c *transactions) entries() []*txnEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*txnEntry, 0, len(c.byID))
	for _, e := range c.byID {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *txnEntry) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return out
}

// tick ends transactions that are over time, tries markers again, and forgets ids.
func (c *transactions) tick() error {
	now := c.b.nowMS()
	c.mu.RLock()
	due := c.core.Due(now)
	c.mu.RUnlock()
	var first error
	for _, id := range due {
		e := c.lock(id, false)
		if e == nil {
			continue
		}
		s := c.step(func(core *txn.Core) txn.Step { return core.Tick(id, now) })
		if s.Next != nil && s.Next.State == txn.PrepareAbort {
			c.b.cfg.Logger.Warn("transaction is over time and gets aborted", "transactional_id", id, "timeout_ms", s.Next.TimeoutMS)
		}
		if err := c.run(e, s); err != nil && first == nil {
			first = txnError(id, err)
		}
		c.unlock(e)
	}
	return first
}
