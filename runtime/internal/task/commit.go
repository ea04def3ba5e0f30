package task

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
)

// Flush ends the transaction's work: the unit's outputs and changelogs, then
// watermarks, then the position record, all appended to the writer. It adds the
// task's input positions to in. The watermarks come after everything that they
// promise, so a reader that sees one has seen all of it.
func (t *Task) Flush(in logclient.Positions) (err error) {
	defer t.recover(&err)
	t.rec = processor.Record{}
	if err := t.unit.Flush(); err != nil || t.err != nil {
		if t.err != nil {
			err = t.err
		}
		return t.fail(err)
	}
	if err := t.sendWatermarks(); err != nil {
		return t.fail(err)
	}
	p := t.position()
	v := record.View{Key: []byte(PositionKey(t.cfg.ID)), Value: p.Append(t.out.value[:0]), Timestamp: max(t.maxEvent, 0)}
	t.out.value = v.Value
	if t.local {
		t.flushed = append(t.flushed[:0], v.Value...)
	}
	tp := record.TopicPartition{Topic: plan.PositionsTopic(t.cfg.Plan.App)}
	if err := t.writer.Append(tp, &v); err != nil {
		return t.fail(fmt.Errorf("write to %s: %w", tp.Topic, err))
	}
	for _, i := range t.inputs {
		in[i.tp] = logclient.Position{Offset: i.next, Epoch: record.NoLeaderEpoch}
	}
	return nil
}

// sendWatermarks tells every partition downstream this task's stream time, if
// that has changed since it was last told.
func (t *Task) sendWatermarks() error {
	ms := t.streamTime
	switch {
	case !t.writesRepartition():
		return nil
	case ms == processor.NoTime && (t.sentOnce || t.sentIdle || !t.allIdle):
		return nil
	case ms != processor.NoTime && t.sentOnce && ms <= t.sent:
		return nil
	}
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], uint64(ms))
	hs := []record.Header{{Key: headerWatermark, Value: []byte(t.cfg.ID.String())}}
	var done []string
	for _, o := range t.sub.Outputs {
		if !o.Repartition || slices.Contains(done, o.Topic) {
			continue
		}
		done = append(done, o.Topic)
		for p := range o.Partitions {
			v := record.View{Value: value[:], Headers: hs, Timestamp: max(ms, 0)}
			if err := t.writer.Append(record.TopicPartition{Topic: o.Topic, Partition: record.Partition(p)}, &v); err != nil {
				return fmt.Errorf("write to %s-%d: %w", o.Topic, p, err)
			}
		}
	}
	if ms == processor.NoTime {
		t.sentIdle = true
	} else {
		t.sent, t.sentOnce = ms, true
	}
	return nil
}

// position is the task's position record as of now.
func (t *Task) position() *PositionRecord {
	p := &PositionRecord{
		StreamTime: t.streamTime, MaxEvent: t.maxEvent,
		Sent: t.sent, SentOnce: t.sentOnce, SentIdle: t.sentIdle,
		Decision: t.decision, Decided: t.decided,
		Frontier: t.unit.Frontier(nil),
	}
	for _, in := range t.inputs {
		p.Inputs = append(p.Inputs, InputPosition{
			Topic: in.tp.Topic, Partition: in.tp.Partition, Offset: in.next,
			Seen: in.seen, Time: in.time, Upstream: slices.Clone(in.upstream),
		})
	}
	return p
}

// Processed is what one input brought to a committed transaction.
type Processed struct {
	Partition      record.TopicPartition
	Next           record.Offset
	Records, Bytes int64
	NewestMS       int64 // the greatest timestamp seen so far
}

// Committed makes the flushed transaction part of the committed state. ends is
// what the writer's Commit returned. The counts are of that transaction; they
// are valid until the next call of the task.
func (t *Task) Committed(ends map[record.TopicPartition]logclient.OffsetEpoch) (counts Counts, inputs []Processed) {
	t.unit.Committed()
	t.apply(ends)
	t.committed, t.flushed = t.flushed, t.committed[:0]
	for _, in := range t.inputs {
		inputs = append(inputs, Processed{Partition: in.tp, Next: in.next, Records: in.records, Bytes: in.bytes, NewestMS: in.time})
		in.records, in.bytes, in.moved = 0, 0, false
	}
	t.dirty, t.recorded = false, t.streamTime
	for i, v := range t.outs {
		if v.Records > 0 {
			c := t.counts.Out[t.sub.Outputs[i].Topic]
			t.counts.Out[t.sub.Outputs[i].Topic] = Volume{c.Records + v.Records, c.Bytes + v.Bytes}
		}
	}
	clear(t.outs)
	counts = t.counts
	t.counts.reset()
	return counts, inputs
}

// apply moves pending into the overlay: to queries the commit is one step.
func (t *Task) apply(ends map[record.TopicPartition]logclient.OffsetEpoch) {
	o := t.overlay
	o.mu.Lock()
	for i := range t.pending.entries {
		store, key, value := t.pending.at(i)
		if o.gone(store, key) {
			continue
		}
		o.active.put(store, key, value)
		t.noteFirst(store, key, t.stores[store].end.Offset)
	}
	t.expirePending()
	t.showPositions()
	o.mu.Unlock()
	t.pending.entries, t.pending.arena = t.pending.entries[:0], t.pending.arena[:0]
	for i := range t.stores {
		if end, ok := ends[t.stores[i].changelog]; ok && t.stores[i].changelog.Topic != "" {
			t.stores[i].end = end
		}
	}
}

// noteFirst remembers an offset at or before a window's first changelog record.
func (t *Task) noteFirst(store int, key []byte, at record.Offset) {
	if t.sub.Stores[store].Spec.Kind != state.Window {
		return
	}
	start, _, ok := state.SplitWindowKey(key)
	if !ok {
		return
	}
	if _, known := t.stores[store].firsts[start]; !known {
		t.stores[store].firsts[start] = at
	}
}

func (t *Task) applyExpired() {
	t.overlay.mu.Lock()
	defer t.overlay.mu.Unlock()
	t.expirePending()
}

// expirePending is called under the overlay's mu.
func (t *Task) expirePending() {
	o := t.overlay
	for store, start := range t.pending.expired {
		o.expire(store, start)
		for w := range t.stores[store].firsts {
			if w < start {
				delete(t.stores[store].firsts, w)
			}
		}
	}
	t.pending.expired = nil
}

// publishPositions shows the committed positions to queries.
func (t *Task) publishPositions() {
	t.overlay.mu.Lock()
	defer t.overlay.mu.Unlock()
	t.showPositions()
}

// showPositions is called under the overlay's mu.
func (t *Task) showPositions() {
	ps := make([]Position, 0, len(t.inputs))
	for _, in := range t.inputs {
		ps = append(ps, Position{Topic: in.tp.Topic, Partition: in.tp.Partition, Offset: in.next})
	}
	t.overlay.positions, t.overlay.streamTime = ps, t.streamTime
}
