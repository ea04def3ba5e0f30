package group

import (
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// Committed is a group's position in one partition.
type Committed struct {
	Offset   record.Offset
	Epoch    record.LeaderEpoch
	Metadata string
	CommitMS int64
	// ExpireMS is when the committer wanted it forgotten (OffsetCommit 2 to 4); 0: by the broker's retention.
	ExpireMS int64
	Topic    TopicID // zero: not known
	// At is the offset of the record in __consumer_offsets: of two commits the
	// later record counts, whatever the order of markers.
	At record.Offset
}

// Offsets are positions by partition.
type Offsets map[record.TopicPartition]Committed

// CommitRequest commits offsets. GenerationID -1 with an empty MemberID is a
// committer outside of the membership.
type CommitRequest struct {
	Group        string
	GenerationID int32 // or member epoch
	MemberID     string
	InstanceID   string
	Offsets      Offsets // CommitMS, ExpireMS and At are ignored
	RetentionMS  int64   // of OffsetCommit 2 to 4; 0: the broker's
	// Version of the OffsetCommit request; 0: of a caller that is not a client.
	Version int16
}

// Commit answers OffsetCommit.
func (c *Core) Commit(req CommitRequest, now int64) Step {
	if err := c.mayCommit(req, false, now); err != nil {
		return Step{Err: err}
	}
	recs, tps := commitRecords(&req, now)
	s := Step{Records: recs}
	s.after(func(base record.Offset, err error) []Reply {
		if err == nil {
			g := c.find(req.Group)
			for i, tp := range tps {
				o := req.Offsets[tp]
				o.At = base + record.Offset(i)
				g.commit(tp, o)
			}
		}
		return nil
	})
	return s
}

// TxnCommit answers TxnOffsetCommit: the offsets are pending until Marker. The
// records belong into transactional batches of the producer.
func (c *Core) TxnCommit(pid record.ProducerID, req CommitRequest, now int64) Step {
	if err := c.mayCommit(req, true, now); err != nil {
		return Step{Err: err}
	}
	recs, tps := commitRecords(&req, now)
	s := Step{Records: recs}
	s.after(func(base record.Offset, err error) []Reply {
		if err == nil {
			for i, tp := range tps {
				o := req.Offsets[tp]
				o.At = base + record.Offset(i)
				c.addPending(pid, req.Group, tp, o)
			}
		}
		return nil
	})
	return s
}

// mayCommit checks the committer as Kafka does: inside a transaction a committer
// without membership is always allowed, outside only while the group has no members.
func (c *Core) mayCommit(req CommitRequest, inTxn bool, now int64) error {
	g := c.groups[req.Group]
	switch {
	case g == nil && req.GenerationID < 0:
		return nil // a simple group
	case g == nil && req.Version >= 9:
		return fmt.Errorf("%w: %s", ErrUnknownGroup, req.Group)
	case g == nil:
		return ErrIllegalGeneration
	case g.consumer != nil:
		return g.consumer.mayCommit(req, inTxn, c.cfg.Topics)
	}
	k := g.classic
	identified := req.GenerationID >= 0 || req.MemberID != "" || req.InstanceID != ""
	switch {
	case req.GenerationID < 0 && k.state == Empty:
		return nil
	case !identified && inTxn:
		return nil
	case !identified:
		return ErrUnknownMember
	}
	m, err := k.current(req.MemberID, req.InstanceID, req.GenerationID)
	switch {
	case err != nil:
		return err
	case inTxn:
		return nil
	case k.state == CompletingRebalance:
		return ErrRebalanceInProgress
	}
	m.deadline = now + m.sessionMS // a commit is as good as a heartbeat
	c.wake(g, m.deadline)
	return nil
}

// mayCommit: the epoch is the member's, or an earlier one that is not before the
// one in which the member got each of the partitions (KIP-1251).
func (g *consumer) mayCommit(req CommitRequest, inTxn bool, topics Topics) error {
	switch {
	case req.GenerationID < 0 && len(g.members) == 0:
		return nil
	case inTxn && req.GenerationID == -1 && req.MemberID == "" && req.InstanceID == "":
		return nil
	}
	m := g.members[req.MemberID]
	if m == nil {
		return fmt.Errorf("%w: %s", ErrUnknownMember, req.MemberID)
	}
	stale := ErrStaleEpoch
	if m.classic != nil || inTxn {
		stale = ErrIllegalGeneration
	}
	switch {
	case !inTxn && m.classic == nil && req.Version > 0 && req.Version < 9:
		return ErrUnsupportedVersion
	case req.GenerationID == m.epoch:
		return nil
	case req.GenerationID > m.epoch:
		return fmt.Errorf("%w: member %s has epoch %d, the group %d", stale, m.id, req.GenerationID, m.epoch)
	}
	for tp := range req.Offsets {
		topic, _, _ := topics.Topic(tp.Topic)
		got, ok := m.assigned[topic][int32(tp.Partition)]
		if !ok {
			got, ok = m.pending[topic][int32(tp.Partition)]
		}
		if !ok || req.GenerationID < got {
			return fmt.Errorf("%w: %s-%d is not member %s's since epoch %d", stale, tp.Topic, tp.Partition, m.id, req.GenerationID)
		}
	}
	return nil
}

// commitRecords completes the request's offsets and makes their records.
func commitRecords(req *CommitRequest, now int64) ([]Record, []record.TopicPartition) {
	tps := sorted(req.Offsets)
	recs := make([]Record, len(tps))
	for i, tp := range tps {
		o := req.Offsets[tp]
		o.CommitMS, o.ExpireMS = now, 0
		if req.RetentionMS > 0 {
			o.ExpireMS = now + req.RetentionMS
		}
		req.Offsets[tp] = o
		recs[i] = offsetRecord(req.Group, tp, o)
	}
	return recs, tps
}

// commit keeps the later record of two.
func (g *group) commit(tp record.TopicPartition, o Committed) {
	if old, ok := g.offsets[tp]; !ok || old.At <= o.At {
		g.offsets[tp] = o
	}
}

func (c *Core) addPending(pid record.ProducerID, name string, tp record.TopicPartition, o Committed) {
	c.find(name) // so that the group exists for readers that wait
	byGroup := c.pending[pid]
	if byGroup == nil {
		byGroup = map[string]Offsets{}
		c.pending[pid] = byGroup
	}
	if byGroup[name] == nil {
		byGroup[name] = Offsets{}
	}
	byGroup[name][tp] = o
}

// dropPending forgets what open transactions would commit for a partition: a
// tombstone came after it.
func (c *Core) dropPending(name string, tp record.TopicPartition) {
	for _, byGroup := range c.pending {
		delete(byGroup[name], tp)
	}
}

// Marker ends a transaction: its pending offsets count, or are forgotten. It
// returns the groups whose offsets are stable again or changed.
func (c *Core) Marker(pid record.ProducerID, commit bool) []string {
	var names []string
	for name, offs := range c.pending[pid] {
		names = append(names, name)
		if !commit || len(offs) == 0 {
			continue
		}
		g := c.find(name)
		for tp, o := range offs {
			g.commit(tp, o)
		}
	}
	delete(c.pending, pid)
	slices.Sort(names)
	return names
}

// Pending returns what a transaction would commit.
func (c *Core) Pending(pid record.ProducerID) map[string]Offsets { return c.pending[pid] }

func (c *Core) pendingIn(name string) bool {
	for _, byGroup := range c.pending {
		if len(byGroup[name]) > 0 {
			return true
		}
	}
	return false
}

// unstable are the partitions that an open transaction may change.
func (c *Core) unstable(name string) map[record.TopicPartition]bool {
	out := map[record.TopicPartition]bool{}
	for _, byGroup := range c.pending {
		for tp := range byGroup[name] {
			out[tp] = true
		}
	}
	return out
}

// Fetch answers OffsetFetch: committed offsets of the partitions (nil: all), and
// which of those asked for an open transaction may change (KIP-447).
func (c *Core) Fetch(name string, tps []record.TopicPartition) (offs Offsets, unstable map[record.TopicPartition]bool) {
	offs, unstable = Offsets{}, map[record.TopicPartition]bool{}
	g := c.groups[name]
	if g == nil {
		return offs, unstable
	}
	open := c.unstable(name)
	if tps == nil {
		for tp, o := range g.offsets {
			offs[tp] = o
		}
		return offs, open
	}
	for _, tp := range tps {
		if o, ok := g.offsets[tp]; ok {
			offs[tp] = o
		}
		if open[tp] {
			unstable[tp] = true
		}
	}
	return offs, unstable
}

// MayFetch checks the member that fetches offsets, where it says who it is
// (OffsetFetch 9). A group that does not exist has no offsets, which is no error.
func (c *Core) MayFetch(name string, member *string, epoch int32) error {
	g := c.groups[name]
	if g == nil || g.consumer == nil || member == nil && epoch < 0 {
		return nil
	}
	var m *consumerMember
	if member != nil {
		m = g.consumer.members[*member]
	}
	switch {
	case m == nil:
		return ErrUnknownMember
	case epoch == m.epoch:
		return nil
	case m.classic != nil:
		return ErrIllegalGeneration
	}
	return ErrStaleEpoch
}

// Each calls f for every committed offset, in the order of groups and partitions.
func (c *Core) Each(f func(group string, tp record.TopicPartition, o Committed)) {
	for _, name := range c.names() {
		g := c.groups[name]
		for _, tp := range sorted(g.offsets) {
			f(name, tp, g.offsets[tp])
		}
	}
}

// Reset puts a group's offset to another value, whoever its members are.
func (c *Core) Reset(name string, tp record.TopicPartition, o Committed, now int64) Step {
	o.CommitMS = now
	s := Step{Records: []Record{offsetRecord(name, tp, o)}}
	s.after(func(base record.Offset, err error) []Reply {
		if err == nil {
			o.At = base
			c.find(name).commit(tp, o)
		}
		return nil
	})
	return s
}

// forgetOffset adds the tombstone of an offset, and forgets it once that is written.
func (c *Core) forgetOffset(s *Step, name string, tp record.TopicPartition) {
	s.Records = append(s.Records, Record{Key: offsetKey(name, tp)})
	s.after(func(_ record.Offset, err error) []Reply {
		if g := c.groups[name]; err == nil {
			if g != nil {
				delete(g.offsets, tp)
			}
			c.dropPending(name, tp)
		}
		return nil
	})
}

// DeleteOffsets forgets offsets that match, in every group (of a deleted topic),
// also those that are pending in transactions.
func (c *Core) DeleteOffsets(match func(group string, tp record.TopicPartition, o Committed) bool) Step {
	type place struct {
		name string
		tp   record.TopicPartition
	}
	var s Step
	gone := map[place]bool{}
	c.Each(func(name string, tp record.TopicPartition, o Committed) {
		if match(name, tp, o) {
			gone[place{name, tp}] = true
			c.forgetOffset(&s, name, tp)
		}
	})
	for _, byGroup := range c.pending {
		for name, offs := range byGroup {
			for _, tp := range sorted(offs) {
				if p := (place{name, tp}); !gone[p] && match(name, tp, offs[tp]) {
					gone[p] = true
					c.forgetOffset(&s, name, tp)
				}
			}
		}
	}
	return s
}

// OffsetDelete answers OffsetDelete: the errors are by partition, ErrSubscribed
// where the group reads the topic. Partitions without an offset are no error.
func (c *Core) OffsetDelete(name string, tps []record.TopicPartition) (Step, map[record.TopicPartition]error) {
	g := c.groups[name]
	switch {
	case g == nil:
		return Step{Err: fmt.Errorf("%w: %s", ErrUnknownGroup, name)}, nil
	case g.classic != nil && g.classic.state != Empty && g.classic.protocolType != ConsumerProtocol:
		return Step{Err: ErrNonEmpty}, nil
	}
	var s Step
	errs := map[record.TopicPartition]error{}
	open := c.unstable(name)
	for _, tp := range tps {
		if g.subscribed(tp.Topic) {
			errs[tp] = ErrSubscribed
		} else if _, ok := g.offsets[tp]; ok || open[tp] {
			c.forgetOffset(&s, name, tp)
		}
	}
	return s, errs
}

// Delete answers DeleteGroups: it forgets a group without members and its offsets.
func (c *Core) Delete(name string) Step {
	g := c.groups[name]
	switch {
	case g == nil:
		return Step{Err: fmt.Errorf("%w: %s", ErrUnknownGroup, name)}
	case !g.empty():
		return Step{Err: ErrNonEmpty}
	}
	var s Step
	for _, tp := range sorted(g.offsets) {
		c.forgetOffset(&s, name, tp)
	}
	for tp := range c.unstable(name) {
		if _, ok := g.offsets[tp]; !ok {
			c.forgetOffset(&s, name, tp)
		}
	}
	c.forgetGroup(&s, g)
	return s
}

// forgetGroup adds the tombstones of an empty group, and forgets it once they are written.
func (c *Core) forgetGroup(s *Step, g *group) {
	if g.consumer != nil {
		s.Records = append(s.Records, g.consumer.tombstones(g.name)...)
	} else if g.classic.logged {
		s.Records = append(s.Records, Record{Key: groupKey(g.name)})
	}
	s.after(func(_ record.Offset, err error) []Reply {
		if err == nil && c.groups[g.name] == g {
			c.forget(g)
		}
		return nil
	})
}

// expire forgets the offsets that nobody has use for any more (KIP-211), and
// groups without members and offsets.
func (c *Core) expire(now int64) Step {
	var s Step
	for _, name := range c.names() {
		g := c.groups[name]
		since, may := g.expiresFrom()
		open := c.unstable(name)
		left := len(open) > 0
		for _, tp := range sorted(g.offsets) {
			o := g.offsets[tp]
			at := o.ExpireMS
			if at == 0 {
				at = max(since, o.CommitMS)
				if since < 0 {
					at = o.CommitMS
				}
				at += c.cfg.OffsetsRetentionMS
			}
			if !may || open[tp] || g.subscribed(tp.Topic) || now < at {
				left = true
				continue
			}
			c.forgetOffset(&s, name, tp)
		}
		if !left && g.empty() && (g.consumer != nil || len(g.classic.pendingJoin) == 0) {
			c.forgetGroup(&s, g)
		}
	}
	return s
}

// expiresFrom says whether offsets of the group expire now, and since when at
// the latest they have been of no use; -1: since they were committed.
func (g *group) expiresFrom() (since int64, may bool) {
	switch k := g.classic; {
	case k == nil || k.protocolType == "":
		return -1, true // those of topics that the members read do not
	case k.state == Empty:
		return k.sinceMS, true
	case k.state == Stable && k.topics != nil:
		return -1, true
	}
	return 0, false
}

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
	tps := make([]record.TopicPartition, 0, len(o))
	for tp := range o {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, compare)
	return tps
}
