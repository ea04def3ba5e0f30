package group

import (
	"fmt"
	"sync/atomic"
)

// Memory is the bytes that the members of all groups of a broker hold; its
// cores share it. Safe for concurrent use.
//
// Invariant: between steps it is the sum of the accounts of all groups.
type Memory struct{ used atomic.Int64 }

// Used is the bytes that members hold: ids, subscriptions with their user data,
// assignments.
func (m *Memory) Used() int64 { return m.used.Load() }

// account is the bytes that the members of one group hold.
//
// Invariant: while it is a group's membership's, its bytes are in total too;
// that of a draft is only its own.
type account struct {
	bytes int64
	total *Memory
}

func (a *account) add(n int64) {
	a.bytes += n
	if a.total != nil {
		a.total.used.Add(n)
	}
}

func (a *account) attach(m *Memory) {
	a.total = m
	m.used.Add(a.bytes)
}

func (a *account) detach() {
	if a.total != nil {
		a.total.used.Add(-a.bytes)
		a.total = nil
	}
}

// held is the account of the group's membership.
func (g *group) held() *account {
	if g.consumer != nil {
		return &g.consumer.held
	}
	return &g.classic.held
}

// setMembership makes one of the two the group's membership.
func (c *Core) setMembership(g *group, k *classic, u *consumer) {
	g.held().detach()
	g.classic, g.consumer = k, u
	g.held().attach(c.cfg.Memory)
}

// fits refuses a request that makes the members of a group (nil: a new one)
// hold more bytes than they may. Who asks for no more is never refused. Cores
// that run at the same time may each let one request more in.
func (c *Core) fits(g *group, more int64) error {
	if more <= 0 {
		return nil
	}
	var held int64
	if g != nil {
		held = g.held().bytes
	}
	if held+more > c.cfg.MaxBytes {
		return fmt.Errorf("%w: its members hold %d bytes, %d more would be above the %d of a group", ErrGroupBytes, held, more, c.cfg.MaxBytes)
	}
	if all := c.cfg.Memory.Used(); all+more > c.cfg.MaxAllBytes {
		return fmt.Errorf("%w: the members of all groups hold %d bytes, %d more would be above the %d of the broker", ErrGroupBytes, all, more, c.cfg.MaxAllBytes)
	}
	return nil
}

// What things take beyond their bytes, roughly: structures, entries of maps, timers.
const (
	memberCost   = 512
	pendingCost  = 128
	elementCost  = 64 // a protocol, an expression
	topicCost    = 32
	mostTopicsOf = 100_000 // see classic.topics
)

func pendingSize(id string) int64 { return pendingCost + int64(len(id)) }

func protocolsSize(protocols []Protocol) int64 {
	var n int64
	for _, p := range protocols {
		n += elementCost + int64(len(p.Name)+len(p.Metadata))
	}
	return n
}

func topicsSize(topics []string) int64 {
	var n int64
	for _, t := range topics {
		n += topicCost + int64(len(t))
	}
	return n
}

func (m *member) size() int64 {
	return memberCost + int64(len(m.id)+len(m.instance)+len(m.clientID)+len(m.clientHost)+len(m.assignment)) + protocolsSize(m.protocols)
}

// count brings the account up to date after a change of the member.
func (k *classic) count(m *member) {
	n := m.size()
	k.held.add(n - m.counted)
	m.counted = n
}

// uncount: the member, nil for none, is no longer in the group.
func (k *classic) uncount(m *member) {
	if m != nil {
		k.held.add(-m.counted)
		m.counted = 0
	}
}

// pend remembers an id that was handed out.
func (k *classic) pend(id string, until int64) {
	k.unpend(id)
	k.pendingJoin[id] = until
	k.held.add(pendingSize(id))
}

func (k *classic) unpend(id string) {
	if _, ok := k.pendingJoin[id]; ok {
		delete(k.pendingJoin, id)
		k.held.add(-pendingSize(id))
	}
}

// growth is how many bytes more the group holds once the request is served.
func (k *classic) growth(req *JoinRequest) int64 {
	wants := protocolsSize(req.Protocols)
	fresh := memberCost + int64(len(req.NewID)+len(req.InstanceID)+len(req.ClientID)+len(req.ClientHost)) + wants
	old := k.members[req.MemberID]
	if req.MemberID == "" {
		old = k.static(req.InstanceID)
	}
	_, pending := k.pendingJoin[req.MemberID]
	switch {
	case old != nil:
		return wants - protocolsSize(old.protocols)
	case pending:
		return fresh - pendingSize(req.MemberID)
	case req.MemberID != "":
		return 0 // nobody's: another error
	case req.InstanceID == "" && req.NeedKnownID:
		return pendingSize(req.NewID)
	}
	return fresh
}

// assignmentGrowth is how many bytes more the group holds with other assignments.
func (k *classic) assignmentGrowth(assignments map[string][]byte) int64 {
	var n int64
	for id, m := range k.members {
		n += int64(len(assignments[id]) - len(m.assignment))
	}
	return n
}

// size leaves out what the server computes, which the number of partitions bounds.
func (m *consumerMember) size() int64 {
	n := memberCost + int64(len(m.id)+len(m.instance)+len(m.rack)+len(m.clientID)+len(m.clientHost)+len(m.regex)+len(m.assignor)) + topicsSize(m.topics)
	if m.classic != nil {
		n += protocolsSize(m.classic.protocols)
	}
	return n
}

func (g *consumer) putRegex(regex string, r resolved) {
	g.removeRegex(regex)
	g.regexes[regex] = r
	g.held.add(regexSize(regex, r))
}

func (g *consumer) removeRegex(regex string) {
	if r, ok := g.regexes[regex]; ok {
		delete(g.regexes, regex)
		g.held.add(-regexSize(regex, r))
	}
}

func regexSize(regex string, r resolved) int64 {
	return elementCost + int64(len(regex)) + topicsSize(r.topics)
}

// fits refuses a member's request for which the group would hold too much.
func (d *draft) fits(m, next *consumerMember, changed bool) error {
	if !changed && next.size() <= m.size() {
		return nil // what grows is what others brought
	}
	g := d.c.groups[d.name]
	more := d.will.held.bytes
	if g != nil {
		more -= g.held().bytes
	}
	return d.c.fits(g, more)
}
