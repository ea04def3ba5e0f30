package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type joinArgs struct {
	Member, Group, Protocol, Instance string
	Topics                            []string
}

// member is a consumer in a group that commits what it has seen after each record.
type member struct {
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	done  chan struct{}

	mu       sync.Mutex
	assigned []string
	seen     []record
	revoked  int
	fault    error
}

func (d *driver) join(a joinArgs) (any, error) {
	c := config()
	if a.Protocol != "eager" {
		return nil, fmt.Errorf("sarama has no protocol %s", a.Protocol)
	}
	c.ClientID = a.Member
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.InstanceId = a.Instance
	g, err := sarama.NewConsumerGroup(d.brokers, a.Group, c)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: g, stop: stop, done: make(chan struct{})}
	d.members[a.Member] = m
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, a.Topics, m); err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
				m.mu.Lock()
				m.fault = err
				m.mu.Unlock()
				return
			}
		}
	}()
	return nil, nil
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, partitions := range s.Claims() {
		for _, p := range partitions {
			m.assigned = append(m.assigned, fmt.Sprintf("%s-%d", topic, p))
		}
	}
	slices.Sort(m.assigned)
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked += len(m.assigned)
	m.assigned = nil
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for r := range claim.Messages() {
		m.mu.Lock()
		m.seen = append(m.seen, decode(r))
		m.mu.Unlock()
		s.MarkMessage(r, "")
		if r.Offset+1 >= claim.HighWaterMarkOffset() {
			s.Commit()
		}
	}
	s.Commit()
	return nil
}

type state struct {
	Assigned []string `json:"assigned"`
	Seen     int      `json:"seen"`
	Revoked  int      `json:"revoked"`
	Fault    string   `json:"fault"`
}

func (d *driver) states(struct{}) (any, error) {
	all := map[string]state{}
	for name, m := range d.members {
		m.mu.Lock()
		s := state{Assigned: slices.Clone(m.assigned), Seen: len(m.seen), Revoked: m.revoked}
		if m.fault != nil {
			s.Fault = m.fault.Error()
		}
		m.mu.Unlock()
		all[name] = s
	}
	return all, nil
}

func (d *driver) leave(a struct{ Member string }) (any, error) {
	m := d.members[a.Member]
	delete(d.members, a.Member)
	m.stop()
	select {
	case <-m.done:
	case <-time.After(patience):
		return nil, errors.New("the member did not end")
	}
	if err := m.group.Close(); err != nil {
		return nil, err
	}
	return m.seen, m.fault
}

type relayArgs struct {
	TxID, Group, From, To    string
	Batch, AbortEvery, Until int
}

// relay copies a topic, exactly once: outputs and input offsets in one
// transaction; some are aborted and done again. sarama's consumer groups cannot
// go back to a position, so it reads the partitions itself.
func (d *driver) relay(a relayArgs) (any, error) {
	in, err := d.read(readArgs{Topic: a.From, Isolation: "read_committed"})
	if err != nil {
		return nil, err
	}
	p, err := d.transactional(a.TxID)
	if err != nil {
		return nil, err
	}
	copied, aborted, n := 0, 0, 0
	for rest := in.([]record); len(rest) > 0; {
		batch := rest[:min(a.Batch, len(rest))]
		if err := p.BeginTxn(); err != nil {
			return nil, err
		}
		if _, err := send(p, a.To, batch); err != nil {
			return nil, err
		}
		next := map[int32]int64{}
		for _, r := range batch {
			next[r.Partition] = r.Offset + 1
		}
		var offsets []*sarama.PartitionOffsetMetadata
		for q, o := range next {
			offsets = append(offsets, &sarama.PartitionOffsetMetadata{Partition: q, Offset: o})
		}
		if err := p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{a.From: offsets}, a.Group); err != nil {
			return nil, err
		}
		if n++; n%a.AbortEvery == 0 {
			if err := p.AbortTxn(); err != nil {
				return nil, err
			}
			aborted++
			continue
		}
		if err := p.CommitTxn(); err != nil {
			return nil, err
		}
		copied += len(batch)
		rest = rest[len(batch):]
	}
	return map[string]int{"copied": copied, "aborted": aborted}, p.Close()
}
