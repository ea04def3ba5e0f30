package group

import "maps"

// reconcile moves a member towards its target: it first gives up what is no
// longer its own, then goes to the target's epoch, then gets what others have
// given up. owned is what it reports to have; nil if it does not say.
func (d *draft) reconcile(m *consumerMember, subscriptionChanged bool, owned Assignment, now int64) *consumerMember {
	g := d.will
	if !subscriptionChanged && m.reconciledTo(g.targetEpoch) {
		return m
	}
	n := d.nextAssignment(m, subscriptionChanged, owned)
	if n.sameCurrent(m) {
		return m
	}
	d.setCurrent(n)
	if n.classic == nil {
		end := int64(never)
		if n.state == UnrevokedPartitions {
			end = now + n.rebalanceMS
		}
		d.later(func(g *consumer) {
			t := g.timer(n.id)
			t.rebalance, t.rebalanceEpoch = end, n.epoch
		})
	}
	return n
}

// nextAssignment is the member's next state.
func (d *draft) nextAssignment(m *consumerMember, subscriptionChanged bool, owned Assignment) *consumerMember {
	stay := func() *consumerMember {
		if subscriptionChanged {
			return d.shrink(m, owned)
		}
		return m
	}
	switch m.state {
	case MemberStable:
		if m.epoch == d.will.targetEpoch {
			return stay()
		}
	case UnrevokedPartitions:
		if owns(owned, m.pending) {
			return stay()
		}
	}
	return d.advance(m, owned)
}

// owns: the member still has one of the partitions, or does not say.
func owns(owned Assignment, h holding) bool {
	if owned == nil {
		return true
	}
	for t, ps := range owned {
		for _, p := range ps {
			if h.has(t, p) {
				return true
			}
		}
	}
	return false
}

// readable is the set of topics that the member subscribes to.
func (d *draft) readable(m *consumerMember) map[TopicID]bool {
	out := map[TopicID]bool{}
	for _, id := range d.will.topicIDs(m, d.c.cfg.Topics) {
		out[id] = true
	}
	return out
}

// shrink takes topics away from the member that it no longer subscribes to,
// within its epoch.
func (d *draft) shrink(m *consumerMember, owned Assignment) *consumerMember {
	reads := d.readable(m)
	n := *m
	n.assigned, n.pending = holding{}, holding{}
	for t, ps := range m.pending {
		n.pending[t] = maps.Clone(ps)
	}
	for t, ps := range m.assigned {
		if reads[t] {
			n.assigned[t] = ps
			continue
		}
		for p, epoch := range ps {
			n.pending.put(t, p, epoch)
		}
	}
	if n.assigned.equal(m.assigned) {
		return m
	}
	n.previous = m.epoch
	if owns(owned, n.pending) {
		n.state = UnrevokedPartitions
	} else { // they were given up already
		n.pending = m.pending
	}
	return &n
}

// advance computes what the member has next on its way to the target.
func (d *draft) advance(m *consumerMember, owned Assignment) *consumerMember {
	g, target, reads := d.will, d.will.target[m.id], d.readable(m)
	n := *m
	n.assigned, n.pending, n.previous = holding{}, holding{}, m.epoch
	for t, ps := range m.assigned {
		for p, epoch := range ps {
			if reads[t] && target.has(t, p) {
				n.assigned.put(t, p, epoch)
			} else {
				n.pending.put(t, p, epoch)
			}
		}
	}
	if len(n.pending) > 0 && owns(owned, n.pending) {
		n.state = UnrevokedPartitions
		return &n
	}
	n.state, n.epoch, n.pending = MemberStable, g.targetEpoch, holding{}
	for t, ps := range target {
		if !reads[t] {
			continue
		}
		for _, p := range ps {
			// What the member gives up itself is free for it.
			owner, taken := g.owners[topicPartition{t, p}]
			switch {
			case n.assigned.has(t, p):
			case taken && owner != m.id:
				n.state = UnreleasedPartition
			default:
				n.assigned.put(t, p, g.targetEpoch)
			}
		}
	}
	return &n
}
