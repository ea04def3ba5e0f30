package group

import (
	"cmp"
	"slices"
)

// assign computes the target assignment anew if the group's epoch went past it
// and the last one is not too recent (KIP-1263).
func (d *draft) assign(now int64) {
	g := d.will
	interval := d.c.cfg.Consumer(d.name).AssignmentIntervalMS
	if g.targetEpoch >= g.epoch || g.targetMS != 0 && now < g.targetMS+interval {
		return
	}
	subs := make([]subscriber, 0, len(g.members))
	for _, id := range g.memberIDs() {
		m := g.members[id]
		subs = append(subs, subscriber{id: id, instance: m.instance, topics: g.topicIDs(m, d.c.cfg.Topics), has: g.target[id]})
	}
	partitions := map[TopicID]int32{}
	for _, name := range d.c.cfg.Topics.Names() {
		if id, n, ok := d.c.cfg.Topics.Topic(name); ok {
			partitions[id] = n
		}
	}
	assignor := assignUniform
	if g.assignor(d.c.cfg.Assignors) == RangeAssignor {
		assignor = assignRange
	}
	assigned := assignor(subs, partitions)
	for _, id := range g.memberIDs() {
		if old, ok := g.target[id]; !ok || !old.equal(assigned[id]) {
			d.setTarget(id, assigned[id])
		}
	}
	d.setTargetEpoch(g.epoch, now)
}

// assignor is the one that most members wish, or the default.
func (g *consumer) assignor(known []string) string {
	wishes := map[string]int{}
	for _, m := range g.members {
		wishes[m.assignor]++
	}
	best := known[0]
	for _, name := range known {
		if wishes[name] > wishes[best] {
			best = name
		}
	}
	return best
}

// subscriber is a member as the assignors see it.
type subscriber struct {
	id, instance string
	topics       []TopicID
	has          Assignment // by the target before
}

// assignRange gives each topic's partitions in runs to its subscribers, in the
// order of instance ids, then of member ids. Topics with equal numbers of
// partitions and equal subscribers are cut at the same places.
func assignRange(subs []subscriber, partitions map[TopicID]int32) map[string]Assignment {
	subs = slices.Clone(subs)
	slices.SortFunc(subs, func(a, b subscriber) int {
		switch {
		case a.instance != "" && b.instance != "":
			return cmp.Compare(a.instance, b.instance)
		case a.instance != "" || b.instance != "":
			return -cmp.Compare(a.instance, b.instance)
		}
		return cmp.Compare(a.id, b.id)
	})
	readers := map[TopicID]int32{}
	for _, s := range subs {
		for _, t := range s.topics {
			readers[t]++
		}
	}
	out := map[string]Assignment{}
	next, seen := map[TopicID]int32{}, map[TopicID]int32{}
	for _, s := range subs {
		out[s.id] = Assignment{}
		for _, t := range s.topics {
			n := partitions[t] / readers[t]
			if seen[t] < partitions[t]%readers[t] {
				n++
			}
			seen[t]++
			for range n {
				out[s.id][t] = append(out[s.id][t], next[t])
				next[t]++
			}
		}
	}
	return out
}

// assignUniform spreads all partitions evenly and leaves with each member as
// much as possible of what it has.
func assignUniform(subs []subscriber, partitions map[TopicID]int32) map[string]Assignment {
	u := &uniform{subs: subs, partitions: partitions, has: make([]map[topicPartition]bool, len(subs)), owner: map[topicPartition]int{}}
	u.keep()
	u.place()
	u.level()
	out := make(map[string]Assignment, len(subs))
	for i, s := range subs {
		a := Assignment{}
		for tp := range u.has[i] {
			a[tp.topic] = append(a[tp.topic], tp.partition)
		}
		for _, ps := range a {
			slices.Sort(ps)
		}
		out[s.id] = a
	}
	return out
}

// uniform is an assignment in the making.
type uniform struct {
	subs       []subscriber
	partitions map[TopicID]int32
	readers    map[TopicID][]int // who subscribes, in order
	has        []map[topicPartition]bool
	owner      map[topicPartition]int
}

func (u *uniform) give(tp topicPartition, to int) {
	if from, ok := u.owner[tp]; ok {
		delete(u.has[from], tp)
	}
	u.owner[tp] = to
	u.has[to][tp] = true
}

// keep begins with what the members have and may keep.
func (u *uniform) keep() {
	u.readers = map[TopicID][]int{}
	for i, s := range u.subs {
		u.has[i] = map[topicPartition]bool{}
		for _, t := range s.topics {
			u.readers[t] = append(u.readers[t], i)
			for _, p := range s.has[t] {
				tp := topicPartition{t, p}
				if _, taken := u.owner[tp]; p < u.partitions[t] && !taken {
					u.give(tp, i)
				}
			}
		}
	}
}

// topics in a fixed order: those with few readers first, as they have the least choice.
func (u *uniform) topics() []TopicID {
	out := make([]TopicID, 0, len(u.readers))
	for t := range u.readers {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b TopicID) int {
		if c := cmp.Compare(len(u.readers[a]), len(u.readers[b])); c != 0 {
			return c
		}
		return slices.Compare(a[:], b[:])
	})
	return out
}

// place gives what nobody has to the reader with the least.
func (u *uniform) place() {
	for _, t := range u.topics() {
		for p := range u.partitions[t] {
			tp := topicPartition{t, p}
			if _, taken := u.owner[tp]; taken {
				continue
			}
			least := u.readers[t][0]
			for _, i := range u.readers[t] {
				if len(u.has[i]) < len(u.has[least]) {
					least = i
				}
			}
			u.give(tp, least)
		}
	}
}

// level moves partitions from members with more to readers with at least two
// less, until there is none. Each move makes the sum of squares smaller, so it ends.
func (u *uniform) level() {
	topics := u.topics()
	for moved := len(u.subs) > 0; moved; {
		moved = false
		order := make([]int, len(u.subs))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(u.has[b]), len(u.has[a])) })
		least := len(u.has[order[len(order)-1]])
		for _, from := range order {
			if len(u.has[from])-least < 2 {
				break // so it is for all that follow
			}
			for _, t := range topics {
				moved = u.levelTopic(from, t) || moved
			}
		}
	}
}

// levelTopic moves partitions of one topic away from a member.
func (u *uniform) levelTopic(from int, t TopicID) (moved bool) {
	for p := u.partitions[t] - 1; p >= 0; p-- {
		tp := topicPartition{t, p}
		if !u.has[from][tp] {
			continue
		}
		least := from
		for _, i := range u.readers[t] {
			if len(u.has[i]) < len(u.has[least]) {
				least = i
			}
		}
		if len(u.has[from])-len(u.has[least]) < 2 {
			return moved
		}
		u.give(tp, least)
		moved = true
	}
	return moved
}
