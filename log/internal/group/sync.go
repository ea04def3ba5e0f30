package group

import "github.com/millstream-io/millstream/log/record"

// SyncRequest asks for the assignment; the leader's carries everybody's.
type SyncRequest struct {
	Group       string
	Generation  int32
	MemberID    string
	InstanceID  string
	Assignments map[string][]byte
	// ProtocolType and Protocol are checked where they are not empty (SyncGroup 5, KIP-559).
	ProtocolType, Protocol string
}

// SyncResult answers Sync.
type SyncResult struct {
	ProtocolType, Protocol string
	Assignment             []byte
}

// Sync answers SyncGroup; the reply comes when the leader has synced and the
// group's record is written.
func (c *Core) Sync(req SyncRequest, token Token, now int64) Step {
	g := c.groups[req.Group]
	if g == nil || g.empty() {
		return Step{Err: ErrUnknownMember}
	}
	if g.consumer != nil {
		return c.syncConsumer(g, req, token, now)
	}
	k := g.classic
	m, err := k.current(req.MemberID, req.InstanceID, req.Generation)
	switch {
	case err != nil:
		return Step{Err: err}
	case differ(req.ProtocolType, k.protocolType) || differ(req.Protocol, k.protocol):
		return Step{Err: ErrInconsistentProtocol}
	case k.state == PreparingRebalance:
		return Step{Err: ErrRebalanceInProgress}
	}
	if k.state == CompletingRebalance && m.id == k.leader {
		if err := c.fits(g, k.assignmentGrowth(req.Assignments)); err != nil {
			return Step{Err: err}
		}
	}
	delete(k.pendingSync, m.id)
	if len(k.pendingSync) == 0 {
		k.syncEnd = never
	}
	if k.state == Stable {
		return Step{Replies: []Reply{{Token: token, Sync: k.syncResult(m)}}}
	}
	var s Step
	m.answerSync(&s, nil, ErrRebalanceInProgress) // of a connection that is gone
	m.syncToken = token
	if m.id == k.leader {
		s.Records = append(s.Records, k.record(g.name, req.Assignments))
		s.after(func(_ record.Offset, err error) []Reply { return c.synced(g, req.Assignments, now, err) })
	}
	return s
}

// differ: two values that are both known are not the same.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

// synced hands the assignment to everybody who waits for it.
func (c *Core) synced(g *group, assignments map[string][]byte, now int64, err error) []Reply {
	k := g.classic
	var s Step
	for _, id := range k.memberIDs() {
		m := k.members[id]
		if err == nil {
			m.assignment, m.lapsed = assignments[id], false
			k.count(m)
		}
		if m.answerSync(&s, k.syncResult(m), err) {
			m.deadline = now + m.sessionMS
		}
	}
	if err == nil {
		k.become(Stable, now)
		k.logged = true
	} else {
		c.prepare(g, &s, now) // nobody has it: they join again
	}
	c.wake(g, k.deadline())
	return s.Replies
}

// current finds the member and checks its generation.
func (k *classic) current(id, instance string, generation int32) (*member, error) {
	m, err := k.member(id, instance)
	if err == nil && generation != k.generation {
		err = ErrIllegalGeneration
	}
	return m, err
}

// Heartbeat keeps a member alive; ErrRebalanceInProgress tells it to join again.
func (c *Core) Heartbeat(name, id, instance string, generation int32, now int64) error {
	g := c.groups[name]
	if g == nil {
		return ErrUnknownMember
	}
	if g.consumer != nil {
		return c.heartbeatConsumer(g, id, instance, generation, now)
	}
	k := g.classic
	m, err := k.current(id, instance, generation)
	if err != nil {
		return err
	}
	if k.state == Empty {
		return ErrUnknownMember
	}
	m.deadline = now + m.sessionMS
	c.wake(g, m.deadline)
	if k.state == PreparingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}
