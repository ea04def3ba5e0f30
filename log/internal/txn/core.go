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
	// NewProducerID allocates a producer id that was never handed out. It is
	// called at most once per event.
	NewProducerID func() (record.ProducerID, error)
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
	// Identity answers InitProducerID and EndTxn: the one to go on with.
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

// Complete records the end of a transaction whose markers are on disk.
func (c *Core) Complete(id string, now int64) Step {
	t := c.ids[id]
	if t == nil || !t.Unlogged {
		return Step{}
	}
	n := t.clone()
	n.Previous = t.Previous // the change was made when the markers were written; this is its record
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
