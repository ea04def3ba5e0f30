package group

import (
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// Committed is a group's position in one partition.
type Committed struct {
	Offset   record.Offset
	Epoch    record.LeaderEpoch
	Metadata string
	CommitMS int64
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
	GenerationID int32
	MemberID     string
	InstanceID   string
	Offsets      Offsets // CommitMS and At are ignored
}

// Commit answers OffsetCommit.
func (c *Core) Commit(req CommitRequest, now int64) Step {
	if err := c.mayCommit(req, false, now); err != nil {
		return Step{Err: err}
	}
	recs, tps := commitRecords(req, now)
	return Step{Records: recs, done: func(base record.Offset, err error) []Reply {
		if err == nil {
			g := c.group(req.Group)
			for i, tp := range tps {
				o := req.Offsets[tp]
				o.CommitMS, o.At = now, base+record.Offset(i)
				g.commit(tp, o)
			}
		}
		return nil
	}}
}

// TxnCommit answers TxnOffsetCommit: the offsets are pending until Marker. The
// records belong into transactional batches of the producer.
func (c *Core) TxnCommit(pid record.ProducerID, req CommitRequest, now int64) Step {
	if err := c.mayCommit(req, true, now); err != nil {
		return Step{Err: err}
	}
	recs, tps := commitRecords(req, now)
	return Step{Records: recs, done: func(base record.Offset, err error) []Reply {
		if err == nil {
			for i, tp := range tps {
				o := req.Offsets[tp]
				o.CommitMS, o.At = now, base+record.Offset(i)
				c.addPending(pid, req.Group, tp, o)
			}
		}
		return nil
	}}
}

// mayCommit checks the committer as Kafka does: inside a transaction a committer
// without membership is always allowed, outside only while the group has no members.
func (c *Core) mayCommit(req CommitRequest, inTxn bool, now int64) error {
	g := c.groups[req.Group]
	outside := req.GenerationID < 0 && req.MemberID == ""
	switch {
	case outside && (inTxn || g == nil || len(g.members) == 0):
		return nil
	case g == nil && req.GenerationID < 0:
		return ErrUnknownMember
	case g == nil:
		return ErrIllegalGeneration
	}
	m, err := g.member(req.MemberID, req.InstanceID)
	switch {
	case err != nil:
		return err
	case req.GenerationID != g.generation:
		return ErrIllegalGeneration
	case g.state == CompletingRebalance && !inTxn:
		return ErrRebalanceInProgress
	}
	m.seen(now)
	return nil
}

func commitRecords(req CommitRequest, now int64) ([]Record, []record.TopicPartition) {
	tps := make([]record.TopicPartition, 0, len(req.Offsets))
	for tp := range req.Offsets {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, compare)
	recs := make([]Record, len(tps))
	for i, tp := range tps {
		recs[i] = offsetRecord(req.Group, tp, req.Offsets[tp], now)
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
	c.group(name) // so that the group exists for readers that wait
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

// Marker ends a transaction: its pending offsets count, or are forgotten. It
// returns the groups whose offsets are stable again or changed.
func (c *Core) Marker(pid record.ProducerID, commit bool) []string {
	var names []string
	for name, offs := range c.pending[pid] {
		names = append(names, name)
		if !commit {
			continue
		}
		g := c.group(name)
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

// Fetch answers OffsetFetch: committed offsets of the partitions (nil: all).
// Unstable says that an open transaction may change one of them (KIP-447).
func (c *Core) Fetch(name string, tps []record.TopicPartition) (offs Offsets, unstable bool) {
	offs = Offsets{}
	g := c.groups[name]
	if g == nil {
		return offs, false
	}
	asked := func(tp record.TopicPartition) bool { return tps == nil || slices.Contains(tps, tp) }
	if tps == nil {
		for tp, o := range g.offsets {
			offs[tp] = o
		}
	}
	for _, tp := range tps {
		if o, ok := g.offsets[tp]; ok {
			offs[tp] = o
		}
	}
	for _, byGroup := range c.pending {
		for tp := range byGroup[name] {
			unstable = unstable || asked(tp)
		}
	}
	return offs, unstable
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
	req := CommitRequest{Group: name, Offsets: Offsets{tp: o}}
	recs, _ := commitRecords(req, now)
	return Step{Records: recs, done: func(base record.Offset, err error) []Reply {
		if err == nil {
			o.CommitMS, o.At = now, base
			c.group(name).commit(tp, o)
		}
		return nil
	}}
}

// DeleteOffsets forgets offsets that match, in every group (of a deleted topic).
func (c *Core) DeleteOffsets(match func(group string, tp record.TopicPartition, o Committed) bool) Step {
	type place struct {
		g  *group
		tp record.TopicPartition
	}
	var recs []Record
	var gone []place
	c.Each(func(name string, tp record.TopicPartition, o Committed) {
		if match(name, tp, o) {
			recs = append(recs, Record{Key: offsetKey(name, tp)})
			gone = append(gone, place{c.groups[name], tp})
		}
	})
	return Step{Records: recs, done: func(_ record.Offset, err error) []Reply {
		if err == nil {
			for _, p := range gone {
				delete(p.g.offsets, p.tp)
			}
		}
		return nil
	}}
}

// expire forgets the offsets of groups without members (KIP-211), and such groups without offsets.
func (c *Core) expire(now int64) Step {
	step := c.DeleteOffsets(func(name string, tp record.TopicPartition, o Committed) bool {
		g := c.groups[name]
		return len(g.members) == 0 && !c.pendingIn(name) && max(o.CommitMS, g.sinceMS)+c.cfg.OffsetsRetentionMS <= now
	})
	for _, name := range c.names() {
		g := c.groups[name]
		if g.logged && len(g.members) == 0 && len(g.offsets) == 0 && !c.pendingIn(name) && g.sinceMS+c.cfg.OffsetsRetentionMS <= now {
			step.Records = append(step.Records, Record{Key: groupKey(name)})
			forget := step.done
			step.done = func(base record.Offset, err error) []Reply {
				if err == nil {
					delete(c.groups, name)
				}
				return forget(base, err)
			}
		}
	}
	return step
}

func (c *Core) pendingIn(name string) bool {
	for _, byGroup := range c.pending {
		if len(byGroup[name]) > 0 {
			return true
		}
	}
	return false
}
