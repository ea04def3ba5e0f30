package group

import (
	"bytes"
	"maps"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerProtocol is the protocol type of consumers (KIP-559).
const ConsumerProtocol = "consumer"

// never is a deadline that does not come.
const never = math.MaxInt64

// State of a group's membership. See the package comment for its life.
type State uint8

const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Assigning   // of consumer groups
	Reconciling // of consumer groups
)

func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Assigning", "Reconciling"}[s]
}

// Protocol is one way of assigning that a member knows, with what it tells the leader.
type Protocol struct {
	Name     string
	Metadata []byte
}

// member of a classic group.
//
// Invariant: joinToken is set only while PreparingRebalance, syncToken only
// while CompletingRebalance; who waits does not expire, unless it is new.
type member struct {
	id, instance         string
	clientID, clientHost string
	sessionMS            int64
	rebalanceMS          int64
	protocols            []Protocol
	assignment           []byte
	deadline             int64 // of the session
	joinToken, syncToken Token
	counted              int64 // of its size, in classic.held
	// fresh: it has not been part of a generation yet, so it cannot send heartbeats.
	fresh bool
	// lapsed: a generation has ended before its assignment came. The one before is
	// not shown any more, but counts for what the member may have still.
	lapsed bool
}

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func (m *member) knows(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol })
}

func (m *member) matches(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// excused: the member need not send heartbeats now.
func (m *member) excused() bool { return !m.fresh && (m.joinToken != nil || m.syncToken != nil) }

// answerJoin gives the member the answer that it waits for, if any.
func (m *member) answerJoin(s *Step, r *JoinResult, err error) {
	if m.joinToken != nil {
		s.reply(Reply{Token: m.joinToken, Join: r, Err: err})
		m.joinToken = nil
	}
}

// answerSync is answerJoin for sync; true if the member waited.
func (m *member) answerSync(s *Step, r *SyncResult, err error) bool {
	if m.syncToken == nil {
		return false
	}
	s.reply(Reply{Token: m.syncToken, Sync: r, Err: err})
	m.syncToken = nil
	return true
}

// classic is the membership of a classic group.
//
// Invariant: held is the sum of size over members and of pendingSize over
// pendingJoin; each member's counted is its size.
type classic struct {
	state, previous State
	generation      int32
	// floor is the generation that the log has, where that is above generation:
	// the group was a consumer group, and its members must rebalance even if the
	// broker restarts before they have.
	floor        int32
	protocolType string // "" of a group that only has offsets
	protocol     string
	leader       string
	members      map[string]*member
	// pendingJoin are member ids that were handed out and have not joined, by
	// when they expire (KIP-394).
	pendingJoin map[string]int64
	pendingSync map[string]bool // members of the generation that have not synced
	joinEnd     int64           // while PreparingRebalance: who has not joined by then is out
	syncEnd     int64           // who has not synced by then is out
	initial     struct {        // of the first rebalance: how long it waited and may wait
		delayMS, leftMS int64
		joined          bool // somebody joined since
	}
	// topics is what the members subscribed to; nil: not known, or more than are kept.
	topics  map[string]bool
	held    account
	logged  bool  // the log holds a group record
	sinceMS int64 // of the last change of state; -1: unknown
}

func newClassic() *classic {
	return &classic{members: map[string]*member{}, pendingJoin: map[string]int64{}, pendingSync: map[string]bool{}, joinEnd: never, syncEnd: never, sinceMS: -1}
}

func (k *classic) memberIDs() []string { return slices.Sorted(maps.Keys(k.members)) }

func (k *classic) become(s State, now int64) { k.previous, k.state, k.sinceMS = k.state, s, now }

// static finds the member with an instance id; nil if there is none.
func (k *classic) static(instance string) *member {
	if instance == "" {
		return nil
	}
	for _, m := range k.members {
		if m.instance == instance {
			return m
		}
	}
	return nil
}

// member finds a member by id; a static one must also have the instance's current id.
func (k *classic) member(id, instance string) (*member, error) {
	if instance != "" {
		switch cur := k.static(instance); {
		case cur == nil:
			return nil, ErrUnknownMember
		case cur.id != id:
			return nil, ErrFencedInstance
		}
	}
	if m := k.members[id]; m != nil {
		return m, nil
	}
	return nil, ErrUnknownMember
}

// remove takes a member out; the leader's successor is another member.
func (k *classic) remove(id string) {
	k.uncount(k.members[id])
	delete(k.members, id)
	k.unpend(id)
	delete(k.pendingSync, id)
	if k.leader == id {
		k.leader = ""
		if ids := k.memberIDs(); len(ids) > 0 {
			k.leader = ids[0]
		}
	}
}

// waiting counts the members that wait in join.
func (k *classic) waiting() int {
	n := 0
	for _, m := range k.members {
		if m.joinToken != nil {
			n++
		}
	}
	return n
}

func (k *classic) allJoined() bool {
	return len(k.pendingJoin) == 0 && k.waiting() == len(k.members)
}

func (k *classic) rebalanceMS() int64 {
	var longest int64
	for _, m := range k.members {
		longest = max(longest, m.rebalanceMS)
	}
	return longest
}

// supports: the type is the group's, and one of the protocols is known to everybody.
func (k *classic) supports(protocolType string, protocols []Protocol) bool {
	if k.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return k.protocolType == protocolType &&
		slices.ContainsFunc(protocols, func(p Protocol) bool { return k.allKnow(p.Name) })
}

func (k *classic) allKnow(protocol string) bool {
	for _, m := range k.members {
		if !m.knows(protocol) {
			return false
		}
	}
	return true
}

// vote picks the protocol that most members prefer of those that all know.
func (k *classic) vote() string {
	candidates, votes := map[string]bool{}, map[string]int{}
	for _, m := range k.members {
		for _, p := range m.protocols {
			if _, asked := candidates[p.Name]; !asked {
				candidates[p.Name] = k.allKnow(p.Name)
			}
			if candidates[p.Name] {
				votes[p.Name]++
				break
			}
		}
	}
	best := ""
	for _, name := range slices.Sorted(maps.Keys(votes)) {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// learnTopics computes what the members subscribe to. The oldest version of the
// consumer protocol is a prefix of all later ones.
func (k *classic) learnTopics() {
	k.topics = nil
	if k.protocolType != ConsumerProtocol || len(k.members) > 0 && k.protocol == "" {
		return
	}
	topics := map[string]bool{}
	for _, m := range k.members {
		sub, err := subscription(m.metadata(k.protocol))
		if err != nil {
			return
		}
		for _, t := range sub.Topics {
			topics[t] = true
		}
		if len(topics) > mostTopicsOf {
			return
		}
	}
	k.topics = topics
}

// subscription parses what a consumer tells the leader.
func subscription(metadata []byte) (kmsg.ConsumerMemberMetadata, error) {
	sub := kmsg.NewConsumerMemberMetadata()
	err := sub.ReadFrom(metadata)
	return sub, err
}

func (k *classic) joinResult(m *member) *JoinResult {
	r := &JoinResult{Generation: k.generation, Protocol: k.protocol, ProtocolType: k.protocolType, Leader: k.leader, MemberID: m.id}
	if m.id == k.leader {
		r.Members = k.joined()
	}
	return r
}

// joined is what the leader assigns by.
func (k *classic) joined() []JoinedMember {
	out := make([]JoinedMember, 0, len(k.members))
	for _, id := range k.memberIDs() {
		m := k.members[id]
		out = append(out, JoinedMember{m.id, m.instance, m.metadata(k.protocol)})
	}
	return out
}

func (k *classic) syncResult(m *member) *SyncResult {
	return &SyncResult{ProtocolType: k.protocolType, Protocol: k.protocol, Assignment: m.assignment}
}

func (k *classic) assignments() map[string][]byte {
	out := make(map[string][]byte, len(k.members))
	for id, m := range k.members {
		out[id] = m.assignment
	}
	return out
}

func (k *classic) deadline() int64 {
	at := min(k.joinEnd, k.syncEnd)
	for _, m := range k.members {
		at = min(at, m.deadline)
	}
	for _, d := range k.pendingJoin {
		at = min(at, d)
	}
	return at
}
