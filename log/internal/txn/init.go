package txn

import "github.com/millstream-io/millstream/log/record"

// Init answers InitProducerID of a transactional id. current is NoIdentity for a
// newcomer, who fences the owner, or what the owner has, to go on after an error
// (KIP-360); whoever else is refused.
func (c *Core) Init(id string, timeoutMS int64, current Identity, now int64) Step {
	if timeoutMS <= 0 || timeoutMS > c.cfg.MaxTimeoutMS {
		return fail(ErrInvalidTimeout)
	}
	t := c.ids[id]
	if t == nil {
		// Also with a current identity: its id was forgotten meanwhile.
		return c.rotate(newTxn(id), record.NoProducerEpoch, timeoutMS, now)
	}
	switch {
	case t.State.prepared():
		// Before any look at who asks: who was told to go on has a new identity already.
		return fail(ErrConcurrentTransactions)
	case current == NoIdentity, current == t.Identity:
	case t.State == Ongoing, !t.before(current):
		// In an open transaction also who had the epoch before: its owner has gone on with the next.
		return fail(ErrProducerFenced)
	}
	switch {
	case t.State == Ongoing:
		s := c.fence(t, now)
		if s.Err == nil {
			if current.Epoch != t.Epoch {
				s.Next.LastEpoch = record.NoProducerEpoch // a newcomer: the old owner must not come back
			}
			s.Again = true
		}
		return s
	case current != NoIdentity && current != t.Identity:
		// The bump was made already, by a timeout or by this request's first try.
		return c.reinit(t, t.Epoch, t.LastEpoch, timeoutMS, now)
	}
	last := record.NoProducerEpoch
	if current != NoIdentity {
		last = t.Epoch
	}
	if t.Epoch >= maxEpoch-1 {
		return c.rotate(t, last, timeoutMS, now)
	}
	return c.reinit(t, t.Epoch+1, last, timeoutMS, now)
}

// before says whether who was the owner before the last bump, and may go on.
func (t *Txn) before(who Identity) bool {
	if who.Epoch != t.LastEpoch || who.Epoch == record.NoProducerEpoch {
		return false
	}
	// The bump of the last epoch gave a new producer id.
	return who.ID == t.ID || who.ID == t.Previous && who.Epoch >= maxEpoch-1
}

// rotate gives an id a new producer id at epoch 0.
func (c *Core) rotate(t *Txn, last record.ProducerEpoch, timeoutMS int64, now int64) Step {
	pid, err := c.cfg.NewProducerID()
	if err != nil {
		return fail(err)
	}
	n := t.clone()
	n.ID = pid
	return empty(n, 0, last, timeoutMS, now)
}

func (c *Core) reinit(t *Txn, epoch, last record.ProducerEpoch, timeoutMS int64, now int64) Step {
	if epoch == maxEpoch {
		return c.rotate(t, last, timeoutMS, now)
	}
	return empty(t.clone(), epoch, last, timeoutMS, now)
}

func empty(n *Txn, epoch, last record.ProducerEpoch, timeoutMS int64, now int64) Step {
	n.Epoch, n.LastEpoch, n.TimeoutMS = epoch, last, int32(timeoutMS)
	n.begin(Empty, nil)
	n.StartMS, n.UpdateMS = record.NoTimestamp, now
	return Step{Next: n, Sync: true, Identity: n.Identity}
}

// fence decides to abort an ongoing transaction and raises the epoch, so that
// its producer's later requests are refused.
func (c *Core) fence(t *Txn, now int64) Step {
	n := t.clone()
	if err := c.bump(n); err != nil {
		return fail(err)
	}
	n.State, n.UpdateMS = PrepareAbort, now
	// Sync, for the owner may be told to go on with the new epoch (EndAndBump), and
	// a new boot must not give it again.
	return Step{Next: n, Sync: true, Markers: true}
}

// bump raises the epoch of a decision (KIP-890). The last epoch there is serves
// for the markers only; who was told to go on does so with a new producer id.
func (c *Core) bump(n *Txn) error {
	if n.Epoch >= maxEpoch-1 {
		pid, err := c.cfg.NewProducerID()
		if err != nil {
			return err
		}
		n.Next = pid
	}
	n.LastEpoch, n.Epoch, n.Version = n.Epoch, n.Epoch+1, bumping
	return nil
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
	n.begin(Empty, nil)
	n.UpdateMS = now
	return Step{Next: n, Sync: true}
}
