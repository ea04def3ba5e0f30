package group

import (
	"slices"
	"strings"
)

// Types of groups, as Kafka names them.
const (
	TypeClassic  = "classic"
	TypeConsumer = "consumer"
)

// Info describes a group.
type Info struct {
	Name         string
	Type         string
	State        State
	Generation   int32 // or epoch
	ProtocolType string
	Protocol     string
	Leader       string
	Members      []MemberInfo
	// Of consumer groups:
	AssignmentEpoch int32
	Assignor        string
}

// MemberInfo describes a member.
type MemberInfo struct {
	ID, Instance, ClientID, ClientHost string
	Metadata, Assignment               []byte // of classic groups
	// Of consumer groups:
	Rack, Regex string
	Epoch       int32
	Topics      []string
	Has, Target Assignment
	Classic     bool // it speaks the classic protocol
}

// Describe tells of a group; false if there is none.
func (c *Core) Describe(name string) (Info, bool) {
	g := c.groups[name]
	if g == nil {
		return Info{}, false
	}
	if g.consumer != nil {
		return g.consumer.describe(name, c.cfg.Assignors), true
	}
	k := g.classic
	info := Info{Name: name, Type: TypeClassic, State: k.state, Generation: k.generation, ProtocolType: k.protocolType, Protocol: k.protocol, Leader: k.leader}
	for _, id := range k.memberIDs() {
		m := k.members[id]
		shown := MemberInfo{ID: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost, Metadata: m.metadata(k.protocol)}
		if !m.lapsed {
			shown.Assignment = m.assignment
		}
		info.Members = append(info.Members, shown)
	}
	return info, true
}

func (g *consumer) describe(name string, assignors []string) Info {
	info := Info{Name: name, Type: TypeConsumer, State: g.state(), Generation: g.epoch, ProtocolType: ConsumerProtocol, AssignmentEpoch: g.targetEpoch, Assignor: g.assignor(assignors)}
	for _, id := range g.memberIDs() {
		m := g.members[id]
		has := m.assigned.assignment()
		for t, ps := range m.pending.assignment() {
			has[t] = append(slices.Clone(has[t]), ps...)
			slices.Sort(has[t])
		}
		info.Members = append(info.Members, MemberInfo{
			ID: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost, Rack: m.rack, Regex: m.regex,
			Epoch: m.epoch, Topics: m.topics, Has: has, Target: g.target[id], Classic: m.classic != nil,
		})
	}
	return info
}

// Names lists the groups.
func (c *Core) Names() []string { return c.names() }

// List lists the groups that are in one of the states and of one of the types
// (empty: any), whatever the case of the letters. Members are left out.
func (c *Core) List(states, types []string) []Info {
	in := func(wanted []string, found string) bool {
		return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(strings.TrimSpace(w), found) })
	}
	var out []Info
	for _, name := range c.names() {
		g := c.groups[name]
		info := Info{Name: name, Type: TypeConsumer, ProtocolType: ConsumerProtocol}
		if g.consumer != nil {
			info.State = g.consumer.state()
		} else {
			info.Type, info.ProtocolType, info.State = TypeClassic, g.classic.protocolType, g.classic.state
		}
		if in(states, info.State.String()) && in(types, info.Type) {
			out = append(out, info)
		}
	}
	return out
}
