package txn

import "github.com/millstream-io/millstream/log/record"

// owned finds the id and checks that the producer owns it.
func (c *Core) owned(id string, who Identity) (*Txn, error) {
	t := c.ids[id]
	switch {
	case t == nil:
		return nil, ErrUnknownProducerID
	case t.Identity == who:
		return t, nil
	case t.before(who):
		return nil, ErrInvalidProducerEpoch // may initialise again (KIP-588)
	case t.ID != who.ID:
		return nil, ErrUnknownProducerID
	}
	return nil, ErrProducerFenced
}

// Verify answers AddPartitionsToTxn with verify-only: nil if the producer owns
// the id and its transaction may take writes. What it includes, Has tells.
func (c *Core) Verify(id string, who Identity) (*Txn, error) {
	t, err := c.owned(id, who)
	if err == nil && t.State.prepared() {
		return nil, ErrConcurrentTransactions
	}
	return t, err
}

// Add adds partitions, beginning a transaction if none is open. implicit says
// that the producer speaks KIP-890's protocol.
func (c *Core) Add(id string, who Identity, tps []record.TopicPartition, implicit bool, now int64) Step {
	if t := c.ids[id]; t != nil && t.State.prepared() {
		// Before any look at who asks: who was told to go on has a new identity already.
		return fail(ErrConcurrentTransactions)
	}
	t, err := c.owned(id, who)
	if err != nil {
		return fail(err)
	}
	n := t.clone()
	n.Version = 0
	if implicit {
		n.Version = bumping
	}
	if t.State == Ongoing {
		all, more := t.union(tps)
		n.Version = max(n.Version, t.Version)
		if !more && n.Version == t.Version {
			return Step{}
		}
		n.Partitions, n.UpdateMS = all, now
		return Step{Next: n}
	}
	n.begin(Ongoing, nil)
	n.Partitions, _ = n.union(tps)
	n.StartMS, n.UpdateMS = now, now
	return Step{Next: n}
}

// End decides a transaction by the first protocol: the epoch stays, and the same
// request again is answered by the state alone. The caller fills in Next.Ends
// before it appends a PrepareCommit or PrepareAbort.
func (c *Core) End(id string, who Identity, commit bool, now int64) Step {
	t, err := c.owned(id, who)
	if err != nil {
		return fail(err)
	}
	switch {
	case t.State == Ongoing:
		n := t.clone()
		n.Version = 0
		return decide(n, commit, now)
	case !t.State.is(commit):
		return fail(ErrInvalidTxnState)
	case t.State.prepared():
		return fail(ErrConcurrentTransactions)
	}
	return Step{Identity: t.Identity} // repeated
}

// EndAndBump decides a transaction by KIP-890's protocol: each decision raises the
// epoch, so that nothing of one transaction reaches the next. One that comes
// with the epoch before is that request again. An abort is taken without an open
// transaction too: the producer may not know whether it had begun one.
func (c *Core) EndAndBump(id string, who Identity, commit bool, now int64) Step {
	t := c.ids[id]
	if t == nil {
		return fail(ErrUnknownProducerID)
	}
	again := t.decidedFor(who)
	switch {
	case !again && t.ID != who.ID:
		return fail(ErrUnknownProducerID)
	case !again && (t.State.prepared() || t.Epoch != who.Epoch):
		return fail(ErrProducerFenced)
	case t.State == Ongoing:
		return c.decideAndBump(t.clone(), commit, now)
	case again && !t.State.is(commit):
		return fail(ErrInvalidTxnState)
	case again && t.State.prepared():
		return fail(ErrConcurrentTransactions)
	case again:
		return Step{Identity: t.Identity}
	case commit:
		return fail(ErrInvalidTxnState)
	}
	n := t.clone()
	n.begin(Empty, nil)
	n.StartMS = now
	return c.decideAndBump(n, false, now)
}

// decidedFor says whether the last decision was that of who's epoch.
func (t *Txn) decidedFor(who Identity) bool {
	switch {
	case t.Version != bumping || who.Epoch < 0 || t.State == Ongoing || t.State == Empty:
		return false // by the first protocol an epoch above is a newer producer's
	case t.ID == who.ID:
		return t.Epoch == who.Epoch+1
	}
	return t.Previous == who.ID && who.Epoch == maxEpoch-1 && t.Epoch == 0
}

func (c *Core) decideAndBump(n *Txn, commit bool, now int64) Step {
	if err := c.bump(n); err != nil {
		return fail(err)
	}
	s := decide(n, commit, now)
	// The epoch that is handed out must not be one that a new boot gives again.
	s.Sync = true
	if n.Next != record.NoProducerID {
		s.Identity = Identity{n.Next, 0}
	}
	return s
}

func decide(n *Txn, commit bool, now int64) Step {
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
	if t.Next != record.NoProducerID {
		n.Identity, n.Next = Identity{t.Next, 0}, record.NoProducerID
	}
	c.ids[id] = n
}
