package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/assign"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// balancer is how a member takes part in the dealing: it tells of itself, deals
// if it leads the group (package assign says to whom), and reads what it got.
// It is cooperative (KIP-429): a unit that moves is given to nobody before its
// owner has let it go; then the owner joins again and the group deals once more.
type balancer struct{ m *member }

// protocol is the assignor's name in the group; members must agree on it.
const protocol = "millstream-units"

// reportTimeout bounds how long a join waits for the member's report.
const reportTimeout = 2 * time.Second

// ProtocolName implements kgo.GroupBalancer.
func (balancer) ProtocolName() string { return protocol }

// IsCooperative implements kgo.GroupBalancer: only what moves stops.
func (balancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements kgo.GroupBalancer. What the client believes to own
// is not asked: after a loss that it has not noticed, the member knows better.
func (b balancer) JoinGroupMetadata(topics []string, _ map[string][]int32, generation int32) []byte {
	owned, about := b.m.joining()
	if report := b.m.cfg.Report; report != nil {
		ctx, cancel := context.WithTimeout(b.m.gone, min(reportTimeout, b.m.log.cfg.SessionTimeout/3))
		about.Lag = report(ctx)
		cancel()
	}
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation = 3, topics, generation
	names, parts := byTopic(owned)
	slices.Sort(names)
	for _, topic := range names {
		p := kmsg.NewConsumerMemberMetadataOwnedPartition()
		p.Topic, p.Partitions = topic, parts[topic]
		meta.OwnedPartitions = append(meta.OwnedPartitions, p)
	}
	meta.UserData = packUserData(about)
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (b balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	given := map[string][]int32{}
	var about aboutGroup
	var tps []record.TopicPartition
	if len(assignment) > 0 {
		a := kmsg.NewConsumerMemberAssignment()
		if err := a.ReadFrom(assignment); err != nil {
			return nil, fmt.Errorf("an assignment of group %s: %w", b.m.group, err)
		}
		if err := unpackUserData("the assignment of group "+b.m.group, a.UserData, &about); err != nil {
			return nil, b.m.refuse(err)
		}
		for _, t := range a.Topics {
			given[t.Topic] = append(given[t.Topic], t.Partitions...)
			for _, p := range t.Partitions {
				tps = append(tps, record.TopicPartition{Topic: t.Topic, Partition: record.Partition(p)})
			}
		}
	}
	b.m.synced(tps, about)
	return given, nil
}

// MemberBalancer implements kgo.GroupBalancer.
func (b balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	d := &dealer{m: b.m}
	topics := map[string]struct{}{}
	for _, member := range members {
		p := participant{id: member.MemberID, meta: kmsg.NewConsumerMemberMetadata()}
		if err := p.meta.ReadFrom(member.ProtocolMetadata); err != nil {
			return nil, nil, fmt.Errorf("what member %s of group %s says of itself: %w", member.MemberID, b.m.group, err)
		}
		if err := unpackUserData(fmt.Sprintf("what member %s of group %s says of itself", member.MemberID, b.m.group), p.meta.UserData, &p.about); err != nil {
			return nil, nil, b.m.refuse(err)
		}
		if p.about.Layout != b.m.layout {
			b.m.log.cfg.Logger.Warn("kafka: a member of the group runs another topology", "group", b.m.group, "member", member.MemberID)
		}
		if p.about.Name == "" {
			p.about.Name = member.MemberID
		}
		for _, topic := range p.meta.Topics {
			topics[topic] = struct{}{}
		}
		d.members = append(d.members, p)
	}
	slices.SortFunc(d.members, func(a, b participant) int {
		return cmp.Or(cmp.Compare(a.about.Name, b.about.Name), cmp.Compare(a.id, b.id))
	})
	return d, topics, nil
}

// participant is one member as it joined.
type participant struct {
	id    string
	meta  kmsg.ConsumerMemberMetadata
	about aboutMember
}

// dealer is the leader in one dealing.
type dealer struct {
	m       *member
	members []participant
}

// Balance implements kgo.GroupMemberBalancer.
func (d *dealer) Balance(topics map[string]int32) kgo.IntoSyncAssignment {
	units := d.m.cfg.Units
	if units == nil {
		units = byNumber(d.known(topics))
	}
	claims := d.claims()
	given := assign.Assign(d.described(units, claims), units, d.m.cfg.Standbys)
	place := make(map[string]int, len(given))
	for i, g := range given {
		place[g.Name] = i
	}
	byID := make(map[string]logclient.Unit, len(units))
	for _, u := range units {
		byID[u.ID] = u
	}
	about := aboutGroup{Layout: d.m.layout}
	for _, p := range d.members {
		g := given[place[p.id]]
		about.Instances = append(about.Instances, logclient.Instance{
			Name: p.about.Name, Endpoint: p.about.Endpoint, Units: g.Units,
			Standbys: slices.Sorted(slices.Values(slices.Concat(g.Standbys, g.Warmups))),
		})
	}
	free := make([][]record.TopicPartition, len(d.members))
	for i := range d.members {
		for _, id := range about.Instances[i].Units {
			if claims.free(byID[id], i) {
				free[i] = append(free[i], byID[id].Partitions...)
			} else {
				about.Pending = true
			}
		}
	}
	var out dealt
	for i, p := range d.members {
		about.Self = i
		out = append(out, syncOf(p.id, free[i], packUserData(about)))
	}
	return out
}

// known are the numbers of partitions of the members' topics as the group's client has
// them, and of those of which it has not heard yet as the log has: the broker that it
// asked may hear of a new topic later than another. Without it the topic would be dealt
// when the client looks again.
func (d *dealer) known(topics map[string]int32) map[string]int32 {
	topics = maps.Clone(topics)
	if topics == nil {
		topics = map[string]int32{}
	}
	for _, p := range d.members {
		for _, name := range p.meta.Topics {
			if n := d.m.log.topics.partitions(name); topics[name] == 0 && n > 0 {
				topics[name] = n
			}
		}
	}
	return topics
}

// dealt implements kgo.IntoSyncAssignment.
type dealt []kmsg.SyncGroupRequestGroupAssignment

func (d dealt) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment { return d }

func syncOf(id string, tps []record.TopicPartition, userData []byte) kmsg.SyncGroupRequestGroupAssignment {
	a := kmsg.NewConsumerMemberAssignment()
	names, parts := byTopic(tps)
	slices.Sort(names)
	for _, name := range names {
		t := kmsg.NewConsumerMemberAssignmentTopic()
		t.Topic, t.Partitions = name, slices.Compact(slices.Sorted(slices.Values(parts[name])))
		a.Topics = append(a.Topics, t)
	}
	a.UserData = userData
	out := kmsg.NewSyncGroupRequestGroupAssignment()
	out.MemberID, out.MemberAssignment = id, a.AppendTo(nil)
	return out
}

// byNumber are units of single partition numbers: partition p of every topic.
func byNumber(topics map[string]int32) []logclient.Unit {
	most := int32(0)
	for _, n := range topics {
		most = max(most, n)
	}
	units := make([]logclient.Unit, most)
	for p := range units {
		units[p].ID = strconv.Itoa(p)
		for topic, n := range topics {
			if int32(p) < n {
				units[p].Partitions = append(units[p].Partitions, record.TopicPartition{Topic: topic, Partition: record.Partition(p)})
			}
		}
	}
	return units
}

// claim is a member, by index, that says it owns a partition, and since when.
type claim struct {
	member     int
	generation int32
}

// claims are who owns what: the newest first where there are several.
type claims map[record.TopicPartition][]claim

func (d *dealer) claims() claims {
	c := claims{}
	for i, p := range d.members {
		for _, topic := range p.meta.OwnedPartitions {
			for _, n := range topic.Partitions {
				tp := record.TopicPartition{Topic: topic.Topic, Partition: record.Partition(n)}
				c[tp] = append(c[tp], claim{i, p.meta.Generation})
			}
		}
	}
	for _, of := range c {
		slices.SortStableFunc(of, func(a, b claim) int { return cmp.Compare(b.generation, a.generation) })
	}
	return c
}

// free says whether a member may have a unit now: its partitions are its own, or
// nobody's. Also a claim that is outdated counts (KAFKA-12983): who makes it may
// still be at work, and lets go in this round.
func (c claims) free(u logclient.Unit, member int) bool {
	for _, tp := range u.Partitions {
		if of := c[tp]; len(of) > 0 && of[0].member != member {
			return false
		}
	}
	return true
}

// described are the members as package assign wants them. Who owns most of a
// unit's partitions owns it.
func (d *dealer) described(units []logclient.Unit, c claims) []assign.Member {
	members := make([]assign.Member, len(d.members))
	for i, p := range d.members {
		members[i] = assign.Member{Name: p.id, Capacity: p.about.Capacity, Lag: p.about.Lag}
	}
	for _, u := range units {
		owns := map[int]int{}
		best := -1
		for _, tp := range u.Partitions {
			if of := c[tp]; len(of) > 0 {
				i := of[0].member
				owns[i]++
				if best < 0 || owns[i] > owns[best] {
					best = i
				}
			}
		}
		if best >= 0 {
			members[best].Owns = append(members[best].Owns, u.ID)
		}
	}
	return members
}

// refuse makes an error that no trying again mends the member's own.
func (m *member) refuse(err error) error {
	var newer *newerVersionError
	if errors.As(err, &newer) {
		m.fail(fmt.Errorf("kafka log: %w", err))
	}
	return err
}
