package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
)

// JoinGroup waits until the rebalance has gathered its members. The new member
// id is made here. With ErrMemberIDRequired the result has the id to join with.
func (b *Broker) JoinGroup(ctx context.Context, req group.JoinRequest) (*group.JoinResult, error) {
	if req.NewID == "" {
		req.NewID = b.newMemberID(req.InstanceID, req.ClientID)
	}
	if req.Reason != "" {
		b.cfg.Logger.Debug("a member joins", "group", req.Group, "member", req.MemberID, "client", req.ClientID, "reason", req.Reason)
	}
	r, err := b.await(ctx, req.Group, func(c *group.Core, t group.Token) group.Step { return c.Join(req, t, b.nowMS()) })
	return r.Join, err
}

// newMemberID is the instance's or client's name with a random part, as Kafka makes it.
func (b *Broker) newMemberID(instance, client string) string {
	if instance != "" {
		client = instance
	}
	return client + "-" + formatUUID(b.cfg.NewID())
}

// formatUUID is the textual form with hyphens.
func formatUUID(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// SyncGroup waits for the member's assignment; the leader's call carries everybody's.
func (b *Broker) SyncGroup(ctx context.Context, req group.SyncRequest) (*group.SyncResult, error) {
	r, err := b.await(ctx, req.Group, func(c *group.Core, t group.Token) group.Step { return c.Sync(req, t, b.nowMS()) })
	return r.Sync, err
}

// ConsumerHeartbeat is a heartbeat of the consumer protocol (KIP-848).
func (b *Broker) ConsumerHeartbeat(ctx context.Context, req group.HeartbeatRequest) (*group.HeartbeatResult, error) {
	if req.MemberID == "" {
		req.NewID = formatUUID(b.cfg.NewID())
	}
	r, err := b.await(ctx, req.Group, func(c *group.Core, t group.Token) group.Step { return c.ConsumerHeartbeat(req, t, b.nowMS()) })
	return r.Heartbeat, err
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
		b.groups.warnFull(name, err)
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

// fullEvery is the least time between two warnings of full groups, in milliseconds.
const fullEvery = 60_000

// warnFull tells the operator that members were refused for what they hold;
// seldom, as clients may try again for ever.
func (g *groups) warnFull(name string, err error) {
	if !errors.Is(err, group.ErrGroupBytes) {
		return
	}
	now, last := g.b.nowMS(), g.warned.Load()
	if last != 0 && now-last < fullEvery || !g.warned.CompareAndSwap(last, max(now, 1)) {
		return
	}
	g.b.cfg.Logger.Warn("a group is refused what its member brings (millstream.group.max.bytes, millstream.groups.max.bytes); not said again for a minute", "group", name, "err", err)
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
	err = s.core.Heartbeat(m.Group, m.Member, m.Instance, m.Generation, b.nowMS())
	b.groups.alarm(s.core)
	s.mu.Unlock()
	if err != nil {
		return groupError(m.Group, err)
	}
	return nil
}

// LeaveGroup takes members out at once, so that the others need not wait for
// their sessions. The errors are by leaver, in order; err is of the whole.
func (b *Broker) LeaveGroup(name string, leavers []group.Leaver) (errs []error, err error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	s, err := b.groups.of(name)
	if err != nil {
		return nil, err
	}
	for _, l := range leavers {
		if l.Reason != "" {
			b.cfg.Logger.Debug("a member leaves", "group", name, "member", l.MemberID, "instance", l.InstanceID, "reason", l.Reason)
		}
	}
	err = s.do(func(c *group.Core) (step group.Step) {
		step, errs = c.Leave(name, leavers, b.nowMS())
		return step
	})
	if err != nil {
		return errs, groupError(name, err)
	}
	return errs, nil
}

// GroupErr is why nothing is known of a group, whether it exists or not: its
// partition of __consumer_offsets is offline. nil if it is not.
func (b *Broker) GroupErr(name string) error {
	_, err := b.groups.existing(name)
	return err
}

// DescribeGroup tells of a group's members; false if there is no such group, and
// where GroupErr is one.
func (b *Broker) DescribeGroup(name string) (group.Info, bool) {
	s, err := b.groups.existing(name)
	if err != nil || s == nil {
		return group.Info{}, false
	}
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

// ListGroups lists the groups that are in one of the states and of one of the
// types, as Kafka names them (empty: any). Their members are left out.
func (b *Broker) ListGroups(states, types []string) []group.Info {
	var out []group.Info
	for _, s := range b.groups.all() {
		s.mu.Lock()
		out = append(out, s.core.List(states, types)...)
		s.mu.Unlock()
	}
	return out
}

// DeleteGroup forgets a group without members, and its offsets. ErrUnknownGroup,
// ErrGroupNotEmpty.
func (b *Broker) DeleteGroup(name string) error {
	if err := b.alive(); err != nil {
		return err
	}
	s, err := b.groups.existing(name)
	switch {
	case err != nil:
		return err
	case s == nil:
		return groupError(name, ErrUnknownGroup)
	}
	if err := s.do(func(c *group.Core) group.Step { return c.Delete(name) }); err != nil {
		return groupError(name, err)
	}
	return nil
}

// DeleteGroupOffsets forgets a group's offsets of topics that its members do not
// read. The errors are by partition, err is of the whole.
func (b *Broker) DeleteGroupOffsets(name string, tps []record.TopicPartition) (errs map[record.TopicPartition]error, err error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	s, err := b.groups.existing(name)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, groupError(name, ErrUnknownGroup)
	}
	err = s.do(func(c *group.Core) (step group.Step) {
		step, errs = c.OffsetDelete(name, tps)
		return step
	})
	if err != nil {
		return nil, groupError(name, err)
	}
	return errs, nil
}
