package group

import (
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// Config of a Core; times in milliseconds.
type Config struct {
	OffsetsRetentionMS int64
	// InitialDelayMS is how long the first rebalance of an empty group waits for
	// more members after each join.
	InitialDelayMS           int64
	MinSessionMS, MaxSession int64 // 0: no bound
}

// Core holds every group. Not safe for concurrent use.
type Core struct {
	cfg     Config
	groups  map[string]*group
	pending map[record.ProducerID]map[string]Offsets
}

// New makes an empty core.
func New(cfg Config) *Core {
	return &Core{cfg: cfg, groups: map[string]*group{}, pending: map[record.ProducerID]map[string]Offsets{}}
}

// Token names a request that waits for its reply; the caller chooses it.
type Token any

// Reply answers a waiting request.
type Reply struct {
	Token Token
	Join  *JoinResult // of Join
	// Assignment answers Sync.
	Assignment []byte
	Err        error
}

// Step is what an event leads to. With Err set nothing else is.
type Step struct {
	// Records to append in one batch, then call Done; none: call Done at once.
	Records []Record
	// Replies to give now, whatever becomes of the records.
	Replies []Reply
	Err     error
	done    func(base record.Offset, err error) []Reply
}

// Done tells the core what became of a step's records: their first offset, or
// the error of the append. It returns the replies to give once they are as
// durable as wanted.
func (c *Core) Done(s Step, base record.Offset, err error) []Reply {
	if s.done == nil {
		return nil
	}
	return s.done(base, err)
}

// group finds or makes a group.
func (c *Core) group(name string) *group {
	g := c.groups[name]
	if g == nil {
		g = newGroup(name, Offsets{})
		c.groups[name] = g
	}
	return g
}

func (c *Core) names() []string { return slices.Sorted(maps.Keys(c.groups)) }

// Info describes a group.
type Info struct {
	Name         string
	State        State
	Generation   int32
	ProtocolType string
	Protocol     string
	Leader       string
	Members      []MemberInfo
}

// MemberInfo describes a member.
type MemberInfo struct {
	ID, Instance, ClientID, ClientHost string
	Metadata, Assignment               []byte
}

// Describe tells of a group; false if there is none.
func (c *Core) Describe(name string) (Info, bool) {
	g := c.groups[name]
	if g == nil {
		return Info{}, false
	}
	info := Info{Name: name, State: g.state, Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader}
	for _, id := range g.memberIDs() {
		m := g.members[id]
		info.Members = append(info.Members, MemberInfo{m.id, m.instance, m.clientID, m.clientHost, m.metadata(g.protocol), m.assignment})
	}
	return info, true
}

// Names lists the groups.
func (c *Core) Names() []string { return c.names() }

func compare(a, b record.TopicPartition) int {
	switch {
	case a.Topic < b.Topic:
		return -1
	case a.Topic > b.Topic:
		return 1
	}
	return int(a.Partition) - int(b.Partition)
}

func sorted(o Offsets) []record.TopicPartition {
	tps := slices.Collect(maps.Keys(o))
	slices.SortFunc(tps, compare)
	return tps
}
