package broker

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// GroupMember says who commits offsets. Generation -1 and an empty Member are a
// committer outside of group management: allowed while the group is empty.
type GroupMember struct {
	Group      string
	Generation int32
	Member     string
	Instance   string
}

// CommittedOffset is a group's position: the next offset to read.
type CommittedOffset struct {
	Offset   record.Offset
	Epoch    record.LeaderEpoch
	Metadata string
}

// groups runs the group coordinator's cores, one per partition of __consumer_offsets.
type groups struct {
	b *Broker

	mu     sync.RWMutex // guards shards
	shards map[record.Partition]*groupShard

	memory group.Memory // of all shards' members
	warned atomic.Int64 // when a group was last said to be full, in milliseconds; 0: never

	armed atomic.Int64  // when watch looks at the timers next, in milliseconds
	kick  chan struct{} // makes watch look earlier; room for one
}

// groupShard is one partition's groups. Its mutex is held over the append, so
// that the core changes in the log's order, but never over a sync.
type groupShard struct {
	b *Broker
	p *Partition

	mu      sync.Mutex // guards what follows
	core    *group.Core
	written record.Offset // the end of what was appended outside of transactions
	settled chan struct{} // closed and replaced when a transaction's offsets settle
}

func newGroups(b *Broker) *groups {
	return &groups{b: b, shards: map[record.Partition]*groupShard{}, kick: make(chan struct{}, 1)}
}

// shard finds a partition's shard, making it if the topic is new.
func (g *groups) shard(p *Partition) *groupShard {
	g.mu.RLock()
	s := g.shards[p.tp.Partition]
	g.mu.RUnlock()
	if s != nil {
		return s
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s = g.shards[p.tp.Partition]; s == nil {
		s = &groupShard{b: g.b, p: p, settled: make(chan struct{}), core: group.New(g.b.groupConfig())}
		s.core.Loaded(g.b.nowMS())
		g.shards[p.tp.Partition] = s
	}
	return s
}

// of finds the shard of a group, making __consumer_offsets at first use. A shard
// whose partition is not open is an error: its timers do not run, so that it
// could take a member in and never answer it.
func (g *groups) of(name string) (*groupShard, error) {
	if err := g.b.ensureInternal(offsetsTopic); err != nil {
		return nil, err
	}
	p, err := g.b.internalPartition(offsetsTopic, name)
	if err != nil {
		return nil, err
	}
	if _, err := p.open(); err != nil {
		return nil, err
	}
	return g.shard(p), nil
}

// existing is of without the making: nil if there is no __consumer_offsets yet.
func (g *groups) existing(name string) (*groupShard, error) {
	p, err := g.b.internalPartition(offsetsTopic, name)
	if err != nil {
		return nil, nil
	}
	if _, err := p.open(); err != nil {
		return nil, err
	}
	return g.shard(p), nil
}

// known lists the shards that have been used.
func (g *groups) known() []*groupShard {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.Collect(maps.Values(g.shards))
}

// all lists the shards in order.
func (g *groups) all() []*groupShard {
	var out []*groupShard
	for _, p := range g.b.partitionsOf(offsetsTopic) {
		out = append(out, g.shard(p))
	}
	return out
}

// run asks the core for a step, appends its records and returns the replies that
// are due once upTo is durable: also replies without records of their own may
// follow from ones that are being synced. txnOf is set for records inside a transaction.
func (s *groupShard) run(event func(*group.Core) group.Step, txnOf *ProducerIdentity) (replies []group.Reply, upTo record.Offset, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step := event(s.core)
	if step.Err != nil {
		return nil, 0, step.Err
	}
	replies, err = s.carryOut(step, txnOf)
	s.b.groups.alarm(s.core)
	return replies, s.written, err
}

// carryOut appends a step's records. s.mu is held.
func (s *groupShard) carryOut(step group.Step, txnOf *ProducerIdentity) ([]group.Reply, error) {
	var base record.Offset
	if len(step.Records) > 0 {
		var res segment.AppendResult
		l, err := s.p.open()
		if err == nil {
			now := s.b.nowMS()
			views := make([]record.View, len(step.Records))
			for i, r := range step.Records {
				views[i] = record.View{Timestamp: now, Key: r.Key, Value: r.Value}
			}
			res, err = s.b.appendRecords(s.p, l, views, txnOf)
		}
		if err != nil {
			return append(step.Replies, s.core.Done(step, 0, err)...), err
		}
		base = res.Base
		if txnOf == nil {
			s.written = res.Next
		}
	}
	return append(step.Replies, s.core.Done(step, base, nil)...), nil
}

// do is run, durability and the giving of replies in one. Where the records
// cannot be made durable, who waits for a reply is told so.
func (s *groupShard) do(event func(*group.Core) group.Step) error {
	replies, upTo, err := s.run(event, nil)
	if err == nil {
		err = s.settle(replies, upTo)
	}
	deliver(replies)
	return err
}

// settle syncs; if that fails, so do the replies.
func (s *groupShard) settle(replies []group.Reply, upTo record.Offset) error {
	err := s.sync(upTo)
	for i := range replies {
		if err != nil {
			replies[i] = group.Reply{Token: replies[i].Token, Err: err}
		}
	}
	return err
}

// sync makes what was appended durable, where the broker's flush says so.
func (s *groupShard) sync(upTo record.Offset) error {
	if upTo == 0 || s.b.cfg.Flush != FlushCommit {
		return nil
	}
	l, err := s.p.open()
	if err != nil {
		return err
	}
	return s.p.syncTo(l, upTo)
}

// deliver gives replies to who waits: a token is a channel with room for one.
func deliver(replies []group.Reply) {
	for _, r := range replies {
		r.Token.(chan group.Reply) <- r
	}
}

// CommitOffsets writes a group's offsets, as durable as acks=all.
func (b *Broker) CommitOffsets(m GroupMember, offsets map[record.TopicPartition]CommittedOffset) error {
	if err := b.alive(); err != nil {
		return err
	}
	s, err := b.groups.of(m.Group)
	if err != nil {
		return err
	}
	req, err := b.commitRequest(m, offsets)
	if err != nil {
		return err
	}
	return s.commit(req)
}

func (s *groupShard) commit(req group.CommitRequest) error {
	if err := s.do(func(c *group.Core) group.Step { return c.Commit(req, s.b.nowMS()) }); err != nil {
		return groupError(req.Group, err)
	}
	return nil
}

// CommitGroupOffsets is CommitOffsets with all that a request can say. The
// topics' ids are filled in.
func (b *Broker) CommitGroupOffsets(req group.CommitRequest) error {
	if err := b.alive(); err != nil {
		return err
	}
	for tp, o := range req.Offsets {
		p, err := b.Partition(tp)
		if err != nil {
			return err
		}
		o.Topic = p.topicID
		req.Offsets[tp] = o
	}
	s, err := b.groups.of(req.Group)
	if err != nil {
		return err
	}
	return s.commit(req)
}

func groupError(name string, err error) error { return fmt.Errorf("group %q: %w", name, err) }

func (b *Broker) commitRequest(m GroupMember, offsets map[record.TopicPartition]CommittedOffset) (group.CommitRequest, error) {
	req := group.CommitRequest{Group: m.Group, GenerationID: m.Generation, MemberID: m.Member, InstanceID: m.Instance, Offsets: make(group.Offsets, len(offsets))}
	for tp, o := range offsets {
		p, err := b.Partition(tp)
		if err != nil {
			return req, err
		}
		req.Offsets[tp] = group.Committed{Offset: o.Offset, Epoch: o.Epoch, Metadata: o.Metadata, Topic: p.topicID}
	}
	return req, nil
}

// TxnOffsetCommit writes offsets into the transaction; they count when it
// commits. AddOffsetsToTxn for the group must have come before.
func (b *Broker) TxnOffsetCommit(transactionalID string, id ProducerIdentity, m GroupMember, offsets map[record.TopicPartition]CommittedOffset) error {
	if err := b.alive(); err != nil {
		return err
	}
	s, err := b.groups.of(m.Group)
	if err != nil {
		return err
	}
	req, err := b.commitRequest(m, offsets)
	if err != nil {
		return err
	}
	e, err := b.txns.enter(id, s.p.tp)
	if err != nil {
		return txnError(transactionalID, err)
	}
	defer e.mu.RUnlock()
	if e.id != transactionalID {
		return txnError(transactionalID, ErrUnknownProducerID)
	}
	if _, _, err := s.run(func(c *group.Core) group.Step { return c.TxnCommit(id.ID, req, b.nowMS()) }, &id); err != nil {
		return groupError(m.Group, err)
	}
	return nil
}

// FetchOffsets reads a group's offsets; partitions without one are absent. tps
// nil is all. requireStable waits until no transaction that may change them is
// open (KIP-447); without it, or when ctx is done, the answer is at once.
func (b *Broker) FetchOffsets(ctx context.Context, name string, tps []record.TopicPartition, requireStable bool) (map[record.TopicPartition]CommittedOffset, error) {
	for {
		out, unstable, settled, err := b.fetchOffsets(name, tps)
		if err != nil || len(unstable) == 0 || !requireStable {
			return out, err
		}
		select {
		case <-settled:
		case <-b.done:
		case <-ctx.Done():
			return nil, groupError(name, fmt.Errorf("offsets are still pending in an open transaction: %w", ctx.Err()))
		}
	}
}

// GroupOffsets reads a group's offsets as FetchOffsets does, and says which of
// those asked for an open transaction may change. member and epoch are checked
// where they are given (nil and -1: not).
func (b *Broker) GroupOffsets(name string, tps []record.TopicPartition, member *string, epoch int32) (offs map[record.TopicPartition]CommittedOffset, unstable map[record.TopicPartition]bool, err error) {
	if s, err := b.groups.existing(name); err == nil && s != nil {
		s.mu.Lock()
		err := s.core.MayFetch(name, member, epoch)
		s.mu.Unlock()
		if err != nil {
			return nil, nil, groupError(name, err)
		}
	}
	offs, unstable, _, err = b.fetchOffsets(name, tps)
	return offs, unstable, err
}

// fetchOffsets reads what is committed now; settled is closed when an open
// transaction that may change it ends.
func (b *Broker) fetchOffsets(name string, tps []record.TopicPartition) (out map[record.TopicPartition]CommittedOffset, unstable map[record.TopicPartition]bool, settled chan struct{}, err error) {
	out = map[record.TopicPartition]CommittedOffset{}
	if err := b.alive(); err != nil {
		return nil, nil, nil, err
	}
	s, err := b.groups.existing(name)
	if err != nil {
		return nil, nil, nil, err
	}
	if s == nil {
		return out, nil, nil, nil // no group has ever committed
	}
	s.mu.Lock()
	offs, unstable := s.core.Fetch(name, tps)
	settled = s.settled
	s.mu.Unlock()
	for tp, o := range offs {
		if p, err := b.Partition(tp); err == nil && o.Topic != (group.TopicID{}) && o.Topic != p.topicID {
			continue // of a topic that is deleted, whose name is another one's now
		}
		out[tp] = CommittedOffset{o.Offset, o.Epoch, o.Metadata}
	}
	return out, unstable, settled, nil
}

// appendMarker writes a marker to a partition of __consumer_offsets and settles
// what the producer had pending there.
func (g *groups) appendMarker(p *Partition, who ProducerIdentity, m record.Marker) (record.Offset, error) {
	s := g.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := p.appendMarker(who, m)
	if err != nil {
		return 0, err
	}
	s.ended(who.ID, m.Type == record.CommitMarker)
	return next, nil
}

// ended makes pending offsets count or forgets them. s.mu is held.
func (s *groupShard) ended(pid record.ProducerID, commit bool) {
	s.core.Marker(pid, commit)
	close(s.settled)
	s.settled = make(chan struct{})
}

// pendingInputs are the partitions and offsets that a transaction would commit
// through one partition of __consumer_offsets.
func (g *groups) pendingInputs(p *Partition, pid record.ProducerID) map[record.TopicPartition]record.Offset {
	s := g.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[record.TopicPartition]record.Offset{}
	for _, offs := range s.core.Pending(pid) {
		for tp, o := range offs {
			out[tp] = max(out[tp], o.Offset)
		}
	}
	return out
}

// recover folds __consumer_offsets; after an unclean end it brings offsets that
// point past a partition's end back to it.
func (g *groups) recover(clean bool) error {
	for _, s := range g.all() {
		if _, err := s.p.open(); err != nil {
			continue
		}
		if err := s.replay(); err != nil {
			s.p.setOffline(fmt.Errorf("cannot be replayed: %w", err))
			s.p.log.Store(nil)
			continue
		}
		if !clean {
			switch err := s.bringBack(); {
			case segment.NoSpace(err):
				s.p.setOffline(fmt.Errorf("offsets cannot be brought back: %w", err))
				s.p.log.Store(nil)
			case err != nil:
				return err
			}
		}
	}
	return nil
}

func (s *groupShard) replay() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.p.scan(func(h *record.BatchHeader, v *record.View) error {
		if h.Control() {
			m, err := record.ParseMarker(v)
			if err == nil {
				s.core.Marker(h.ProducerID, m.Type == record.CommitMarker)
			}
			return err
		}
		pid := record.NoProducerID
		if h.Transactional() {
			pid = h.ProducerID
		}
		return s.core.Replay(v.Key, v.Value, v.Offset, pid)
	})
	s.core.Loaded(s.b.nowMS())
	return err
}

// bringBack resets offsets that point past the end of their partition: what
// stood there was not synced and is gone. Those of partitions that do not exist
// are forgotten: a crash came between the deletion of their topic and that of its
// offsets, which must not become those of the next topic of that name.
func (s *groupShard) bringBack() error {
	err := s.do(func(c *group.Core) group.Step {
		return c.DeleteOffsets(func(_ string, tp record.TopicPartition, _ group.Committed) bool {
			_, err := s.b.Partition(tp)
			return err != nil
		})
	})
	if err != nil {
		return err
	}
	type reset struct {
		name string
		tp   record.TopicPartition
		to   group.Committed
		from record.Offset
	}
	var resets []reset
	s.core.Each(func(name string, tp record.TopicPartition, o group.Committed) {
		p, err := s.b.Partition(tp)
		if err != nil || p.log.Load() == nil {
			return
		}
		if end := p.Offsets().End; o.Offset > end {
			to := o
			to.Offset, to.Epoch = end, p.EpochAt(end-1)
			resets = append(resets, reset{name, tp, to, o.Offset})
		}
	})
	for _, r := range resets {
		s.b.cfg.Logger.Warn("committed offset is past the end after an unclean stop: brought back",
			"group", r.name, "topic", r.tp.Topic, "partition", r.tp.Partition, "from", r.from, "to", r.to.Offset)
		if h := s.b.cfg.Hooks.OffsetReset; h != nil {
			h(r.name, r.tp, r.from, r.to.Offset)
		}
		if err := s.do(func(c *group.Core) group.Step { return c.Reset(r.name, r.tp, r.to, s.b.nowMS()) }); err != nil {
			return groupError(r.name, err)
		}
	}
	return nil
}

// tick does what the groups' timers ask for.
func (g *groups) tick() error {
	var first error
	for _, s := range g.all() {
		if _, err := s.p.open(); err != nil {
			continue
		}
		if err := s.tick(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *groupShard) tick() error {
	s.mu.Lock()
	var replies []group.Reply
	var first error
	for {
		step, more := s.core.Tick(s.b.nowMS())
		if !more {
			break
		}
		rs, err := s.carryOut(step, nil)
		replies = append(replies, rs...)
		if first == nil {
			first = err
		}
	}
	upTo := s.written
	s.mu.Unlock()
	if err := s.settle(replies, upTo); err != nil && first == nil {
		first = err
	}
	deliver(replies)
	return first
}

// alarm makes watch look at a core's timers in time. The shard's mutex is held.
func (g *groups) alarm(c *group.Core) {
	if at, ok := c.Deadline(); ok && at < g.armed.Load() {
		select {
		case g.kick <- struct{}{}:
		default:
		}
	}
}

// watch runs the timers of memberships as they come due, until the broker
// closes. It looks at the clock again after TickInterval at the latest.
func (g *groups) watch() {
	timer := time.NewTimer(g.b.cfg.TickInterval)
	defer timer.Stop()
	for {
		g.armed.Store(math.MaxInt64) // who sets a timer from here on is heard
		at := int64(math.MaxInt64)
		for _, s := range g.known() {
			if _, err := s.p.open(); err != nil {
				continue // tick leaves it out as well
			}
			s.mu.Lock()
			if d, ok := s.core.Deadline(); ok {
				at = min(at, d)
			}
			s.mu.Unlock()
		}
		now := g.b.nowMS()
		wait := min(time.Duration(max(at-now, 0))*time.Millisecond, g.b.cfg.TickInterval)
		if at == math.MaxInt64 {
			wait = g.b.cfg.TickInterval
		}
		g.armed.Store(now + wait.Milliseconds())
		timer.Reset(wait)
		select {
		case <-g.b.done:
			return
		case <-g.kick:
			continue
		case <-timer.C:
		}
		if err := g.tick(); err != nil && !g.b.closing.Load() {
			g.b.cfg.Logger.Warn("timers of groups: trying again later", "err", err)
		}
	}
}

// forgetTopic forgets the offsets of a deleted topic, in every group. The name
// may be another topic's by now, whose offsets stay.
func (g *groups) forgetTopic(topic string, id group.TopicID) error {
	for _, s := range g.all() {
		if _, err := s.p.open(); err != nil {
			continue
		}
		err := s.do(func(c *group.Core) group.Step {
			return c.DeleteOffsets(func(_ string, tp record.TopicPartition, o group.Committed) bool {
				return tp.Topic == topic && (o.Topic == id || o.Topic == group.TopicID{})
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
