package group

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
)

// MemberState is where a member of a consumer group stands between what it has
// and what it is to have. The numbers are Kafka's, in the log.
type MemberState int8

const (
	MemberStable        MemberState = 0
	UnrevokedPartitions MemberState = 1   // it has to give partitions up
	UnreleasedPartition MemberState = 2   // others have to give up what it is to get
	MemberStateUnknown  MemberState = 127 // written by a later version
)

// Epochs of members that are leaving, as requests and records have them.
const (
	leaveEpoch       = -1
	leaveStaticEpoch = -2 // a static member that will be back
)

// Assignment is partitions by topic, each list in order.
type Assignment map[TopicID][]int32

func (a Assignment) equal(b Assignment) bool { return maps.EqualFunc(a, b, slices.Equal) }

func (a Assignment) has(t TopicID, p int32) bool {
	_, found := slices.BinarySearch(a[t], p)
	return found
}

// holding is partitions with the epoch in which the member got each.
type holding map[TopicID]map[int32]int32

func (h holding) equal(o holding) bool {
	return maps.EqualFunc(h, o, func(a, b map[int32]int32) bool { return maps.Equal(a, b) })
}

// samePartitions compares without the epochs.
func (h holding) samePartitions(o holding) bool {
	return maps.EqualFunc(h, o, func(a, b map[int32]int32) bool {
		return maps.EqualFunc(a, b, func(int32, int32) bool { return true })
	})
}

func (h holding) has(t TopicID, p int32) bool {
	_, ok := h[t][p]
	return ok
}

func (h holding) put(t TopicID, p, epoch int32) {
	if h[t] == nil {
		h[t] = map[int32]int32{}
	}
	h[t][p] = epoch
}

func (h holding) assignment() Assignment {
	out := make(Assignment, len(h))
	for t, ps := range h {
		out[t] = slices.Sorted(maps.Keys(ps))
	}
	return out
}

func hold(a Assignment, epoch int32) holding {
	out := make(holding, len(a))
	for t, ps := range a {
		for _, p := range ps {
			out.put(t, p, epoch)
		}
	}
	return out
}

// classicMember is what a member of a consumer group brings that speaks the
// classic protocol.
type classicMember struct {
	sessionMS int64
	protocols []Protocol
}

// consumerMember is a member of a consumer group.
//
// Invariant: it is never changed, only replaced, so that an event can compute
// its successor and drop it again.
type consumerMember struct {
	id, instance, rack   string
	clientID, clientHost string
	rebalanceMS          int64    // -1: not known yet
	topics               []string // in order
	regex                string   // RE2; empty: none
	assignor             string   // empty: no wish
	classic              *classicMember

	epoch, previous   int32
	state             MemberState
	assigned, pending holding // what it may use; what it has to give up first
}

func newConsumerMember(id string) *consumerMember {
	return &consumerMember{id: id, previous: -1, rebalanceMS: -1}
}

// sameMetadata compares what the member's metadata record holds.
func (m *consumerMember) sameMetadata(o *consumerMember) bool {
	same := m.id == o.id && m.instance == o.instance && m.rack == o.rack && m.clientID == o.clientID &&
		m.clientHost == o.clientHost && m.rebalanceMS == o.rebalanceMS && m.regex == o.regex &&
		m.assignor == o.assignor && slices.Equal(m.topics, o.topics) && (m.classic == nil) == (o.classic == nil)
	if !same || m.classic == nil {
		return same
	}
	return m.classic.sessionMS == o.classic.sessionMS &&
		(&member{protocols: m.classic.protocols}).matches(o.classic.protocols)
}

// sameCurrent compares what the member's current assignment record holds.
func (m *consumerMember) sameCurrent(o *consumerMember) bool {
	return m.epoch == o.epoch && m.previous == o.previous && m.state == o.state && m.assigned.equal(o.assigned) && m.pending.equal(o.pending)
}

func (m *consumerMember) reconciledTo(epoch int32) bool {
	return m.state == MemberStable && m.epoch == epoch
}

// resolved is what a regular expression matched.
type resolved struct {
	topics      []string // in order
	version, at int64
}

type topicPartition struct {
	topic     TopicID
	partition int32
}

// timers of a member, as times of their ends; soft state, like the time itself.
type timers struct {
	session   int64
	rebalance int64 // by then it must have left rebalanceEpoch
	join      int64 // of a classic member: by then it must have joined again
	sync      int64 // of a classic member: by then it must have synced

	rebalanceEpoch int32
}

func (t *timers) first() int64 { return min(t.session, t.rebalance, t.join, t.sync) }

// consumer is the membership of a consumer group. All but the soft state is a
// fold of the log.
//
// Invariant: owners has each partition that a member has or has to give up,
// once; no partition belongs to two members. held is the sum of size over
// members and of regexSize over regexes.
type consumer struct {
	epoch       int32
	hash        int64 // of the topics that the members subscribe to
	targetEpoch int32
	targetMS    int64 // when the target was computed; 0: not known
	members     map[string]*consumerMember
	statics     map[string]string // member id by instance id
	target      map[string]Assignment
	owners      map[topicPartition]string
	regexes     map[string]resolved
	// hasMetadata: the log holds a partition metadata record, of Kafka 4.0.
	hasMetadata bool
	held        account

	// Soft state.
	timers       map[string]*timers
	checked      bool   // hash was compared with the topics at version
	version      uint64 // of the topics, see checked
	regexChecked bool   // regexes were resolved at regexVersion and regexMS
	regexVersion uint64
	regexMS      int64
}

func newConsumer() *consumer {
	return &consumer{
		members: map[string]*consumerMember{}, statics: map[string]string{}, target: map[string]Assignment{},
		owners: map[topicPartition]string{}, regexes: map[string]resolved{}, timers: map[string]*timers{},
	}
}

// clone copies what the log determines; members and assignments are shared,
// they never change.
func (g *consumer) clone() *consumer {
	n := *g
	n.held.total = nil
	n.members, n.statics, n.target = maps.Clone(g.members), maps.Clone(g.statics), maps.Clone(g.target)
	n.owners, n.regexes = maps.Clone(g.owners), maps.Clone(g.regexes)
	return &n
}

func (g *consumer) state() State {
	if len(g.members) == 0 {
		return Empty
	}
	if g.epoch > g.targetEpoch {
		return Assigning
	}
	for _, m := range g.members {
		if !m.reconciledTo(g.targetEpoch) {
			return Reconciling
		}
	}
	return Stable
}

func (g *consumer) memberIDs() []string { return slices.Sorted(maps.Keys(g.members)) }

func (g *consumer) static(instance string) *consumerMember {
	if instance == "" {
		return nil
	}
	return g.members[g.statics[instance]]
}

// put makes m the member of its id, with what it owns.
func (g *consumer) put(m *consumerMember) {
	if old := g.members[m.id]; old != nil {
		g.release(old)
		g.held.add(-old.size())
	}
	g.members[m.id] = m
	g.held.add(m.size())
	if m.instance != "" {
		g.statics[m.instance] = m.id
	}
	for _, h := range []holding{m.assigned, m.pending} {
		for t, ps := range h {
			for p := range ps {
				g.owners[topicPartition{t, p}] = m.id
			}
		}
	}
}

func (g *consumer) release(m *consumerMember) {
	if m == nil {
		return
	}
	for _, h := range []holding{m.assigned, m.pending} {
		for t, ps := range h {
			for p := range ps {
				if tp := (topicPartition{t, p}); g.owners[tp] == m.id {
					delete(g.owners, tp)
				}
			}
		}
	}
}

func (g *consumer) drop(id string) {
	m := g.members[id]
	if m == nil {
		return
	}
	g.release(m)
	delete(g.members, id)
	g.held.add(-m.size())
	if g.statics[m.instance] == id {
		delete(g.statics, m.instance)
	}
}

// subscribedTo counts the members that use a regular expression.
func (g *consumer) subscribedTo(regex string) int {
	n := 0
	for _, m := range g.members {
		if regex != "" && m.regex == regex {
			n++
		}
	}
	return n
}

// topicNames are the topics that the members subscribe to, by name or by expression.
func (g *consumer) topicNames() map[string]bool {
	out, regexes := map[string]bool{}, map[string]bool{}
	for _, m := range g.members {
		for _, t := range m.topics {
			out[t] = true
		}
		regexes[m.regex] = true
	}
	for regex := range regexes {
		for _, t := range g.regexes[regex].topics {
			out[t] = true
		}
	}
	return out
}

func (g *consumer) subscribed(topic string) bool {
	for _, m := range g.members {
		if _, found := slices.BinarySearch(m.topics, topic); found {
			return true
		}
		if _, found := slices.BinarySearch(g.regexes[m.regex].topics, topic); m.regex != "" && found {
			return true
		}
	}
	return false
}

// topicIDs are the topics that one member subscribes to and that exist, in the order of their names.
func (g *consumer) topicIDs(m *consumerMember, topics Topics) []TopicID {
	names := m.topics
	if more := g.regexes[m.regex].topics; m.regex != "" && len(more) > 0 {
		names = slices.Concat(names, more)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	out := make([]TopicID, 0, len(names))
	for _, name := range names {
		if id, _, ok := topics.Topic(name); ok {
			out = append(out, id)
		}
	}
	return out
}

// metadataHash changes when a topic that the group reads appears, goes, is made
// again or gets more partitions. 0: there is none.
func (g *consumer) metadataHash(topics Topics) int64 {
	h, found := fnv.New64a(), false
	for _, name := range slices.Sorted(maps.Keys(g.topicNames())) {
		id, partitions, ok := topics.Topic(name)
		if !ok {
			continue
		}
		found = true
		_, _ = h.Write(id[:])
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(partitions)))
	}
	if !found {
		return 0
	}
	return int64(h.Sum64())
}

// onlyClassicBut says that all members but those given speak the classic protocol.
func (g *consumer) onlyClassicBut(gone map[string]bool) bool {
	for id, m := range g.members {
		if m.classic == nil && !gone[id] {
			return false
		}
	}
	return true
}

// supports: a classic member with these protocols can be in one group with the
// classic members that are there.
func (g *consumer) supports(protocolType string, protocols []Protocol) bool {
	if protocolType != ConsumerProtocol {
		return false
	}
	return slices.ContainsFunc(protocols, func(p Protocol) bool {
		for _, m := range g.members {
			if m.classic != nil && !(&member{protocols: m.classic.protocols}).knows(p.Name) {
				return false
			}
		}
		return true
	})
}

// waitsForOthers: a partition of the member's target still belongs to another member.
func (g *consumer) waitsForOthers(m *consumerMember) bool {
	if m.state != UnreleasedPartition {
		return false
	}
	for t, ps := range g.target[m.id] {
		for _, p := range ps {
			if _, owned := g.owners[topicPartition{t, p}]; owned && !m.assigned.has(t, p) {
				return true
			}
		}
	}
	return false
}

// timer finds or makes a member's timers.
func (g *consumer) timer(id string) *timers {
	t := g.timers[id]
	if t == nil {
		t = &timers{session: never, rebalance: never, join: never, sync: never}
		g.timers[id] = t
	}
	return t
}

func (g *consumer) deadline() int64 {
	at := int64(never)
	for _, t := range g.timers {
		at = min(at, t.first())
	}
	return at
}

// Topics lists an assignment's topics in order of their ids.
func (a Assignment) Topics() []TopicID {
	return slices.SortedFunc(maps.Keys(a), func(x, y TopicID) int { return slices.Compare(x[:], y[:]) })
}

// add adds those partitions that exist.
func (a Assignment) add(t TopicID, partitions []int32, n int32) {
	for _, p := range partitions {
		if at, found := slices.BinarySearch(a[t], p); !found && p >= 0 && p < n {
			a[t] = slices.Insert(a[t], at, p)
		}
	}
}
