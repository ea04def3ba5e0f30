package group

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// Record is one record of __consumer_offsets; a nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Versions of keys: they say what a record is.
const (
	offsetKeyVersion      = 1  // 0 and 1
	groupKeyVersion       = 2  // a classic group
	epochKeyVersion       = 3  // a consumer group's epoch
	metadataKeyVersion    = 4  // its topics' partitions, of Kafka 4.0; later replaced by a hash in 3
	memberKeyVersion      = 5  // a member's metadata
	targetEpochKeyVersion = 6  // the epoch of the target assignment
	targetKeyVersion      = 7  // a member's target assignment
	currentKeyVersion     = 8  // a member's current assignment
	regexKeyVersion       = 16 // what a regular expression matched
)

// Versions of values as Kafka 4 writes them.
const (
	offsetValueVersion      = 3
	offsetWithIDVersion     = 4
	offsetWithExpiryVersion = 1
	groupValueVersion       = 3
)

var errBadRecord = errors.New("not a record of a version that is known")

func offsetKey(group string, tp record.TopicPartition) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: tp.Topic, Partition: int32(tp.Partition)}
	return k.AppendTo(nil)
}

// groupedKey is a key that consists of a group's name; memberKey and regexKey have one string more.
func groupedKey(version int16, group string) []byte {
	return kbin.AppendString(kbin.AppendInt16(nil, version), group)
}

func groupKey(group string) []byte { return groupedKey(groupKeyVersion, group) }

func memberKey(version int16, group, member string) []byte {
	return kbin.AppendString(groupedKey(version, group), member)
}

func regexKey(group, regex string) []byte { return memberKey(regexKeyVersion, group, regex) }

func offsetRecord(group string, tp record.TopicPartition, o Committed) Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetValueVersion
	v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp = int64(o.Offset), int32(o.Epoch), o.Metadata, o.CommitMS
	switch {
	case o.ExpireMS > 0:
		v.Version, v.ExpireTimestamp = offsetWithExpiryVersion, o.ExpireMS
	case o.Topic != TopicID{}:
		v.Version, v.TopicID = offsetWithIDVersion, o.Topic
	}
	return Record{offsetKey(group, tp), v.AppendTo(nil)}
}

// record is the classic group with the given assignments by member id.
func (k *classic) record(name string, assignments map[string][]byte) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupValueVersion
	v.ProtocolType, v.Generation, v.CurrentStateTimestamp = k.protocolType, k.generation, k.sinceMS
	if len(k.members) > 0 {
		v.Protocol, v.Leader = &k.protocol, &k.leader
	}
	for _, id := range k.memberIDs() {
		m := k.members[id]
		mv := kmsg.NewGroupMetadataValueMember()
		mv.MemberID, mv.ClientID, mv.ClientHost = m.id, m.clientID, m.clientHost
		if m.instance != "" {
			mv.InstanceID = &m.instance
		}
		mv.SessionTimeoutMillis, mv.RebalanceTimeoutMillis = int32(m.sessionMS), int32(m.rebalanceMS)
		mv.Subscription = orEmpty(m.metadata(k.protocol))
		mv.Assignment = orEmpty(assignments[id])
		v.Members = append(v.Members, mv)
	}
	return Record{groupKey(name), v.AppendTo(nil)}
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Replay takes one data record of __consumer_offsets, in order. pid is the
// producer of its batch if that is transactional, else NoProducerID. After the
// last one call Loaded.
func (c *Core) Replay(key, value []byte, at record.Offset, pid record.ProducerID) error {
	if len(key) < 2 {
		return fmt.Errorf("group: record at offset %d: key of %d bytes: %w", at, len(key), errBadRecord)
	}
	var err error
	switch version := int16(key[0])<<8 | int16(key[1]); version {
	case 0, offsetKeyVersion:
		err = c.replayOffset(key, value, at, pid)
	case groupKeyVersion:
		err = c.replayClassic(key, value)
	case epochKeyVersion, metadataKeyVersion, memberKeyVersion, targetEpochKeyVersion, targetKeyVersion, currentKeyVersion, regexKeyVersion:
		err = c.replayConsumer(version, key, value)
	default: // of kinds of groups that are not served: kept in the log
	}
	if err != nil {
		return fmt.Errorf("group: record at offset %d: %w", at, err)
	}
	return nil
}

// replayed is what Done does with records that are a group's state.
func (c *Core) replayed(records []Record, now int64) func(record.Offset, error) []Reply {
	return func(base record.Offset, err error) []Reply {
		for i, r := range records {
			if err == nil {
				err = c.Replay(r.Key, r.Value, base+record.Offset(i), record.NoProducerID)
			}
		}
		return nil
	}
}

func (c *Core) replayOffset(key, value []byte, at record.Offset, pid record.ProducerID) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("offset: key: %w", err)
	}
	tp := record.TopicPartition{Topic: k.Topic, Partition: record.Partition(k.Partition)}
	if value == nil {
		if g := c.groups[k.Group]; g != nil {
			delete(g.offsets, tp)
		}
		c.dropPending(k.Group, tp)
		return nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("offset: value: %w", err)
	}
	epoch := record.LeaderEpoch(v.LeaderEpoch)
	if v.Version < 3 {
		epoch = record.NoLeaderEpoch
	}
	o := Committed{Offset: record.Offset(v.Offset), Epoch: epoch, Metadata: v.Metadata, CommitMS: v.CommitTimestamp, Topic: v.TopicID, At: at}
	if v.Version == offsetWithExpiryVersion && v.ExpireTimestamp > 0 {
		o.ExpireMS = v.ExpireTimestamp
	}
	if pid != record.NoProducerID {
		c.addPending(pid, k.Group, tp, o)
		return nil
	}
	c.find(k.Group).commit(tp, o)
	return nil
}

func (c *Core) replayClassic(key, value []byte) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("group: key: %w", err)
	}
	if value == nil {
		if g := c.groups[k.Group]; g != nil && g.classic != nil {
			c.clear(g)
		}
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("group: value: %w", err)
	}
	g, l := c.find(k.Group), newClassic()
	l.logged = true
	l.generation, l.protocolType, l.sinceMS = v.Generation, v.ProtocolType, -1
	if v.Version >= 2 {
		l.sinceMS = v.CurrentStateTimestamp
	}
	l.protocol, l.leader = deref(v.Protocol), deref(v.Leader)
	for i := range v.Members {
		mv := &v.Members[i]
		m := &member{
			id: mv.MemberID, instance: deref(mv.InstanceID), clientID: mv.ClientID, clientHost: mv.ClientHost,
			sessionMS: int64(mv.SessionTimeoutMillis), rebalanceMS: int64(mv.RebalanceTimeoutMillis),
			protocols:  []Protocol{{l.protocol, slices.Clone(mv.Subscription)}},
			assignment: slices.Clone(mv.Assignment), deadline: never,
		}
		if v.Version < 1 || m.rebalanceMS < 0 {
			m.rebalanceMS = m.sessionMS
		}
		l.uncount(l.members[m.id])
		l.members[m.id] = m
		l.count(m)
		l.state = Stable
	}
	l.learnTopics()
	c.setMembership(g, l, nil)
	return nil
}

// clear takes a group's membership away; without offsets nothing is left of it.
func (c *Core) clear(g *group) {
	if len(g.offsets) == 0 && !c.pendingIn(g.name) {
		c.forget(g)
		return
	}
	c.setMembership(g, newClassic(), nil)
}

// Loaded begins the sessions of all members, after the log has been replayed; a
// new core without a log is loaded too.
func (c *Core) Loaded(now int64) {
	c.nextExpiry = now + c.cfg.RetentionCheckMS
	for _, name := range c.names() {
		g := c.groups[name]
		if g.consumer != nil {
			g.consumer.loaded(c.cfg.Consumer(name), now)
		} else {
			for _, m := range g.classic.members {
				m.deadline = now + m.sessionMS
			}
			if len(g.classic.members) > c.cfg.MaxSize { // the bound was lowered
				c.prepare(g, new(Step), now)
			}
		}
		c.wake(g, g.deadline())
	}
}

func (g *consumer) loaded(s Settings, now int64) {
	for id, m := range g.members {
		t := g.timer(id)
		t.session = now + s.SessionMS
		if m.classic != nil {
			t.session = now + m.classic.sessionMS
		}
		if m.state == UnrevokedPartitions && m.classic == nil {
			t.rebalance, t.rebalanceEpoch = now+m.rebalanceMS, m.epoch
		}
	}
}
