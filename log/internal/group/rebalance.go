package group

import (
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// rebalanceOrComplete begins a rebalance, or looks whether the one that goes on is complete.
func (c *Core) rebalanceOrComplete(g *group, s *Step, now int64) {
	if g.classic.state == PreparingRebalance {
		c.maybeComplete(g, s, now)
	} else {
		c.prepare(g, s, now)
	}
}

// prepare begins a rebalance. Who waits in sync must join again. The assignments
// stay those that were handed out last: cooperative members still have them.
func (c *Core) prepare(g *group, s *Step, now int64) {
	k := g.classic
	if k.state == CompletingRebalance {
		for _, id := range k.memberIDs() {
			m := k.members[id]
			if m.answerSync(s, nil, ErrRebalanceInProgress) {
				m.deadline = now + m.sessionMS
			}
			m.lapsed = true
		}
	}
	clear(k.pendingSync)
	k.syncEnd = never
	first := k.state == Empty
	k.become(PreparingRebalance, now)
	if !first {
		if k.allJoined() {
			c.complete(g, s, now)
		} else {
			k.joinEnd = now + k.rebalanceMS()
		}
		return
	}
	k.initial.joined = false
	k.initial.delayMS = c.cfg.InitialDelayMS
	k.initial.leftMS = max(k.rebalanceMS()-c.cfg.InitialDelayMS, 0)
	k.joinEnd = now + c.cfg.InitialDelayMS
	if c.cfg.InitialDelayMS == 0 {
		c.complete(g, s, now)
	}
}

// maybeComplete ends the gathering when everybody has joined. The first
// rebalance of a group always waits for its time.
func (c *Core) maybeComplete(g *group, s *Step, now int64) {
	if k := g.classic; k.state == PreparingRebalance && k.previous != Empty && k.allJoined() {
		c.complete(g, s, now)
	}
}

// joinIsOver: the time of the gathering has come. A first rebalance in which
// somebody joined meanwhile waits once more.
func (c *Core) joinIsOver(g *group, s *Step, now int64) {
	k := g.classic
	if k.previous == Empty && k.initial.joined && k.initial.leftMS > 0 {
		delay := min(c.cfg.InitialDelayMS, k.initial.leftMS)
		k.initial.leftMS = max(k.initial.leftMS-k.initial.delayMS, 0)
		k.initial.joined, k.initial.delayMS, k.joinEnd = false, delay, now+delay
		return
	}
	c.complete(g, s, now)
}

// complete ends the gathering: dynamic members that have not joined are out,
// static ones stay, the next generation begins.
func (c *Core) complete(g *group, s *Step, now int64) {
	k := g.classic
	k.joinEnd = never
	for _, id := range k.memberIDs() {
		if m := k.members[id]; m.joinToken == nil && m.instance == "" {
			k.remove(id)
		}
	}
	if !k.electJoined() && len(k.members) > 0 { // only absent static members: until their sessions end
		k.joinEnd = now + k.rebalanceMS()
		return
	}
	k.generation = max(k.generation, k.floor) + 1
	clear(k.pendingSync)
	if len(k.members) == 0 {
		c.emptied(g, s, now)
		return
	}
	k.protocol = k.vote()
	k.learnTopics()
	k.become(CompletingRebalance, now)
	for _, id := range k.memberIDs() {
		m := k.members[id]
		m.answerJoin(s, k.joinResult(m), nil)
		m.deadline, m.fresh = now+m.sessionMS, false
		k.pendingSync[id] = true
	}
	k.syncEnd = now + k.rebalanceMS()
}

// electJoined makes sure that the leader is one who has joined; false if nobody has.
func (k *classic) electJoined() bool {
	if m := k.members[k.leader]; m != nil && m.joinToken != nil {
		return true
	}
	for _, id := range k.memberIDs() {
		if k.members[id].joinToken != nil {
			k.leader = id
			return true
		}
	}
	return false
}

// emptied records that the last member is gone, which is when the offsets begin to age.
func (c *Core) emptied(g *group, s *Step, now int64) {
	k := g.classic
	k.protocol, k.leader = "", ""
	k.learnTopics()
	k.become(Empty, now)
	s.Records = append(s.Records, k.record(g.name, nil))
	s.after(func(_ record.Offset, err error) []Reply {
		k.logged = k.logged || err == nil
		return nil
	})
}

// memberGone lets the rest of the group rebalance after members were taken out.
func (c *Core) memberGone(g *group, s *Step, now int64) {
	switch k := g.classic; k.state {
	case Stable, CompletingRebalance:
		c.rebalanceOrComplete(g, s, now)
	case PreparingRebalance:
		if k.allJoined() {
			c.complete(g, s, now)
		}
	}
}

// tickClassic does what is due in a classic group.
func (c *Core) tickClassic(g *group, s *Step, now int64) {
	k := g.classic
	for _, id := range slices.Sorted(maps.Keys(k.pendingJoin)) {
		if k.pendingJoin[id] <= now {
			k.remove(id)
			if k.state == PreparingRebalance && k.allJoined() {
				c.complete(g, s, now)
			}
		}
	}
	for _, id := range k.memberIDs() {
		m := k.members[id]
		switch {
		case m == nil || m.deadline > now:
		case m.excused():
			m.deadline = never // it gets a new one with its answer
		default:
			m.answerJoin(s, nil, ErrUnknownMember)
			m.answerSync(s, nil, ErrUnknownMember)
			k.remove(id)
			c.memberGone(g, s, now)
		}
	}
	if k.state == PreparingRebalance && k.joinEnd <= now {
		c.joinIsOver(g, s, now)
	}
	if k.syncEnd <= now {
		c.syncIsOver(g, s, now)
	}
}

// syncIsOver takes out the members of the generation that have not synced in time.
func (c *Core) syncIsOver(g *group, s *Step, now int64) {
	k := g.classic
	k.syncEnd = never
	if k.state != CompletingRebalance && k.state != Stable || len(k.pendingSync) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(k.pendingSync)) {
		k.remove(id)
	}
	c.prepare(g, s, now)
}
