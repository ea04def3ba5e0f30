package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Start says where a consumer begins in a partition for which its group has no offset.
type Start struct {
	kind startKind
	at   time.Time
	per  map[record.TopicPartition]record.Offset
}

type startKind uint8

const (
	fromStart startKind = iota
	fromEnd
	fromTime
	fromOffsets
)

// FromStart begins at the log start (the default).
func FromStart() Start { return Start{} }

// FromEnd begins with what is appended after the partition was assigned.
func FromEnd() Start { return Start{kind: fromEnd} }

// FromTime begins at the first record whose timestamp is at or after t.
func FromTime(t time.Time) Start { return Start{kind: fromTime, at: t} }

// FromOffsets begins at given offsets; a partition without one begins at its start.
func FromOffsets(o map[record.TopicPartition]record.Offset) Start {
	return Start{kind: fromOffsets, per: o}
}

// ConsumerConfig makes a consumer. Topics with a Group share the partitions
// among the group's members; Topics without one reads all partitions;
// Partitions reads just those, and with a Group only commits there.
type ConsumerConfig struct {
	Group      string
	Topics     []string
	Partitions []record.TopicPartition
	Instance   string // group.instance.id of a static member (KIP-345)
	ClientID   string // "millstream"

	Start           Start
	ReadUncommitted bool // default: read_committed
	MaxPollBytes    int  // about, per Poll; 1 MiB

	Session   time.Duration // 45 s: a member that is not heard of is out
	Heartbeat time.Duration // Session / 15
	Rebalance time.Duration // 60 s to join again

	// Revoked is called from Poll, before partitions go to another member: the
	// last moment to commit. Assigned is called after; nil is off.
	Revoked, Assigned func([]record.TopicPartition)
}

// Consumer reads partitions, in order within each. One goroutine at a time,
// except for Close. Messages are valid for as long as the caller keeps them:
// they point into memory that is theirs.
type Consumer struct {
	b      *Broker
	cfg    ConsumerConfig
	waiter *Waiter

	parts  []*reading
	next   int // the partition to try first: all get their turn
	closed chan struct{}
	once   sync.Once
	it     record.Iterator

	member membership
}

// reading is one assigned partition.
type reading struct {
	p  *Partition
	at record.Offset // the next to read
}

// NewConsumer makes a consumer. A member of a group joins at its first Poll.
func (b *Broker) NewConsumer(cfg ConsumerConfig) (*Consumer, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	if (len(cfg.Topics) == 0) == (len(cfg.Partitions) == 0) {
		return nil, errors.New("consumer: say either Topics or Partitions")
	}
	if cfg.MaxPollBytes <= 0 {
		cfg.MaxPollBytes = 1 << 20
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "millstream"
	}
	if cfg.Session <= 0 {
		cfg.Session = 45 * time.Second
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = max(cfg.Session/15, time.Millisecond)
	}
	if cfg.Rebalance <= 0 {
		cfg.Rebalance = time.Minute
	}
	c := &Consumer{b: b, cfg: cfg, waiter: b.NewWaiter(), closed: make(chan struct{})}
	c.member.rejoin = true
	if c.subscribed() {
		return c, nil
	}
	tps := slices.Clone(cfg.Partitions)
	for _, topic := range cfg.Topics {
		parts := b.partitionsOf(topic)
		if parts == nil {
			return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
		}
		for _, p := range parts {
			tps = append(tps, p.tp)
		}
	}
	return c, c.assign(context.Background(), tps)
}

// subscribed says that the group hands out the partitions.
func (c *Consumer) subscribed() bool { return c.cfg.Group != "" && len(c.cfg.Topics) > 0 }

// assign replaces the partitions read; positions are the group's, or Start's.
func (c *Consumer) assign(ctx context.Context, tps []record.TopicPartition) error {
	var committed map[record.TopicPartition]CommittedOffset
	if c.cfg.Group != "" {
		var err error
		if committed, err = c.b.FetchOffsets(ctx, c.cfg.Group, tps, true); err != nil {
			return err
		}
	}
	c.waiter.Close()
	c.parts = c.parts[:0]
	for _, tp := range tps {
		p, err := c.b.Partition(tp)
		if err != nil {
			return err
		}
		r := &reading{p: p}
		if o, ok := committed[tp]; ok {
			r.at = o.Offset
		} else if r.at, err = c.start(p); err != nil {
			return err
		}
		c.parts = append(c.parts, r)
		c.waiter.Watch(p, !c.cfg.ReadUncommitted)
	}
	return nil
}

func (c *Consumer) start(p *Partition) (record.Offset, error) {
	o := p.Offsets()
	switch s := c.cfg.Start; s.kind {
	case fromEnd:
		if c.cfg.ReadUncommitted {
			return o.End, nil
		}
		return o.Stable, nil
	case fromTime:
		at, _, err := p.OffsetForTime(s.at.UnixMilli())
		return at, err
	case fromOffsets:
		if at, ok := s.per[p.tp]; ok {
			return at, nil
		}
	}
	return o.Start, nil
}

// Poll returns messages, waiting for the first one until ctx is done (then
// ctx.Err()). A member of a group also takes part in its rebalances here; what
// was returned and not committed is read again by whoever gets the partition.
// An offset that retention has removed gives a *segment.OffsetOutOfRangeError:
// Seek, then go on.
func (c *Consumer) Poll(ctx context.Context) ([]Message, error) {
	for {
		select {
		case <-c.closed:
			return nil, ErrClosed
		default:
		}
		if c.subscribed() {
			if err := c.ensureMember(ctx); err != nil {
				return nil, err
			}
		}
		out, err := c.read()
		if err != nil || len(out) > 0 {
			return out, err
		}
		select {
		case <-c.waiter.C():
		case <-c.closed:
			return nil, ErrClosed
		case <-c.b.done:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// read tries every partition once, each for its share of MaxPollBytes.
func (c *Consumer) read() ([]Message, error) {
	var out []Message
	left := c.cfg.MaxPollBytes
	for i := range c.parts {
		r := c.parts[(c.next+i)%len(c.parts)]
		for left > 0 {
			n, msgs, err := c.readChunk(r, min(left, DefaultChunkBytes), out)
			if err != nil {
				if len(out) > 0 {
					return out, nil // it comes again with the next Poll
				}
				return nil, err
			}
			if n == 0 {
				break
			}
			out, left = msgs, left-n
		}
	}
	if len(c.parts) > 0 {
		c.next = (c.next + 1) % len(c.parts)
	}
	return out, nil
}

// readChunk appends the messages of one chunk; n is its size in bytes.
func (c *Consumer) readChunk(r *reading, maxBytes int, out []Message) (n int, _ []Message, err error) {
	chunk, err := r.p.Read(r.at, ReadOptions{MaxBytes: maxBytes, Committed: !c.cfg.ReadUncommitted, Keep: true})
	if err != nil {
		return 0, out, err
	}
	defer chunk.Release()
	for {
		_, raw, ok := chunk.NextBatch()
		if !ok {
			break
		}
		c.it.Reset(raw, record.ReadOptions{From: r.at, KeepRecords: true})
		var v record.View
		for c.it.Next(&v) {
			out = append(out, Message{
				Topic: r.p.tp.Topic, Partition: r.p.tp.Partition, Offset: v.Offset,
				Key: v.Key, Value: v.Value, Headers: slices.Clone(v.Headers), Time: time.UnixMilli(v.Timestamp),
			})
		}
		if err := c.it.Err(); err != nil {
			return 0, out, r.p.wrap(&segment.CorruptionError{Path: c.b.partitionDir(r.p.tp), Offset: r.at, Err: err})
		}
	}
	if chunk.Err() != nil {
		return 0, out, chunk.Err()
	}
	r.at = chunk.Next
	return len(chunk.Data), out, nil
}

// Assignment lists the partitions that are read now.
func (c *Consumer) Assignment() []record.TopicPartition {
	out := make([]record.TopicPartition, len(c.parts))
	for i, r := range c.parts {
		out[i] = r.p.tp
	}
	return out
}

// Positions are the offsets that Poll reads next, for Commit or Producer.SendOffsets.
func (c *Consumer) Positions() map[record.TopicPartition]CommittedOffset {
	out := make(map[record.TopicPartition]CommittedOffset, len(c.parts))
	for _, r := range c.parts {
		out[r.p.tp] = CommittedOffset{Offset: r.at, Epoch: r.p.EpochAt(r.at - 1)}
	}
	return out
}

// Seek reads on at another offset.
func (c *Consumer) Seek(tp record.TopicPartition, at record.Offset) error {
	for _, r := range c.parts {
		if r.p.tp == tp {
			r.at = at
			c.waiter.wake()
			return nil
		}
	}
	return fmt.Errorf("consumer: %s-%d is not assigned", tp.Topic, tp.Partition)
}

// Member is who commits: for Producer.SendOffsets.
func (c *Consumer) Member() GroupMember {
	m := GroupMember{Group: c.cfg.Group, Generation: -1}
	if c.subscribed() {
		m.Generation, m.Member, m.Instance = c.member.identity()
		m.Group = c.cfg.Group
		if m.Instance == "" {
			m.Instance = c.cfg.Instance
		}
	}
	return m
}

// Commit commits everything that Poll has returned.
func (c *Consumer) Commit() error {
	if c.cfg.Group == "" {
		return errors.New("consumer: Commit needs a Group")
	}
	return c.b.CommitOffsets(c.Member(), c.Positions())
}

// Close leaves the group and ends a Poll that waits. It commits nothing.
func (c *Consumer) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		c.member.stop()
		c.waiter.Close()
		if m := c.Member(); m.Member != "" && c.cfg.Instance == "" && c.b.alive() == nil {
			_, err = c.b.LeaveGroup(m.Group, []group.Leaver{{MemberID: m.Member}})
		}
	})
	return err
}
