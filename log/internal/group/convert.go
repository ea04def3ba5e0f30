package group

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// upgrade makes a draft of a classic group with members as a consumer group. The
// members keep what they have; who waits in join or sync is told to join again.
func (d *draft) upgrade(g *group, s *Step, now int64) error {
	k := g.classic
	switch {
	case d.c.cfg.NoUpgrade:
		return fmt.Errorf("%w: the classic group %s may not become a consumer group: the migration policy does not allow it", ErrUnknownGroup, g.name)
	case k.protocolType != ConsumerProtocol:
		return fmt.Errorf("%w: the classic group %s is not one of consumers", ErrUnknownGroup, g.name)
	case len(k.members) > d.c.cfg.ConsumerMaxSize:
		return fmt.Errorf("%w: the classic group %s has too many members for a consumer group", ErrUnknownGroup, g.name)
	}
	d.is = newConsumer()
	will := newConsumer()
	will.epoch, will.targetEpoch = k.generation, k.generation
	owned := map[string]Assignment{}
	for _, id := range k.memberIDs() {
		m, has, err := d.upgraded(k, k.members[id])
		if err != nil {
			return fmt.Errorf("%w: the classic group %s cannot become a consumer group: %w", ErrUnknownGroup, g.name, err)
		}
		owned[id] = has
		will.put(m)
		will.target[id] = m.assigned.assignment()
	}
	will.keepOwned(owned)
	will.hash = will.metadataHash(d.c.cfg.Topics)
	d.is, d.will = will, will
	if k.logged {
		d.records = append(d.records, Record{Key: groupKey(g.name)})
	}
	d.records = append(d.records, will.upgradeRecords(g.name)...)
	s.after(func(_ record.Offset, err error) []Reply {
		if err != nil {
			return nil
		}
		var told Step
		for _, id := range k.memberIDs() {
			k.members[id].answerJoin(&told, nil, ErrRebalanceInProgress)
			k.members[id].answerSync(&told, nil, ErrRebalanceInProgress)
		}
		return told.Replies
	})
	for id, m := range will.members {
		end := now + m.classic.sessionMS
		d.later(func(g *consumer) { g.timer(id).session = end })
	}
	return nil
}

// keepOwned leaves with members what they said to own when they joined, unless
// it was assigned to another: a cooperative member that has not synced since may
// have it still. It gives it up by joining without it.
func (g *consumer) keepOwned(owned map[string]Assignment) {
	for _, id := range g.memberIDs() {
		m := *g.members[id]
		m.assigned = hold(m.assigned.assignment(), m.epoch)
		for t, ps := range owned[id] {
			for _, p := range ps {
				if _, taken := g.owners[topicPartition{t, p}]; !taken {
					m.assigned.put(t, p, m.epoch)
				}
			}
		}
		g.put(&m)
	}
}

// upgraded is a classic member as one of a consumer group, and what it said to
// own when it joined.
func (d *draft) upgraded(k *classic, m *member) (*consumerMember, Assignment, error) {
	protocol := k.protocol
	if protocol == "" && len(m.protocols) > 0 { // of a group that has not finished its first rebalance
		protocol = m.protocols[0].Name
	}
	sub, err := subscription(m.metadata(protocol))
	if err != nil {
		return nil, nil, fmt.Errorf("subscription of member %s: %w", m.id, err)
	}
	a := Assignment{}
	if len(m.assignment) > 0 {
		given := kmsg.NewConsumerMemberAssignment()
		if err := given.ReadFrom(m.assignment); err != nil {
			return nil, nil, fmt.Errorf("assignment of member %s: %w", m.id, err)
		}
		if len(given.UserData) > 0 {
			return nil, nil, fmt.Errorf("assignment of member %s: the data of a custom assignor would be lost", m.id)
		}
		for _, t := range given.Topics {
			if id, n, ok := d.c.cfg.Topics.Topic(t.Topic); ok {
				a.add(id, t.Partitions, n)
			}
		}
	}
	owned := Assignment{}
	for _, t := range sub.OwnedPartitions {
		if id, n, ok := d.c.cfg.Topics.Topic(t.Topic); ok {
			owned.add(id, t.Partitions, n)
		}
	}
	return &consumerMember{
		id: m.id, instance: m.instance, rack: deref(sub.Rack), clientID: m.clientID, clientHost: m.clientHost,
		rebalanceMS: m.rebalanceMS, topics: sortedSet(sub.Topics),
		classic: &classicMember{m.sessionMS, m.protocols},
		epoch:   k.generation, previous: k.generation, assigned: hold(a, k.generation), pending: holding{},
	}, owned, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// upgradeRecords are all that a new consumer group consists of.
func (g *consumer) upgradeRecords(name string) []Record {
	var out []Record
	ids := g.memberIDs()
	for _, id := range ids {
		out = append(out, memberRecord(name, g.members[id]))
	}
	out = append(out, epochRecord(name, g.epoch, g.hash))
	for _, id := range ids {
		out = append(out, targetRecord(name, id, g.target[id]))
	}
	out = append(out, targetEpochRecord(name, g.targetEpoch, g.targetMS))
	for _, id := range ids {
		out = append(out, currentRecord(name, g.members[id]))
	}
	return out
}

// tombstones take a consumer group out of the log.
func (g *consumer) tombstones(name string) []Record {
	var out []Record
	ids := g.memberIDs()
	for _, id := range ids {
		out = append(out, Record{Key: memberKey(currentKeyVersion, name, id)})
	}
	for _, id := range slices.Sorted(maps.Keys(g.target)) {
		out = append(out, Record{Key: memberKey(targetKeyVersion, name, id)})
	}
	out = append(out, Record{Key: groupedKey(targetEpochKeyVersion, name)})
	for _, id := range ids {
		out = append(out, Record{Key: memberKey(memberKeyVersion, name, id)})
	}
	for _, regex := range slices.Sorted(maps.Keys(g.regexes)) {
		out = append(out, Record{Key: regexKey(name, regex)})
	}
	return append(out, Record{Key: groupedKey(metadataKeyVersion, name)}, Record{Key: groupedKey(epochKeyVersion, name)})
}

// downgrade makes a classic group of what remains of a consumer group after
// some members are gone: all that remain speak the classic protocol. They
// rebalance at once. False: a member's metadata cannot be read.
func (c *Core) downgrade(g *group, from *consumer, gone map[string]bool, token Token, reply func() Reply, now int64) (Step, bool) {
	k, err := c.downgraded(from, gone, now)
	if err != nil {
		return Step{}, false
	}
	s := Step{Records: append(from.tombstones(g.name), k.staleRecord(g.name))}
	s.after(func(_ record.Offset, err error) []Reply {
		if err != nil {
			if reply == nil {
				return nil
			}
			return []Reply{{Token: token, Err: err}}
		}
		c.setMembership(g, k, nil)
		var out Step
		if reply != nil {
			r := reply()
			r.Token = token
			out.reply(r)
		}
		c.prepare(g, &out, now)
		c.wake(g, k.deadline())
		return out.Replies
	})
	return s, true
}

// staleRecord is the record of a group that is about to rebalance, though its
// members do not know it yet: of a generation that nobody has. After a restart
// their heartbeats are refused, so that they join.
func (k *classic) staleRecord(name string) Record {
	k.floor = k.generation + 1
	k.generation, k.floor = k.floor, k.generation
	defer func() { k.generation, k.floor = k.floor, k.generation }()
	return k.record(name, k.assignments())
}

// downgraded is the classic group of the members that remain, with what they
// have as their assignment.
func (c *Core) downgraded(from *consumer, gone map[string]bool, now int64) (*classic, error) {
	k := newClassic()
	k.protocolType, k.generation, k.logged = ConsumerProtocol, from.epoch, true
	for _, id := range from.memberIDs() {
		m := from.members[id]
		if gone[id] {
			continue
		}
		k.members[id] = &member{
			id: id, instance: m.instance, clientID: m.clientID, clientHost: m.clientHost,
			sessionMS: m.classic.sessionMS, rebalanceMS: m.rebalanceMS, protocols: m.classic.protocols, deadline: now + m.classic.sessionMS,
		}
		if k.leader == "" {
			k.leader = id
		}
	}
	k.state, k.sinceMS = Stable, now
	k.protocol = k.vote()
	k.learnTopics()
	for id, m := range k.members {
		version, err := protocolVersion(m.metadata(k.protocol))
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", id, err)
		}
		has := from.members[id].assigned.assignment()
		for t, ps := range from.members[id].pending.assignment() {
			has[t] = slices.Sorted(slices.Values(append(has[t], ps...)))
		}
		m.assignment = c.encodeAssignment(has, version)
		k.count(m)
	}
	return k, nil
}

// protocolVersion is the version of the consumer protocol that metadata are written in.
func protocolVersion(metadata []byte) (int16, error) {
	if len(metadata) < 2 {
		return 0, fmt.Errorf("metadata of %d bytes: expected a version", len(metadata))
	}
	return int16(binary.BigEndian.Uint16(metadata)), nil
}

// encodeAssignment writes an assignment as classic consumers read it.
func (c *Core) encodeAssignment(a Assignment, version int16) []byte {
	out := kmsg.NewConsumerMemberAssignment()
	out.Version = min(version, 3)
	for _, id := range a.Topics() {
		name, ok := c.cfg.Topics.TopicName(id)
		if !ok {
			continue
		}
		t := kmsg.NewConsumerMemberAssignmentTopic()
		t.Topic, t.Partitions = name, a[id]
		out.Topics = append(out.Topics, t)
	}
	return out.AppendTo(nil)
}
