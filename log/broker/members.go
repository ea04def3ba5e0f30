package broker

import (
	"context"
	"time"

	"github.com/millstream-io/millstream/log/internal/group"
)

// JoinRequest asks to become, or stay, a member of a group (classic protocol).
type JoinRequest struct {
	Group        string
	Member       string // empty for a new member
	Instance     string // group.instance.id of a static member, or empty
	ClientID     string
	Session      time.Duration // without a heartbeat for so long, the member is out
	Rebalance    time.Duration // how long it has to join again; at least Session
	ProtocolType string
	Protocols    []group.Protocol // in order of preference
}

// JoinGroup waits until the rebalance has gathered its members.
func (b *Broker) JoinGroup(ctx context.Context, req JoinRequest) (*group.JoinResult, error) {
	newID := req.Member
	if newID == "" {
		newID = req.ClientID + "-" + formatID(b.cfg.NewID())
	}
	r, err := b.await(ctx, req.Group, func(c *group.Core, t group.Token) group.Step {
		return c.Join(group.JoinRequest{
			Group: req.Group, MemberID: req.Member, NewID: newID, InstanceID: req.Instance, ClientID: req.ClientID, ClientHost: "in-process",
			SessionMS: req.Session.Milliseconds(), RebalanceMS: req.Rebalance.Milliseconds(), ProtocolType: req.ProtocolType, Protocols: req.Protocols,
		}, t, b.nowMS())
	})
	if err != nil {
		if ctx.Err() != nil && req.Instance == "" {
			_ = b.LeaveGroup(GroupMember{Group: req.Group, Member: newID})
		}
		return nil, err
	}
	return r.Join, nil
}

// SyncGroup waits for the member's assignment; the leader's call carries everybody's.
func (b *Broker) SyncGroup(ctx context.Context, m GroupMember, assignments map[string][]byte) ([]byte, error) {
	r, err := b.await(ctx, m.Group, func(c *group.Core, t group.Token) group.Step {
		return c.Sync(group.SyncRequest{Group: m.Group, Generation: m.Generation, MemberID: m.Member, InstanceID: m.Instance, Assignments: assignments}, t, b.nowMS())
	})
	return r.Assignment, err
}

// await runs an event whose reply may come much later.
func (b *Broker) await(ctx context.Context, name string, event func(*group.Core, group.Token) group.Step) (group.Reply, error) {
	if err := b.alive(); err != nil {
		return group.Reply{}, err
	}
	s, err := b.groups.of(name)
	if err != nil {
		return group.Reply{}, err
	}
	c := make(chan group.Reply, 1)
	if err := s.do(func(core *group.Core) group.Step { return event(core, c) }); err != nil {
		return group.Reply{}, groupError(name, err)
	}
	select {
	case r := <-c:
		if r.Err != nil {
			return r, groupError(name, r.Err)
		}
		return r, nil
	case <-b.done:
		return group.Reply{}, ErrClosed
	case <-ctx.Done():
		return group.Reply{}, ctx.Err()
	}
}

// Heartbeat keeps a member alive; ErrRebalance tells it to join again.
func (b *Broker) Heartbeat(m GroupMember) error {
	if err := b.alive(); err != nil {
		return err
	}
	s, err := b.groups.of(m.Group)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.core.Heartbeat(m.Group, m.Member, m.Instance, m.Generation, b.nowMS()); err != nil {
		return groupError(m.Group, err)
	}
	return nil
}

// LeaveGroup takes a member out at once, so that the others need not wait for its session.
func (b *Broker) LeaveGroup(m GroupMember) error {
	if err := b.alive(); err != nil {
		return err
	}
	s, err := b.groups.of(m.Group)
	if err != nil {
		return err
	}
	if err := s.do(func(c *group.Core) group.Step { return c.Leave(m.Group, m.Member, m.Instance, b.nowMS()) }); err != nil {
		return groupError(m.Group, err)
	}
	return nil
}

// DescribeGroup tells of a group's members; false if there is no such group.
func (b *Broker) DescribeGroup(name string) (group.Info, bool) {
	p, err := b.internalPartition(offsetsTopic, name)
	if err != nil {
		return group.Info{}, false
	}
	s := b.groups.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Describe(name)
}

// Groups lists the groups that have members or offsets.
func (b *Broker) Groups() []string {
	var out []string
	for _, s := range b.groups.all() {
		s.mu.Lock()
		out = append(out, s.core.Names()...)
		s.mu.Unlock()
	}
	return out
}
