package group

import (
	"fmt"

	"github.com/millstream-io/millstream/log/record"
)

// Members of the classic protocol in a consumer group. Their generation is their
// member epoch. Join moves them towards the target as a heartbeat does others,
// with the partitions that their subscription says they own; sync hands out what
// they have; their heartbeat tells them to join when there is more to do.

// joinConsumer answers JoinGroup of a member of a consumer group.
func (c *Core) joinConsumer(g *group, req JoinRequest, token Token, now int64) Step {
	k := g.consumer
	id := req.MemberID
	if id == "" {
		id = req.NewID
	}
	switch {
	case c.cfg.NoMix:
		return Step{Err: ErrInconsistentProtocol}
	case len(k.members) >= c.cfg.ConsumerMaxSize && k.members[id] == nil:
		return Step{Err: ErrGroupFull}
	case len(req.Protocols) == 0 || !k.supports(req.ProtocolType, req.Protocols):
		return Step{Err: ErrInconsistentProtocol}
	case req.MemberID == "" && req.InstanceID == "" && req.NeedKnownID:
		return Step{Replies: []Reply{{Token: token, Join: &JoinResult{MemberID: id}, Err: ErrMemberIDRequired}}}
	}
	sub, err := subscription(req.Protocols[0].Metadata)
	if err != nil {
		return Step{Err: fmt.Errorf("%w: subscription: %w", ErrInconsistentProtocol, err)}
	}
	d := &draft{c: c, name: g.name, is: k, will: k}
	old := k.static(req.InstanceID)
	m, err := d.classicSubscriber(req, id, old)
	if err != nil {
		return Step{Err: err}
	}
	next := *m
	next.clientID, next.clientHost, next.rebalanceMS = req.ClientID, req.ClientHost, req.RebalanceMS
	next.topics, next.regex, next.assignor = sortedSet(sub.Topics), "", ""
	next.classic = &classicMember{req.SessionMS, req.Protocols}
	if req.InstanceID != "" {
		next.instance = req.InstanceID
	}
	if sub.Rack != nil {
		next.rack = *sub.Rack
	}
	n, changed, err := d.subscribe(m, &next, nil, now)
	if err == nil {
		err = d.fits(m, n, changed)
	}
	if err != nil {
		return Step{Err: err}
	}
	// The last member of the consumer protocol gives its place to a classic one.
	if !c.cfg.NoDowngrade && old != nil && old.classic == nil && len(k.members) <= c.cfg.MaxSize && k.onlyClassicBut(map[string]bool{old.id: true}) {
		if s, ok := c.joinDowngrade(g, d, n, token, now); ok {
			return s
		}
	}
	d.assign(now)
	owned := Assignment{}
	for _, t := range sub.OwnedPartitions {
		if topic, partitions, ok := c.cfg.Topics.Topic(t.Topic); ok {
			owned.add(topic, t.Partitions, partitions)
		}
	}
	after := d.reconcile(n, changed, owned, now)
	d.later(func(g *consumer) {
		t := g.timer(after.id)
		t.join, t.session, t.sync = never, now+req.SessionMS, now+req.RebalanceMS
	})
	return d.step(Step{}, token, func() Reply {
		return Reply{Join: &JoinResult{MemberID: after.id, Generation: after.epoch, ProtocolType: ConsumerProtocol, Protocol: req.Protocols[0].Name}}
	})
}

// classicSubscriber finds the member that joins, or makes it. A static one may
// take the place of a member of either protocol.
func (d *draft) classicSubscriber(req JoinRequest, id string, old *consumerMember) (*consumerMember, error) {
	switch {
	case req.InstanceID == "" && d.will.members[id] != nil:
		return d.will.members[id], nil
	case req.InstanceID == "":
		return newConsumerMember(id), nil
	case req.MemberID == "" && old == nil:
		return newConsumerMember(id), nil
	case req.MemberID == "":
		return d.replace(old, id), nil
	case old == nil:
		return nil, fmt.Errorf("%w: instance id %s", ErrUnknownMember, req.InstanceID)
	case old.id != req.MemberID:
		return nil, fmt.Errorf("%w: %s belongs to %s", ErrFencedInstance, req.InstanceID, old.id)
	}
	return old, nil
}

// joinDowngrade makes the draft's group a classic one, in which m has joined.
func (c *Core) joinDowngrade(g *group, d *draft, m *consumerMember, token Token, now int64) (Step, bool) {
	rebalance := d.will.targetEpoch < d.will.epoch
	if !rebalance {
		m = d.reconcile(m, false, nil, now)
		rebalance = d.will.state() != Stable
	}
	k, err := c.downgraded(d.will, nil, now)
	if err != nil {
		return Step{}, false
	}
	rec := k.record(g.name, k.assignments())
	if rebalance {
		rec = k.staleRecord(g.name)
	}
	s := Step{Records: append(d.records, append(d.will.tombstones(g.name), rec)...)}
	s.after(func(_ record.Offset, err error) []Reply {
		if err != nil {
			return []Reply{{Token: token, Err: err}}
		}
		c.setMembership(g, k, nil)
		var out Step
		// Its generation ends at once if there is a rebalance; its heartbeat tells it.
		out.reply(Reply{Token: token, Join: &JoinResult{MemberID: m.id, Generation: k.generation, ProtocolType: ConsumerProtocol, Protocol: k.protocol}})
		if rebalance {
			c.prepare(g, &out, now)
		}
		c.wake(g, k.deadline())
		return out.Replies
	})
	return s, true
}

// classicIn finds a classic member of a consumer group.
func (g *consumer) classicIn(id, instance string) (*consumerMember, error) {
	m := g.members[id]
	if instance != "" {
		m = g.static(instance)
		if m != nil && m.id != id {
			return nil, fmt.Errorf("%w: %s belongs to %s", ErrFencedInstance, instance, m.id)
		}
	}
	if m == nil || m.classic == nil {
		return nil, fmt.Errorf("%w: %s is not a member of the classic protocol", ErrUnknownMember, id)
	}
	return m, nil
}

// joinAgainBy gives a classic member its time to join again, once.
func (t *timers) joinAgainBy(at int64) {
	if t.join == never {
		t.join = at
	}
}

// syncConsumer answers SyncGroup of a member of a consumer group.
func (c *Core) syncConsumer(g *group, req SyncRequest, token Token, now int64) Step {
	k := g.consumer
	m, err := k.classicIn(req.MemberID, req.InstanceID)
	if err != nil {
		return Step{Err: err}
	}
	switch {
	case req.Generation != m.epoch:
		return Step{Err: ErrIllegalGeneration}
	case differ(req.ProtocolType, ConsumerProtocol) || differ(req.Protocol, m.classic.protocols[0].Name):
		return Step{Err: ErrInconsistentProtocol}
	case k.targetEpoch > m.epoch && m.state != UnrevokedPartitions:
		k.timer(m.id).joinAgainBy(now + m.rebalanceMS)
		c.wake(g, now+m.rebalanceMS)
		return Step{Err: ErrRebalanceInProgress}
	}
	version, err := protocolVersion(m.classic.protocols[0].Metadata)
	if err != nil {
		return Step{Err: fmt.Errorf("%w: %w", ErrInconsistentProtocol, err)}
	}
	t := k.timer(m.id)
	t.sync, t.session = never, now+m.classic.sessionMS
	c.wake(g, t.first())
	return Step{Replies: []Reply{{Token: token, Sync: &SyncResult{
		ProtocolType: ConsumerProtocol, Protocol: m.classic.protocols[0].Name, Assignment: c.encodeAssignment(m.assigned.assignment(), version),
	}}}}
}

// heartbeatConsumer answers Heartbeat of a member of a consumer group: it must
// join again if the target went on, if it has to give something up, or if what
// it waits for is free now.
func (c *Core) heartbeatConsumer(g *group, id, instance string, generation int32, now int64) error {
	k := g.consumer
	m, err := k.classicIn(id, instance)
	if err != nil {
		return err
	}
	if generation != m.epoch {
		return ErrIllegalGeneration
	}
	t := k.timer(m.id)
	t.session = now + m.classic.sessionMS
	defer func() { c.wake(g, t.first()) }()
	if m.epoch < k.targetEpoch || m.state == UnrevokedPartitions || m.state == UnreleasedPartition && !k.waitsForOthers(m) {
		t.joinAgainBy(now + m.rebalanceMS)
		return ErrRebalanceInProgress
	}
	return nil
}

// leaveConsumer takes members out of a consumer group by a LeaveGroup request.
func (c *Core) leaveConsumer(g *group, leavers []Leaver, now int64) (Step, []error) {
	k := g.consumer
	errs := make([]error, len(leavers))
	gone := map[string]bool{}
	for i, l := range leavers {
		m := k.members[l.MemberID]
		if l.InstanceID != "" {
			m = k.static(l.InstanceID)
		}
		switch {
		case m == nil:
			errs[i] = ErrUnknownMember
		case l.InstanceID != "" && l.MemberID != "" && l.MemberID != m.id:
			errs[i] = ErrFencedInstance
		default:
			gone[m.id] = true
		}
	}
	if len(gone) == 0 {
		return Step{}, errs
	}
	return c.fence(g, gone, nil, nil, now), errs
}
