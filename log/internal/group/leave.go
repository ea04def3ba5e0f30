package group

// Leaver is one of the members that a LeaveGroup request takes out: by its id,
// by id and instance, or by the instance alone.
type Leaver struct {
	MemberID, InstanceID string
	Reason               string // KIP-800
}

// Leave takes members out at once. The errors are by leaver, in order; they are
// valid also where the step has none.
func (c *Core) Leave(name string, leavers []Leaver, now int64) (Step, []error) {
	errs := make([]error, len(leavers))
	g := c.groups[name]
	if g == nil {
		for i := range errs {
			errs[i] = ErrUnknownMember
		}
		return Step{}, errs
	}
	if g.consumer != nil {
		return c.leaveConsumer(g, leavers, now)
	}
	var s Step
	k := g.classic
	left := false
	for i, l := range leavers {
		if errs[i] = k.leave(l, &s); errs[i] == nil {
			left = true
		}
	}
	if !left {
		return s, errs
	}
	switch k.state {
	case Stable, CompletingRebalance:
		c.rebalanceOrComplete(g, &s, now)
	case PreparingRebalance:
		c.maybeComplete(g, &s, now)
	}
	c.wake(g, k.deadline())
	return s, errs
}

func (k *classic) leave(l Leaver, s *Step) error {
	id := l.MemberID
	if id == "" {
		m := k.static(l.InstanceID)
		if m == nil {
			return ErrUnknownMember
		}
		id = m.id
	} else if _, pending := k.pendingJoin[id]; pending {
		k.remove(id)
		return nil
	} else if _, err := k.member(id, l.InstanceID); err != nil {
		return err
	}
	m := k.members[id]
	m.answerJoin(s, nil, ErrUnknownMember)
	m.answerSync(s, nil, ErrUnknownMember)
	k.remove(id)
	return nil
}
