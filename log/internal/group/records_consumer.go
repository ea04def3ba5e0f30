package group

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
)

// Records of consumer groups, in Kafka's schemas: keys are not flexible, values
// are flexible of version 0.

// value begins a value: its version.
func value() []byte { return kbin.AppendInt16(nil, 0) }

// noTags ends a structure that has no tagged fields.
func noTags(b []byte) []byte { return append(b, 0) }

// tag0 ends a structure with the tagged field 0.
func tag0(b, field []byte) []byte {
	b = append(b, 1, 0)
	b = kbin.AppendUvarint(b, uint32(len(field)))
	return append(b, field...)
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return kbin.AppendCompactNullableString(b, nil)
	}
	return kbin.AppendCompactNullableString(b, &s)
}

func epochRecord(group string, epoch int32, hash int64) Record {
	b := kbin.AppendInt32(value(), epoch)
	if hash == 0 {
		b = noTags(b)
	} else {
		b = tag0(b, kbin.AppendInt64(nil, hash))
	}
	return Record{groupedKey(epochKeyVersion, group), b}
}

func memberRecord(group string, m *consumerMember) Record {
	b := appendNullable(value(), m.instance)
	b = appendNullable(b, m.rack)
	b = kbin.AppendCompactString(b, m.clientID)
	b = kbin.AppendCompactString(b, m.clientHost)
	b = appendStrings(b, m.topics)
	b = kbin.AppendCompactNullableString(b, &m.regex)
	b = kbin.AppendInt32(b, int32(m.rebalanceMS))
	b = appendNullable(b, m.assignor)
	if m.classic == nil {
		return Record{memberKey(memberKeyVersion, group, m.id), noTags(b)}
	}
	c := []byte{1} // present
	c = kbin.AppendInt32(c, int32(m.classic.sessionMS))
	c = kbin.AppendCompactArrayLen(c, len(m.classic.protocols))
	for _, p := range m.classic.protocols {
		c = kbin.AppendCompactString(c, p.Name)
		c = kbin.AppendCompactBytes(c, p.Metadata)
		c = noTags(c)
	}
	return Record{memberKey(memberKeyVersion, group, m.id), tag0(b, noTags(c))}
}

func appendStrings(b []byte, s []string) []byte {
	b = kbin.AppendCompactArrayLen(b, len(s))
	for _, x := range s {
		b = kbin.AppendCompactString(b, x)
	}
	return b
}

func appendPartitions(b []byte, ps []int32) []byte {
	b = kbin.AppendCompactArrayLen(b, len(ps))
	for _, p := range ps {
		b = kbin.AppendInt32(b, p)
	}
	return b
}

func targetEpochRecord(group string, epoch int32, at int64) Record {
	b := kbin.AppendInt32(value(), epoch)
	if at == 0 {
		b = noTags(b)
	} else {
		b = tag0(b, kbin.AppendInt64(nil, at))
	}
	return Record{groupedKey(targetEpochKeyVersion, group), b}
}

func targetRecord(group, id string, a Assignment) Record {
	b := kbin.AppendCompactArrayLen(value(), len(a))
	for _, t := range a.Topics() {
		b = append(b, t[:]...)
		b = noTags(appendPartitions(b, a[t]))
	}
	return Record{memberKey(targetKeyVersion, group, id), noTags(b)}
}

func currentRecord(group string, m *consumerMember) Record {
	b := kbin.AppendInt32(value(), m.epoch)
	b = kbin.AppendInt32(b, m.previous)
	b = kbin.AppendInt8(b, int8(m.state))
	for _, h := range []holding{m.assigned, m.pending} {
		a := h.assignment()
		b = kbin.AppendCompactArrayLen(b, len(a))
		for _, t := range a.Topics() {
			b = append(b, t[:]...)
			b = appendPartitions(b, a[t])
			epochs := make([]int32, len(a[t]))
			for i, p := range a[t] {
				epochs[i] = h[t][p]
			}
			b = tag0(b, appendPartitions(nil, epochs))
		}
	}
	return Record{memberKey(currentKeyVersion, group, m.id), noTags(b)}
}

func regexRecord(group, regex string, r resolved) Record {
	b := appendStrings(value(), r.topics)
	b = kbin.AppendInt64(b, r.version)
	b = kbin.AppendInt64(b, r.at)
	return Record{regexKey(group, regex), noTags(b)}
}

// reader reads values; the fields of kbin.Reader say whether it went wrong.
type reader struct{ kbin.Reader }

func newReader(b []byte) (*reader, error) {
	r := &reader{kbin.Reader{Src: b}}
	if version := r.Int16(); version != 0 {
		return nil, fmt.Errorf("value of version %d: %w", version, errBadRecord)
	}
	return r, nil
}

func (r *reader) nullable() string { return deref(r.CompactNullableString()) }

func (r *reader) strings() []string {
	n := r.CompactArrayLen()
	out := make([]string, 0, max(n, 0))
	for range n {
		out = append(out, r.CompactString())
	}
	return out
}

func (r *reader) ints() []int32 {
	n := r.CompactArrayLen()
	out := make([]int32, 0, max(n, 0))
	for range n {
		out = append(out, r.Int32())
	}
	return out
}

// tags reads a structure's tagged fields and calls f for field 0.
func (r *reader) tags(f func(*reader)) {
	for range r.Uvarint() {
		key := r.Uvarint()
		field := r.Span(int(r.Uvarint()))
		if !r.Ok() {
			return
		}
		if key == 0 && f != nil {
			f(&reader{kbin.Reader{Src: field}})
		}
	}
}

// assignment reads topics with partitions; epochs are 0 where the record has none.
func (r *reader) assignment(epoch int32) holding {
	out := holding{}
	for range r.CompactArrayLen() {
		topic := TopicID(r.Uuid())
		ps := r.ints()
		var epochs []int32
		r.tags(func(f *reader) { epochs = f.ints() })
		if !r.Ok() {
			return out
		}
		for i, p := range ps {
			e := epoch
			if i < len(epochs) {
				e = epochs[i]
			}
			out.put(topic, p, e)
		}
	}
	return out
}

// readKey reads a key's strings: the group, and the member id or regular expression where it has one.
func readKey(version int16, key []byte) (group, second string, err error) {
	r := kbin.Reader{Src: key[2:]}
	group = r.String()
	switch version {
	case memberKeyVersion, targetKeyVersion, currentKeyVersion, regexKeyVersion:
		second = r.String()
	}
	if err := r.Complete(); err != nil {
		return "", "", fmt.Errorf("consumer group: key of version %d: %w", version, err)
	}
	return group, second, nil
}

// replayConsumer takes a record of a consumer group. A group that is not one is
// made one, unless the record is a tombstone: as Kafka does, a simple group (of
// offsets only) is replaced.
func (c *Core) replayConsumer(version int16, key, value []byte) error {
	name, second, err := readKey(version, key)
	if err != nil {
		return err
	}
	g := c.groups[name]
	if value == nil {
		if g != nil && g.consumer != nil {
			c.replayTombstone(g, version, second)
		}
		return nil
	}
	r, err := newReader(value)
	if err != nil {
		return fmt.Errorf("consumer group %s: key version %d: %w", name, version, err)
	}
	if g = c.find(name); g.consumer == nil {
		c.setMembership(g, nil, newConsumer())
	}
	g.consumer.replay(version, second, r)
	if !r.Ok() {
		return fmt.Errorf("consumer group %s: value of key version %d: %w", name, version, kbin.ErrNotEnoughData)
	}
	return nil
}

func (g *consumer) replay(version int16, second string, r *reader) {
	switch version {
	case epochKeyVersion:
		g.epoch, g.hash = r.Int32(), 0
		r.tags(func(f *reader) { g.hash = f.Int64() })
	case metadataKeyVersion:
		g.hasMetadata = true
	case targetEpochKeyVersion:
		g.targetEpoch, g.targetMS = r.Int32(), 0
		r.tags(func(f *reader) { g.targetMS = f.Int64() })
	case targetKeyVersion:
		if a := r.assignment(0).assignment(); r.Ok() {
			g.target[second] = a
		}
	case regexKeyVersion:
		v := resolved{topics: r.strings(), version: r.Int64(), at: r.Int64()}
		slices.Sort(v.topics)
		g.putRegex(second, v)
	case memberKeyVersion, currentKeyVersion:
		m := newConsumerMember(second)
		if old := g.members[second]; old != nil {
			*m = *old
		}
		if version == memberKeyVersion {
			m.readMetadata(r)
		} else {
			m.epoch, m.previous, m.state = r.Int32(), r.Int32(), MemberState(r.Int8())
			m.assigned, m.pending = r.assignment(m.epoch), r.assignment(m.epoch)
		}
		if r.Ok() {
			g.put(m)
		}
	}
}

func (m *consumerMember) readMetadata(r *reader) {
	m.instance, m.rack = r.nullable(), r.nullable()
	m.clientID, m.clientHost = r.CompactString(), r.CompactString()
	m.topics = sortedSet(r.strings())
	m.regex = r.nullable()
	m.rebalanceMS = int64(r.Int32())
	m.assignor = r.nullable()
	m.classic = nil
	r.tags(func(f *reader) {
		if f.Int8() < 0 {
			return
		}
		m.classic = &classicMember{sessionMS: int64(f.Int32())}
		for range f.CompactArrayLen() {
			p := Protocol{Name: f.CompactString(), Metadata: slices.Clone(f.CompactBytes())}
			f.tags(nil)
			if !f.Ok() {
				return
			}
			m.classic.protocols = append(m.classic.protocols, p)
		}
	})
	if m.classic != nil && len(m.classic.protocols) == 0 {
		m.classic = nil
	}
}

func (c *Core) replayTombstone(g *group, version int16, second string) {
	k := g.consumer
	switch version {
	case epochKeyVersion:
		c.clear(g)
	case metadataKeyVersion:
		k.hasMetadata = false
	case targetEpochKeyVersion:
		k.targetEpoch, k.targetMS = 0, 0
	case targetKeyVersion:
		delete(k.target, second)
	case regexKeyVersion:
		k.removeRegex(second)
	case memberKeyVersion:
		k.drop(second)
	case currentKeyVersion:
		if old := k.members[second]; old != nil {
			m := *old
			m.epoch, m.previous, m.assigned, m.pending = leaveEpoch, leaveEpoch, nil, nil
			k.put(&m)
		}
	}
}
