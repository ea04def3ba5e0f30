package task

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
)

// Task is its unit's host.
var _ processor.Host = (*Task)(nil)

// Headers that a dead letter carries; connectors names the same.
const (
	headerReason    = "millstream.reason"
	headerStage     = "millstream.stage"
	headerTopic     = "millstream.topic"
	headerPartition = "millstream.partition"
	headerOffset    = "millstream.offset"
)

// output is the memory that an outgoing record is put together in.
type output struct {
	headers []record.Header
	time    [8]byte
	value   []byte
}

// pending is what the running transaction changes, copied.
type pending struct {
	entries []change
	arena   []byte
	expired map[int]int64 // by store
}

type change struct {
	store    int
	key, val uint32
	keyLen   uint32
	valLen   int32 // -1: deleted
}

func (p *pending) bytes() int64 { return int64(len(p.arena)) + int64(len(p.entries))*24 }

func (p *pending) reset() {
	p.entries, p.arena, p.expired = p.entries[:0], p.arena[:0], nil
}

func (p *pending) add(store int, key, value []byte) {
	c := change{store: store, key: uint32(len(p.arena)), keyLen: uint32(len(key)), valLen: -1}
	p.arena = append(p.arena, key...)
	if value != nil {
		c.val, c.valLen = uint32(len(p.arena)), int32(len(value))
		p.arena = append(p.arena, value...)
	}
	p.entries = append(p.entries, c)
}

func (p *pending) at(i int) (store int, key, value []byte) {
	c := &p.entries[i]
	key = p.arena[c.key : c.key+c.keyLen : c.key+c.keyLen]
	switch {
	case c.valLen == 0:
		value = []byte{}
	case c.valLen > 0:
		value = p.arena[c.val : c.val+uint32(c.valLen) : c.val+uint32(c.valLen)]
	}
	return c.store, key, value
}

// keep remembers the first error: a unit may swallow what a Host's method returned.
func (t *Task) keep(err error) error {
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

// Send implements processor.Host.
func (t *Task) Send(sink int, r *processor.Record, partition int32) error {
	o := &t.sub.Outputs[sink]
	switch {
	case partition == processor.AnyPartition && r.Key == nil:
		partition = t.turn % o.Partitions
		t.turn = (t.turn + 1) & 0x7fffffff
	case partition == processor.AnyPartition:
		partition = int32(record.PartitionForKey(r.Key, o.Partitions))
	case partition < 0 || partition >= o.Partitions:
		return t.keep(fmt.Errorf("operator %q chose partition %d of topic %s, which has %d",
			t.cfg.Topology.Nodes[t.sub.Sinks[sink]].Name, partition, o.Topic, o.Partitions))
	}
	if !inRange(r.Timestamp) {
		return t.keep(t.timeless(sink, r))
	}
	hs := t.out.headers[:0]
	for _, h := range r.Headers {
		hs = append(hs, record.Header{Key: h.Key, Value: h.Value})
	}
	if o.Repartition && r.StreamTime > r.Timestamp {
		binary.BigEndian.PutUint64(t.out.time[:], uint64(r.StreamTime))
		hs = append(hs, record.Header{Key: headerTime, Value: t.out.time[:]})
	}
	if o.Merged {
		hs = append(hs, record.Header{Key: headerFrom, Value: t.name})
	}
	t.out.headers = hs
	v := record.View{Key: r.Key, Value: r.Value, Headers: hs, Timestamp: r.Timestamp}
	t.outs[sink].Records++
	t.outs[sink].Bytes += int64(len(v.Key) + len(v.Value))
	return t.keep(t.write(o.Topic, record.Partition(partition), &v))
}

// timeless deals with a record that the program gave an impossible event time
// (ForwardAt, SetTimestamp, a timer's): OnBadRecord says how. Its readers could
// not use it. Its dead letter names no topic: it is not what was read.
func (t *Task) timeless(sink int, r *processor.Record) error {
	op := t.cfg.Topology.Nodes[t.sub.Sinks[sink]].Name
	err := fmt.Errorf("operator %q: a record for topic %s: its event time, %w", op, t.sub.Outputs[sink].Topic, impossibleTime(r.Timestamp))
	if r.Topic != "" {
		err = fmt.Errorf("%w (made of %s-%d, offset %d)", err, r.Topic, r.Partition, r.Offset)
	}
	switch t.cfg.BadRecord {
	case Stop:
		return err
	case Skip:
		t.counts.Skipped++
		return nil
	}
	made := *r
	made.Topic = ""
	return t.deadLetter(op, err.Error(), &made)
}

// write appends to the transaction.
func (t *Task) write(topic string, p record.Partition, v *record.View) error {
	t.dirty = true
	if err := t.writer.Append(record.TopicPartition{Topic: topic, Partition: p}, v); err != nil {
		return fmt.Errorf("write to %s-%d: %w", topic, p, err)
	}
	return nil
}

// Partitions implements processor.Host.
func (t *Task) Partitions(sink int) int32 { return t.sub.Outputs[sink].Partitions }

// Backend implements processor.Host.
func (t *Task) Backend(store int) state.Backend { return backend{o: t.overlay, store: store} }

// Changelog implements processor.Host.
func (t *Task) Changelog(store int, key, value []byte) error {
	t.pending.add(store, key, value)
	t.dirty = true
	tp := t.stores[store].changelog
	if tp.Topic == "" {
		return nil
	}
	t.counts.Changelog++
	v := record.View{Key: key, Value: value, Timestamp: max(t.maxEvent, 0)}
	if err := t.writer.Append(tp, &v); err != nil {
		return t.keep(fmt.Errorf("write to %s-%d: %w", tp.Topic, tp.Partition, err))
	}
	return nil
}

// Expire implements processor.Host.
func (t *Task) Expire(store int, startMS int64) error {
	if t.pending.expired == nil {
		t.pending.expired = map[int]int64{}
	}
	if old, ok := t.pending.expired[store]; !ok || startMS > old {
		t.pending.expired[store] = startMS
	}
	return nil
}

// Late implements processor.Host.
func (t *Task) Late(op string, keep bool, r *processor.Record) error {
	t.counts.Late[op]++
	t.dirty = true
	if !keep || t.cfg.Late != DeadLetter {
		return nil
	}
	return t.keep(t.deadLetter(op, "late: its window had closed", r))
}

// Dropped implements processor.Host.
func (t *Task) Dropped(op string) { t.counts.Dropped[op]++ }

// CacheBytes implements processor.Host.
func (t *Task) CacheBytes() int64 { return t.cfg.CacheBytes }

// deadLetter puts a record aside, with the reason.
func (t *Task) deadLetter(stage, reason string, r *processor.Record) error {
	t.counts.DeadLettered++
	hs := []record.Header{
		{Key: headerReason, Value: []byte(reason)},
		{Key: headerStage, Value: []byte(stage)},
	}
	if r.Topic != "" {
		hs = append(hs,
			record.Header{Key: headerTopic, Value: []byte(r.Topic)},
			record.Header{Key: headerPartition, Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
			record.Header{Key: headerOffset, Value: strconv.AppendInt(nil, r.Offset, 10)})
	}
	for _, h := range r.Headers {
		hs = append(hs, record.Header{Key: h.Key, Value: h.Value})
	}
	v := record.View{Key: r.Key, Value: r.Value, Headers: hs, Timestamp: r.Timestamp}
	if !inRange(v.Timestamp) {
		v.Timestamp = max(t.maxEvent, 0)
	}
	return t.write(plan.DeadLettersTopic(t.cfg.Plan.App), 0, &v)
}

func time64(b []byte) (int64, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b)), true
}
