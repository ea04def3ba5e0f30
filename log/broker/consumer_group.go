package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
)

// membership of a consumer in its group. The heartbeat goroutine only looks at
// it and asks for a rejoin; joining is Poll's, so that Revoked and Assigned run there.
type membership struct {
	mu         sync.Mutex // guards what follows
	generation int32
	id         string
	rejoin     bool
	quit       chan struct{} // of the heartbeat goroutine; nil: there is none
	ended      chan struct{}
}

func (m *membership) identity() (generation int32, id, instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generation, m.id, ""
}

// askRejoin makes the next Poll join again; as a new member if the group forgot it.
func (m *membership) askRejoin(forgotten bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rejoin = true
	if forgotten {
		m.id = ""
	}
}

func (m *membership) wantsJoin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rejoin
}

// stop ends the heartbeats and waits for their goroutine.
func (m *membership) stop() {
	m.mu.Lock()
	quit, ended := m.quit, m.ended
	m.quit = nil
	m.mu.Unlock()
	if quit != nil {
		close(quit)
		<-ended
	}
}

// ensureMember joins, or joins again after a rebalance began.
func (c *Consumer) ensureMember(ctx context.Context) error {
	for c.member.wantsJoin() {
		if len(c.parts) > 0 && c.cfg.Revoked != nil {
			c.cfg.Revoked(c.Assignment())
		}
		tps, err := c.joinOnce(ctx)
		switch {
		case errors.Is(err, ErrRebalance), errors.Is(err, ErrIllegalGeneration):
			continue
		case errors.Is(err, ErrUnknownMember):
			c.member.askRejoin(true)
			continue
		case err != nil:
			return err
		}
		if err := c.assign(ctx, tps); err != nil {
			c.member.askRejoin(false)
			return err
		}
		if c.cfg.Assigned != nil {
			c.cfg.Assigned(tps)
		}
	}
	return nil
}

// joinOnce goes through one join and sync and returns the assignment.
func (c *Consumer) joinOnce(ctx context.Context) ([]record.TopicPartition, error) {
	_, id, _ := c.member.identity()
	req := group.JoinRequest{
		Group: c.cfg.Group, MemberID: id, InstanceID: c.cfg.Instance, ClientID: c.cfg.ClientID, ClientHost: "in-process",
		SessionMS: c.cfg.Session.Milliseconds(), RebalanceMS: max(c.cfg.Rebalance, c.cfg.Session).Milliseconds(), ProtocolType: group.ConsumerProtocol,
		Protocols: []group.Protocol{{Name: group.Range, Metadata: group.Subscription(c.cfg.Topics)}}, InProcess: true,
	}
	if req.MemberID == "" {
		req.NewID = c.b.newMemberID(req.InstanceID, req.ClientID)
		id = req.NewID
	}
	joined, err := c.b.JoinGroup(ctx, req)
	if err != nil {
		if ctx.Err() != nil && c.cfg.Instance == "" { // nobody waits for the answer any more
			c.member.askRejoin(true)
			_, _ = c.b.LeaveGroup(c.cfg.Group, []group.Leaver{{MemberID: id}})
		}
		return nil, err
	}
	c.member.mu.Lock()
	c.member.id, c.member.generation = joined.MemberID, joined.Generation
	c.member.mu.Unlock()
	c.startHeartbeats()
	var assignments map[string][]byte
	if joined.Leader == joined.MemberID {
		assignments, err = group.AssignRange(joined.Members, func(topic string) int32 {
			t, _ := c.b.Topic(topic)
			return t.Partitions
		})
		if err != nil {
			return nil, err
		}
	}
	m := c.Member()
	synced, err := c.b.SyncGroup(ctx, group.SyncRequest{Group: m.Group, Generation: m.Generation, MemberID: m.Member, InstanceID: m.Instance, Assignments: assignments})
	if err != nil {
		return nil, err
	}
	c.member.mu.Lock()
	c.member.rejoin = false
	c.member.mu.Unlock()
	return group.DecodeAssignment(synced.Assignment)
}

// startHeartbeats keeps the member alive from a goroutine, once.
func (c *Consumer) startHeartbeats() {
	m := &c.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.quit != nil {
		return
	}
	m.quit, m.ended = make(chan struct{}), make(chan struct{})
	go func(quit, ended chan struct{}) {
		defer close(ended)
		t := time.NewTicker(c.cfg.Heartbeat)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-c.b.done:
				return
			case <-t.C:
				c.beat()
			}
		}
	}(m.quit, m.ended)
}

// beat sends one heartbeat; a rebalance wakes the Poll that waits.
func (c *Consumer) beat() {
	if c.member.wantsJoin() {
		return // Poll is about to join anyway
	}
	err := c.b.Heartbeat(c.Member())
	switch {
	case err == nil:
		return
	case errors.Is(err, ErrUnknownMember):
		c.member.askRejoin(true)
	case errors.Is(err, ErrRebalance), errors.Is(err, ErrIllegalGeneration):
		c.member.askRejoin(false)
	}
	c.waiter.wake()
}
