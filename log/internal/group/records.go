package group

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// Record is one record of __consumer_offsets; a nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Versions as Kafka 4 writes them.
const (
	offsetKeyVersion   = 1
	groupKeyVersion    = 2
	offsetValueVersion = 3
	groupValueVersion  = 3
)

var errBadRecord = errors.New("not a record of a version that is known")

func offsetKey(group string, tp record.TopicPartition) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: tp.Topic, Partition: int32(tp.Partition)}
	return k.AppendTo(nil)
}

func groupKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: group}
	return k.AppendTo(nil)
}

func offsetRecord(group string, tp record.TopicPartition, o Committed, now int64) Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetValueVersion
	v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp = int64(o.Offset), int32(o.Epoch), o.Metadata, now
	return Record{offsetKey(group, tp), v.AppendTo(nil)}
}

// metadataRecord is the group with the given assignments by member id.
func (g *group) metadataRecord(assignments map[string][]byte, now int64) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupValueVersion
	v.ProtocolType, v.Generation, v.CurrentStateTimestamp = g.protocolType, g.generation, now
	if len(g.members) > 0 {
		v.Protocol, v.Leader = &g.protocol, &g.leader
	}
	for _, id := range g.memberIDs() {
		m := g.members[id]
		mv := kmsg.NewGroupMetadataValueMember()
		mv.MemberID, mv.ClientID, mv.ClientHost = m.id, m.clientID, m.clientHost
		if m.instance != "" {
			mv.InstanceID = &m.instance
		}
		mv.SessionTimeoutMillis, mv.RebalanceTimeoutMillis = int32(m.sessionMS), int32(m.rebalanceMS)
		mv.Subscription = orEmpty(m.metadata(g.protocol))
		mv.Assignment = orEmpty(assignments[id])
		v.Members = append(v.Members, mv)
	}
	return Record{groupKey(g.name), v.AppendTo(nil)}
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Replay takes one data record of __consumer_offsets, in order. pid is the
// producer of its batch if that is transactional, else NoProducerID.
func (c *Core) Replay(key, value []byte, at record.Offset, pid record.ProducerID, now int64) error {
	if len(key) < 2 {
		return fmt.Errorf("group: record at offset %d: key of %d bytes: %w", at, len(key), errBadRecord)
	}
	switch version := int16(key[0])<<8 | int16(key[1]); version {
	case 0, 1:
		return c.replayOffset(key, value, at, pid)
	case groupKeyVersion:
		return c.replayGroup(key, value, at, now)
	default:
		return nil // KIP-848 and later kinds: none of ours yet, kept in the log
	}
}

func (c *Core) replayOffset(key, value []byte, at record.Offset, pid record.ProducerID) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("group: offset record at %d: key: %w", at, err)
	}
	tp := record.TopicPartition{Topic: k.Topic, Partition: record.Partition(k.Partition)}
	if value == nil {
		if g := c.groups[k.Group]; g != nil {
			delete(g.offsets, tp)
		}
		for _, byGroup := range c.pending {
			delete(byGroup[k.Group], tp)
		}
		return nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("group: offset record at %d: value: %w", at, err)
	}
	epoch := record.LeaderEpoch(v.LeaderEpoch)
	if v.Version < 3 {
		epoch = record.NoLeaderEpoch
	}
	o := Committed{Offset: record.Offset(v.Offset), Epoch: epoch, Metadata: v.Metadata, CommitMS: v.CommitTimestamp, At: at}
	if pid != record.NoProducerID {
		c.addPending(pid, k.Group, tp, o)
		return nil
	}
	c.group(k.Group).commit(tp, o)
	return nil
}

func (c *Core) replayGroup(key, value []byte, at record.Offset, now int64) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("group: group record at %d: key: %w", at, err)
	}
	if value == nil {
		if g := c.groups[k.Group]; g != nil {
			*g = *newGroup(k.Group, g.offsets)
		}
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("group: group record at %d: value: %w", at, err)
	}
	g := c.group(k.Group)
	*g = *newGroup(k.Group, g.offsets)
	g.logged = true
	g.generation, g.protocolType, g.sinceMS = v.Generation, v.ProtocolType, v.CurrentStateTimestamp
	if v.Protocol != nil {
		g.protocol = *v.Protocol
	}
	if v.Leader != nil {
		g.leader = *v.Leader
	}
	for i := range v.Members {
		mv := &v.Members[i]
		m := &member{
			id: mv.MemberID, clientID: mv.ClientID, clientHost: mv.ClientHost,
			sessionMS: int64(mv.SessionTimeoutMillis), rebalanceMS: int64(mv.RebalanceTimeoutMillis),
			protocols:  []Protocol{{g.protocol, slices.Clone(mv.Subscription)}},
			assignment: slices.Clone(mv.Assignment),
		}
		if mv.InstanceID != nil {
			m.instance = *mv.InstanceID
		}
		m.seen(now)
		g.members[m.id] = m
		g.state = Stable
	}
	return nil
}
