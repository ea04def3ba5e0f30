package group

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// State of a group's membership. See the package comment for its life.
type State uint8

const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
)

func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// Protocol is one way of assigning that a member knows, with what it tells the leader.
type Protocol struct {
	Name     string
	Metadata []byte
}

// member of a group.
//
// Invariant: joinToken is set only while PreparingRebalance, syncToken only
// while CompletingRebalance; who waits does not expire.
type member struct {
	id, instance         string
	clientID, clientHost string
	sessionMS            int64
	rebalanceMS          int64
	protocols            []Protocol
	assignment           []byte
	deadline             int64 // of the session
	joinToken, syncToken Token
}

func (m *member) seen(now int64) { m.deadline = now + m.sessionMS }

func (m *member) waits() bool { return m.joinToken != nil || m.syncToken != nil }

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

type group struct {
	name         string
	state        State
	generation   int32
	protocolType string
	protocol     string
	leader       string
	members      map[string]*member
	offsets      Offsets
	logged       bool  // the log holds a group record
	sinceMS      int64 // of the last change of state that is in the log
	rebalanceEnd int64 // while PreparingRebalance: who has not joined by then is out
	initialEnd   int64 // of the first rebalance: nobody is answered before
}

func newGroup(name string, offsets Offsets) *group {
	return &group{name: name, members: map[string]*member{}, offsets: offsets}
}

func (g *group) memberIDs() []string { return slices.Sorted(maps.Keys(g.members)) }

// member finds a member by id; a static one must also have the instance's current id.
func (g *group) member(id, instance string) (*member, error) {
	if instance != "" {
		if cur := g.static(instance); cur != nil && cur.id != id {
			return nil, ErrFencedInstance
		}
	}
	m := g.members[id]
	if m == nil {
		return nil, ErrUnknownMember
	}
	return m, nil
}

func (g *group) static(instance string) *member {
	for _, m := range g.members {
		if instance != "" && m.instance == instance {
			return m
		}
	}
	return nil
}

// JoinRequest joins a group.
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
}

// JoinResult answers Join.
type JoinResult struct {
	Generation   int32
	Protocol     string
	ProtocolType string
	Leader       string
	MemberID     string
	Members      []JoinedMember // for the leader only
}

// JoinedMember is what the leader assigns by.
type JoinedMember struct {
	ID, Instance string
	Metadata     []byte
}

// Join answers JoinGroup; the reply comes when the rebalance has gathered its members.
func (c *Core) Join(req JoinRequest, token Token, now int64) Step {
	switch {
	case req.SessionMS < c.cfg.MinSessionMS || c.cfg.MaxSession > 0 && req.SessionMS > c.cfg.MaxSession:
		return Step{Err: ErrInvalidSessionTimeout}
	case len(req.Protocols) == 0:
		return Step{Err: ErrInconsistentProtocol}
	}
	g := c.group(req.Group)
	if len(g.members) > 0 && !g.compatible(req) {
		return Step{Err: ErrInconsistentProtocol}
	}
	var step Step
	var m *member
	switch {
	case req.MemberID != "":
		var err error
		if m, err = g.member(req.MemberID, req.InstanceID); err != nil {
			return Step{Err: err}
		}
	default:
		if m = g.static(req.InstanceID); m != nil { // KIP-345: the new process takes the place
			step.Replies = append(step.Replies, m.drop(ErrFencedInstance)...)
			delete(g.members, m.id)
			if g.leader == m.id {
				g.leader = req.NewID
			}
			m.id = req.NewID
		} else {
			m = &member{id: req.NewID, instance: req.InstanceID}
		}
	}
	same := m.joined() && slices.EqualFunc(m.protocols, req.Protocols, equalProtocol)
	fresh := g.members[m.id] == nil
	g.members[m.id] = m
	m.clientID, m.clientHost, m.sessionMS, m.rebalanceMS, m.protocols = req.ClientID, req.ClientHost, req.SessionMS, max(req.RebalanceMS, req.SessionMS), req.Protocols
	g.protocolType = req.ProtocolType
	m.seen(now)
	// A known member that asks again gets the answer it may have missed; the
	// leader of a stable group forces a rebalance by asking (its topics changed).
	if same && !fresh && (g.state == CompletingRebalance || g.state == Stable && m.id != g.leader) {
		step.Replies = append(step.Replies, Reply{Token: token, Join: g.joinResult(m)})
		return step
	}
	step.Replies = append(step.Replies, c.rebalance(g, now)...)
	m.joinToken = token
	if g.initialEnd > 0 {
		g.initialEnd = min(now+c.cfg.InitialDelayMS, g.rebalanceEnd)
	}
	return c.tryCompleteJoin(g, step, now)
}

// joined says that the member has been part of a rebalance (it has protocols).
func (m *member) joined() bool { return len(m.protocols) > 0 }

func equalProtocol(a, b Protocol) bool {
	return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
}

// drop answers whatever a member waits for.
func (m *member) drop(err error) []Reply {
	var out []Reply
	for _, t := range []Token{m.joinToken, m.syncToken} {
		if t != nil {
			out = append(out, Reply{Token: t, Err: err})
		}
	}
	m.joinToken, m.syncToken = nil, nil
	return out
}

// compatible: same type, and one protocol that everybody knows.
func (g *group) compatible(req JoinRequest) bool {
	if g.protocolType != req.ProtocolType {
		return false
	}
	return slices.ContainsFunc(req.Protocols, func(p Protocol) bool {
		for _, m := range g.members {
			if m.id != req.MemberID && m.metadata(p.Name) == nil {
				return false
			}
		}
		return true
	})
}

// rebalance begins one if none is going on. Who waits in sync must join again.
func (c *Core) rebalance(g *group, now int64) []Reply {
	if g.state == PreparingRebalance {
		return nil
	}
	var out []Reply
	for _, id := range g.memberIDs() {
		out = append(out, g.members[id].drop(ErrRebalanceInProgress)...)
	}
	g.initialEnd = 0
	if g.state == Empty && c.cfg.InitialDelayMS > 0 {
		g.initialEnd = now + c.cfg.InitialDelayMS
	}
	g.state = PreparingRebalance
	var longest int64
	for _, m := range g.members {
		longest = max(longest, m.rebalanceMS)
	}
	g.rebalanceEnd = now + longest
	return out
}

// tryCompleteJoin ends the gathering when everybody joined or time is over.
func (c *Core) tryCompleteJoin(g *group, step Step, now int64) Step {
	if g.state != PreparingRebalance || now < g.initialEnd {
		return step
	}
	missing := false
	for _, m := range g.members {
		missing = missing || m.joinToken == nil
	}
	if missing && now < g.rebalanceEnd {
		return step
	}
	for _, id := range g.memberIDs() {
		if g.members[id].joinToken == nil {
			delete(g.members, id)
		}
	}
	g.generation++
	g.initialEnd = 0
	if len(g.members) == 0 {
		return c.emptied(g, step, now)
	}
	if g.members[g.leader] == nil {
		g.leader = g.memberIDs()[0]
	}
	g.protocol = g.vote()
	g.state = CompletingRebalance
	for _, id := range g.memberIDs() {
		m := g.members[id]
		step.Replies = append(step.Replies, Reply{Token: m.joinToken, Join: g.joinResult(m)})
		m.joinToken = nil
		m.seen(now)
	}
	return step
}

// emptied records that the last member is gone, which is when the offsets begin to age.
func (c *Core) emptied(g *group, step Step, now int64) Step {
	g.state, g.leader, g.protocol = Empty, "", ""
	rec := g.metadataRecord(nil, now)
	before := step.done
	step.Records = append(step.Records, rec)
	step.done = func(base record.Offset, err error) []Reply {
		g.sinceMS = now
		g.logged = g.logged || err == nil
		if before != nil {
			return before(base, err)
		}
		return nil
	}
	return step
}

// vote picks the protocol that most members prefer of those that all know.
func (g *group) vote() string {
	votes := map[string]int{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.allKnow(p.Name) {
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

func (g *group) allKnow(protocol string) bool {
	for _, m := range g.members {
		if !slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol }) {
			return false
		}
	}
	return true
}

func (g *group) joinResult(m *member) *JoinResult {
	r := &JoinResult{Generation: g.generation, Protocol: g.protocol, ProtocolType: g.protocolType, Leader: g.leader, MemberID: m.id}
	if m.id == g.leader {
		for _, id := range g.memberIDs() {
			o := g.members[id]
			r.Members = append(r.Members, JoinedMember{o.id, o.instance, o.metadata(g.protocol)})
		}
	}
	return r
}

// SyncRequest asks for the assignment; the leader's carries everybody's.
type SyncRequest struct {
	Group       string
	Generation  int32
	MemberID    string
	InstanceID  string
	Assignments map[string][]byte
}

// Sync answers SyncGroup; the reply comes when the leader has synced and the
// group's record is written.
func (c *Core) Sync(req SyncRequest, token Token, now int64) Step {
	g, m, err := c.current(req.Group, req.MemberID, req.InstanceID, req.Generation)
	if err != nil {
		return Step{Err: err}
	}
	m.seen(now)
	switch g.state {
	case PreparingRebalance:
		return Step{Err: ErrRebalanceInProgress}
	case Stable:
		return Step{Replies: []Reply{{Token: token, Assignment: m.assignment}}}
	}
	m.syncToken = token
	if m.id != g.leader {
		return Step{}
	}
	generation := g.generation
	return Step{Records: []Record{g.metadataRecord(req.Assignments, now)}, done: func(_ record.Offset, err error) []Reply {
		if g.state != CompletingRebalance || g.generation != generation {
			return nil // a rebalance came between; everybody was told
		}
		return g.synced(req.Assignments, now, err)
	}}
}

// synced hands the assignment to everybody who waits for it.
func (g *group) synced(assignments map[string][]byte, now int64, err error) []Reply {
	if err != nil { // nobody has it: the leader may try again, the others keep waiting
		return g.members[g.leader].drop(err)
	}
	g.state, g.logged, g.sinceMS = Stable, true, now
	var out []Reply
	for _, id := range g.memberIDs() {
		m := g.members[id]
		m.assignment = assignments[id]
		if m.syncToken != nil {
			out = append(out, Reply{Token: m.syncToken, Assignment: m.assignment})
			m.syncToken = nil
			m.seen(now)
		}
	}
	return out
}

// current finds the member and checks its generation.
func (c *Core) current(name, id, instance string, generation int32) (*group, *member, error) {
	g := c.groups[name]
	if g == nil {
		return nil, nil, fmt.Errorf("%w %s", ErrUnknownMember, id)
	}
	m, err := g.member(id, instance)
	if err != nil {
		return nil, nil, err
	}
	if generation != g.generation {
		return nil, nil, ErrIllegalGeneration
	}
	return g, m, nil
}

// Heartbeat keeps a member alive; ErrRebalanceInProgress tells it to join again.
func (c *Core) Heartbeat(name, id, instance string, generation int32, now int64) error {
	g, m, err := c.current(name, id, instance, generation)
	if err != nil {
		return err
	}
	m.seen(now)
	if g.state == PreparingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}

// Leave takes a member out at once.
func (c *Core) Leave(name, id, instance string, now int64) Step {
	g := c.groups[name]
	if g == nil {
		return Step{Err: ErrUnknownMember}
	}
	m := g.static(instance)
	if m == nil || id != "" {
		var err error
		if m, err = g.member(id, instance); err != nil {
			return Step{Err: err}
		}
	}
	return c.remove(g, m, ErrUnknownMember, Step{}, now)
}

// remove takes a member out and lets the rest rebalance.
func (c *Core) remove(g *group, m *member, why error, step Step, now int64) Step {
	step.Replies = append(step.Replies, m.drop(why)...)
	delete(g.members, m.id)
	step.Replies = append(step.Replies, c.rebalance(g, now)...)
	if len(g.members) == 0 {
		g.rebalanceEnd, g.initialEnd = now, 0
	}
	return c.tryCompleteJoin(g, step, now)
}

// Tick expires sessions, ends rebalances that are over time and forgets old
// offsets. Each step's records are appended on their own; Group is whose.
func (c *Core) Tick(now int64) []GroupStep {
	var out []GroupStep
	for _, name := range c.names() {
		g := c.groups[name]
		step := Step{}
		for _, id := range g.memberIDs() {
			if m := g.members[id]; m != nil && !m.waits() && m.deadline <= now {
				step = c.remove(g, m, ErrUnknownMember, step, now)
			}
		}
		step = c.tryCompleteJoin(g, step, now)
		if len(step.Records)+len(step.Replies) > 0 {
			out = append(out, GroupStep{name, step})
		}
	}
	if s := c.expire(now); len(s.Records) > 0 {
		out = append(out, GroupStep{"", s})
	}
	return out
}

// GroupStep is a step of one group; expiry is of several, Group is empty.
type GroupStep struct {
	Group string
	Step
}

// Deadline is the earliest time at which Tick has something to do for
// memberships; false if never.
func (c *Core) Deadline() (int64, bool) {
	at, found := int64(math.MaxInt64), false
	earlier := func(t int64) { at, found = min(at, t), true }
	for _, g := range c.groups {
		if g.state == PreparingRebalance {
			earlier(g.rebalanceEnd)
			if g.initialEnd > 0 {
				earlier(g.initialEnd)
			}
		}
		for _, m := range g.members {
			if !m.waits() {
				earlier(m.deadline)
			}
		}
	}
	return at, found
}
