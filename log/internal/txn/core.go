package txn

import (
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// Config of a Core.
type Config struct {
	MaxTimeoutMS int64
	// ExpiryMS forgets ids without an open transaction after so long without use.
	ExpiryMS int64
}

// Core holds every transactional id. Not safe for concurrent use.
type Core struct {
	cfg Config
	ids map[string]*Txn
	// undone are decisions found in the log whose markers may be missing; see Undone.
	undone map[string][]*Txn
}

// New makes an empty core.
func New(cfg Config) *Core {
	return &Core{cfg: cfg, ids: map[string]*Txn{}, undone: map[string][]*Txn{}}
}

// Step is what an event leads to. With Err set nothing else is.
type Step struct {
	// Next is the state to append (Record) and then Apply; nil: nothing to append.
	Next *Txn
	// Tombstone: the id is forgotten, the record's value is null.
	Tombstone bool
	// Sync: the record must be on disk before the step is applied (where the
	// broker's flush is commit).
	Sync bool
	// Markers are to be written for Next once the step is applied.
	Markers bool
	// Again: apply, write the markers, and then present the same request again.
	Again bool
	// Identity answers InitProducerID and EndTxn.
	Identity Identity
	Err      error
}

func fail(err error) Step { return Step{Err: err} }

// Get returns an id's state, nil if there is none.
func (c *Core) Get(id string) *Txn { return c.ids[id] }

// All returns every id's state, by name.
func (c *Core) All() []*Txn {
	out := make([]*Txn, 0, len(c.ids))
	for _, id := range slices.Sorted(maps.Keys(c.ids)) {
		out = append(out, c.ids[id])
	}
	return out
}

// Apply makes a step count.
func (c *Core) Apply(s Step) {
	switch {
	case s.Tombstone:
		delete(c.ids, s.Next.TransactionalID)
	case s.Next != nil:
		c.ids[s.Next.TransactionalID] = s.Next
	}
}

// Init answers InitProducerID of a transactional id. fresh allocates a producer
// id and is called at most once.
func (c *Core) Init(id string, timeoutMS int64, current Identity, fresh func() (record.ProducerID, error), now int64) Step {
	if timeoutMS <= 0 || timeoutMS > c.cfg.MaxTimeoutMS {
		return fail(ErrInvalidTimeout)
	}
	t := c.ids[id]
	if t == nil {
		return c.initNew(&Txn{TransactionalID: id, LastEpoch: record.NoProducerEpoch, StartMS: record.NoTimestamp}, timeoutMS, fresh, now)
	}
	if current != NoIdentity {
		// KIP-360: only the owner, or the owner before the last bump, may go on.
		if current.ID != t.ID || (current.Epoch != t.Epoch && current.Epoch != t.LastEpoch) {
			return fail(ErrProducerFenced)
		}
	}
	switch {
	case t.State.prepared():
		return fail(ErrConcurrentTransactions)
	case t.State == Ongoing:
		s := c.fence(t, now)
		if current.Epoch != t.Epoch {
			s.Next.LastEpoch = record.NoProducerEpoch // a newcomer: the old owner must not come back
		}
		s.Again = true
		return s
	case current != NoIdentity && current.Epoch == t.LastEpoch && current.Epoch != t.Epoch:
		// The bump was made already, by a timeout or by this request's first try.
		return c.reinit(t, t.Epoch, t.LastEpoch, timeoutMS, fresh, now)
	}
	last := record.NoProducerEpoch
	if current != NoIdentity {
		last = t.Epoch
	}
	if t.Epoch >= maxEpoch-1 {
		return c.initNew(t, timeoutMS, fresh, now)
	}
	return c.reinit(t, t.Epoch+1, last, timeoutMS, fresh, now)
}

// initNew gives an id a new producer id at epoch 0.
func (c *Core) initNew(t *Txn, timeoutMS int64, fresh func() (record.ProducerID, error), now int64) Step {
	pid, err := fresh()
	if err != nil {
		return fail(err)
	}
	n := t.clone()
	n.ID = pid
	return c.reinit(n, 0, record.NoProducerEpoch, timeoutMS, fresh, now)
}

func (c *Core) reinit(t *Txn, epoch, last record.ProducerEpoch, timeoutMS int64, fresh func() (record.ProducerID, error), now int64) Step {
	if epoch == maxEpoch {
		return c.initNew(t, timeoutMS, fresh, now)
	}
	n := t.clone()
	n.Epoch, n.LastEpoch, n.TimeoutMS = epoch, last, int32(timeoutMS)
	n.State, n.Partitions, n.Ends, n.Unlogged = Empty, nil, nil, false
	n.StartMS, n.UpdateMS = record.NoTimestamp, now
	return Step{Next: n, Sync: true, Identity: n.Identity}
}

// fence decides to abort an ongoing transaction and raises the epoch, so that
// its producer's later requests are refused.
func (c *Core) fence(t *Txn, now int64) Step {
	n := t.clone()
	n.LastEpoch = t.Epoch
	n.Epoch++
	n.State, n.UpdateMS = PrepareAbort, now
	return Step{Next: n, Markers: true}
}

// owned finds the id and checks that the producer owns it.
func (c *Core) owned(id string, who Identity) (*Txn, error) {
	t := c.ids[id]
	switch {
	case t == nil || t.ID != who.ID:
		return nil, ErrUnknownProducerID
	case t.Epoch == who.Epoch:
		return t, nil
	case who.Epoch == t.LastEpoch:
		return nil, ErrInvalidProducerEpoch // may initialise again (KIP-588)
	}
	return nil, ErrProducerFenced
}

// Add adds partitions, beginning a transaction if none is open.
func (c *Core) Add(id string, who Identity, tps []record.TopicPartition, now int64) Step {
	t, err := c.owned(id, who)
	if err != nil {
		return fail(err)
	}
	switch t.State {
	case PrepareCommit, PrepareAbort:
		return fail(ErrConcurrentTransactions)
	case Ongoing:
		all, more := t.union(tps)
		if !more {
			return Step{}
		}
		n := t.clone()
		n.Partitions, n.UpdateMS = all, now
		return Step{Next: n}
	}
	n := t.clone()
	n.Partitions = nil
	n.Partitions, _ = n.union(tps)
	n.State, n.Ends, n.Unlogged = Ongoing, nil, false
	n.StartMS, n.UpdateMS = now, now
	return Step{Next: n}
}

// End decides a transaction. The caller fills in Next.Ends before it appends a
// PrepareCommit or PrepareAbort.
func (c *Core) End(id string, who Identity, commit bool, now int64) Step {
	t, err := c.owned(id, who)
	if err != nil {
		return fail(err)
	}
	done := t.State == CompleteCommit && commit || t.State == CompleteAbort && !commit
	switch {
	case done: // repeated
		return Step{Identity: t.Identity}
	case t.State.prepared():
		return fail(ErrConcurrentTransactions)
	case t.State != Ongoing:
		return fail(ErrInvalidTxnState)
	}
	n := t.clone()
	n.State, n.UpdateMS = PrepareAbort, now
	if commit {
		n.State = PrepareCommit
	}
	return Step{Next: n, Sync: commit, Markers: true, Identity: n.Identity}
}

// MarkersWritten says that every marker of the id's decision is appended.
func (c *Core) MarkersWritten(id string) {
	t := c.ids[id]
	if t == nil || !t.State.prepared() {
		return
	}
	n := t.clone()
	n.State += CompleteCommit - PrepareCommit
	n.Unlogged = true
	c.ids[id] = n
}

// Complete records the end of a transaction whose markers are on disk.
func (c *Core) Complete(id string, now int64) Step {
	t := c.ids[id]
	if t == nil || !t.Unlogged {
		return Step{}
	}
	n := t.clone()
	n.Partitions, n.Ends, n.Unlogged, n.UpdateMS = nil, nil, false, now
	return Step{Next: n}
}

// Due returns the ids that need a look at now, in order: those whose
// transaction is over time, that wait for markers, or that may be forgotten.
func (c *Core) Due(now int64) []string {
	var due []string
	for id, t := range c.ids {
		if t.State.prepared() || c.overdue(t, now) || c.expired(t, now) {
			due = append(due, id)
		}
	}
	slices.Sort(due)
	return due
}

func (c *Core) overdue(t *Txn, now int64) bool {
	return t.State == Ongoing && t.StartMS+int64(t.TimeoutMS) <= now
}

func (c *Core) expired(t *Txn, now int64) bool {
	return !t.State.prepared() && t.State != Ongoing && !t.Unlogged && t.UpdateMS+c.cfg.ExpiryMS <= now
}

// Tick does what is due for one id: Markers with no Next asks to try again to
// write the markers of its decision.
func (c *Core) Tick(id string, now int64) Step {
	t := c.ids[id]
	switch {
	case t == nil:
		return Step{}
	case t.State.prepared():
		return Step{Markers: true}
	case c.overdue(t, now):
		return c.fence(t, now)
	case c.expired(t, now):
		n := t.clone()
		n.State = Dead
		return Step{Next: n, Tombstone: true}
	}
	return Step{}
}

// NewBoot fences an id after a new boot of the machine: writes that nobody had
// synced may be gone, so an open transaction is aborted, and whoever believes
// to be in one is refused. seen is the greatest epoch of the id's producer in
// any partition: more than the coordinator's if a power cut took records of
// the coordinator's under flush=os.
func (c *Core) NewBoot(id string, seen record.ProducerEpoch, now int64) Step {
	t := c.ids[id]
	if t != nil && seen > t.Epoch {
		t = t.clone()
		t.Epoch = min(seen, maxEpoch-1)
	}
	switch {
	case t == nil || t.State.prepared():
		return Step{}
	case t.State == Ongoing:
		return c.fence(t, now)
	case t.Epoch == maxEpoch:
		return Step{} // nobody was ever given this epoch
	}
	n := t.clone()
	n.LastEpoch = t.Epoch
	n.Epoch++
	n.State, n.Partitions, n.Ends, n.Unlogged = Empty, nil, nil, false
	n.UpdateMS = now
	return Step{Next: n, Sync: true}
}
