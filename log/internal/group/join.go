package group

import "github.com/millstream-io/millstream/log/record"

// JoinRequest joins a group by the classic protocol.
type JoinRequest struct {
	Group        string
	MemberID     string // empty for a new member
	NewID        string // the member id that a new member gets; the caller makes it unique
	InstanceID   string // of a static member, or empty
	ClientID     string
	ClientHost   string
	SessionMS    int64
	RebalanceMS  int64
	ProtocolType string
	Protocols    []Protocol // in order of preference
	// NeedKnownID: a new dynamic member is only told its id, and has to join with it (JoinGroup 4, KIP-394).
	NeedKnownID bool
	// SkipAssignment: a static leader that comes back to a stable group may be told
	// to leave the assignment as it is (JoinGroup 9, KIP-814).
	SkipAssignment bool
	Reason         string // KIP-800
	// InProcess: a consumer of the embedding program, whose session has no bounds.
	InProcess bool
}

// JoinResult answers Join.
type JoinResult struct {
	Generation     int32
	Protocol       string
	ProtocolType   string
	Leader         string
	MemberID       string
	Members        []JoinedMember // for the leader only
	SkipAssignment bool
}

// JoinedMember is what the leader assigns by.
type JoinedMember struct {
	ID, Instance string
	Metadata     []byte
}

// Join answers JoinGroup; the reply comes when the rebalance has gathered its members.
func (c *Core) Join(req JoinRequest, token Token, now int64) Step {
	if !req.InProcess && (req.SessionMS < c.cfg.MinSessionMS || c.cfg.MaxSessionMS > 0 && req.SessionMS > c.cfg.MaxSessionMS) {
		return Step{Err: ErrInvalidSessionTimeout}
	}
	if req.RebalanceMS < 0 {
		req.RebalanceMS = req.SessionMS
	}
	g := c.groups[req.Group]
	switch {
	case g == nil || g.consumer == nil:
		return c.joinClassic(req, token, now)
	case len(g.consumer.members) > 0:
		return c.joinConsumer(g, req, token, now)
	}
	// An empty consumer group becomes a classic group first.
	s := Step{Records: g.consumer.tombstones(g.name)}
	s.after(c.replayed(s.Records, now))
	s.after(func(_ record.Offset, err error) []Reply {
		if err != nil {
			return []Reply{{Token: token, Err: err}}
		}
		next := c.joinClassic(req, token, now)
		if next.Err != nil {
			return []Reply{{Token: token, Err: next.Err}}
		}
		return next.Replies
	})
	return s
}

func (c *Core) joinClassic(req JoinRequest, token Token, now int64) Step {
	fresh := c.groups[req.Group] == nil
	if fresh && req.MemberID != "" {
		return Step{Err: ErrUnknownMember}
	}
	g := c.find(req.Group)
	k := g.classic
	var s Step
	full := c.fits(g, k.growth(&req))
	switch {
	case !k.accepts(req.MemberID, c.cfg.MaxSize):
		k.remove(req.MemberID)
		s.Err = ErrGroupFull
	case !k.supports(req.ProtocolType, req.Protocols):
		s.Err = ErrInconsistentProtocol
	case full != nil:
		k.unpend(req.MemberID)
		s.Err = full
	case req.MemberID == "":
		c.joinNew(g, req, token, &s, now)
	default:
		c.joinAgain(g, req, token, &s, now)
	}
	if fresh && s.Err != nil {
		c.forget(g) // a refusal leaves nothing behind
		return s
	}
	c.wake(g, k.deadline())
	return s
}

// accepts: the group is not full. While it gathers, those count who have joined.
func (k *classic) accepts(id string, maxSize int) bool {
	m := k.members[id]
	switch k.state {
	case PreparingRebalance:
		return m != nil && m.joinToken != nil || k.waiting() < maxSize
	case CompletingRebalance, Stable:
		return m != nil || len(k.members) < maxSize
	}
	return true
}

func (c *Core) joinNew(g *group, req JoinRequest, token Token, s *Step, now int64) {
	k := g.classic
	if old := k.static(req.InstanceID); old != nil {
		c.replaceStatic(g, old, req, token, s, now)
		return
	}
	if req.InstanceID == "" && req.NeedKnownID {
		k.pend(req.NewID, now+req.SessionMS)
		s.reply(Reply{Token: token, Join: &JoinResult{MemberID: req.NewID}, Err: ErrMemberIDRequired})
		return
	}
	c.addMember(g, req.NewID, req, token, s, now)
}

// addMember makes a new member, which waits in join.
func (c *Core) addMember(g *group, id string, req JoinRequest, token Token, s *Step, now int64) {
	k := g.classic
	m := &member{id: id, instance: req.InstanceID, clientID: req.ClientID, clientHost: req.ClientHost, fresh: true, deadline: now + c.cfg.NewMemberJoinMS}
	k.update(m, req, token)
	if k.state == PreparingRebalance && k.previous == Empty {
		k.initial.joined = true
	}
	if len(k.members) == 0 {
		k.protocolType = req.ProtocolType
	}
	if k.leader == "" {
		k.leader = id
	}
	k.members[id] = m
	k.unpend(id)
	c.rebalanceOrComplete(g, s, now)
}

func (k *classic) update(m *member, req JoinRequest, token Token) {
	m.protocols, m.sessionMS, m.rebalanceMS, m.joinToken = req.Protocols, req.SessionMS, req.RebalanceMS, token
	k.count(m)
}

// joinAgain handles a request that comes with a member id.
func (c *Core) joinAgain(g *group, req JoinRequest, token Token, s *Step, now int64) {
	k := g.classic
	if _, pending := k.pendingJoin[req.MemberID]; pending && req.InstanceID == "" {
		c.addMember(g, req.MemberID, req, token, s, now)
		return
	}
	m, err := k.member(req.MemberID, req.InstanceID)
	if err != nil {
		s.Err = err
		return
	}
	// Somebody who asks again gets the answer that it may have missed. Other
	// metadata need a rebalance, and the leader may ask for one (what its members
	// read has changed).
	same := m.matches(req.Protocols)
	if k.state == CompletingRebalance && same || k.state == Stable && same && m.id != k.leader {
		s.reply(Reply{Token: token, Join: k.joinResult(m)})
		return
	}
	if m.joinToken != nil { // the connection of the request before is gone
		m.answerJoin(s, nil, ErrRebalanceInProgress)
	}
	k.update(m, req, token)
	c.rebalanceOrComplete(g, s, now)
}

// replaceStatic gives the place of a static member to the process that has its
// instance id now (KIP-345). Its predecessor is fenced.
func (c *Core) replaceStatic(g *group, old *member, req JoinRequest, token Token, s *Step, now int64) {
	k := g.classic
	before := *old
	old.answerJoin(s, nil, ErrFencedInstance)
	old.answerSync(s, nil, ErrFencedInstance)
	leader := k.leader
	m := &member{id: req.NewID, instance: old.instance, clientID: old.clientID, clientHost: old.clientHost, assignment: old.assignment}
	k.update(m, req, token)
	m.deadline = now + m.sessionMS
	k.uncount(old)
	delete(k.members, old.id)
	delete(k.pendingSync, old.id)
	k.members[m.id] = m
	if leader == old.id {
		k.leader = m.id
	}
	switch k.state {
	case Stable:
		if k.vote() != k.protocol {
			c.rebalanceOrComplete(g, s, now)
			return
		}
		s.Records = append(s.Records, k.record(g.name, k.assignments()))
		s.after(func(_ record.Offset, err error) []Reply {
			if err != nil { // as if it had not come
				before.joinToken, before.syncToken, before.counted = nil, nil, 0
				k.count(&before)
				k.uncount(m)
				delete(k.members, m.id)
				k.members[before.id], k.leader = &before, leader
				return []Reply{{Token: token, Err: err}}
			}
			m.joinToken = nil
			r := k.joinResult(m)
			if req.SkipAssignment {
				r.SkipAssignment = m.id == k.leader
			} else { // a leader that does not know this flag must not assign by an old view
				r.Leader, r.Members = leader, nil
			}
			return []Reply{{Token: token, Join: r}}
		})
	case CompletingRebalance:
		c.prepare(g, s, now)
	default:
		c.maybeComplete(g, s, now)
	}
}
