package task

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/streams/processor"
)

// Ends tells how far a partition can be read now.
type Ends func(record.TopicPartition) record.Offset

// Work processes what was added, as far as the inputs' order allows, and
// returns the number of records. It stops early, between batches, once more than
// maxBytes of changes wait for a commit.
func (t *Task) Work(now time.Time, ends Ends, maxBytes int64) (n int64, err error) {
	defer t.recover(&err)
	if len(t.inputs) == 1 {
		return t.workSingle(t.inputs[0], now, maxBytes)
	}
	return t.workMerged(now, ends, maxBytes)
}

func (t *Task) workSingle(in *input, now time.Time, maxBytes int64) (n int64, err error) {
	for len(in.queue) > 0 {
		if n > 0 && t.full(maxBytes) {
			return n, nil
		}
		var k int64
		switch {
		case in.repartition:
			k, err = t.repartitionBatch(in, now)
		case len(in.sources) > 1:
			k, err = t.sharedBatch(in, now)
		default:
			k, err = t.externalBatch(in, now)
		}
		n += k
		if err != nil {
			return n, err
		}
		if err := in.finish(in.queue[0]); err != nil {
			return n, fmt.Errorf("task %v: read %s-%d: %w", t.cfg.ID, in.tp.Topic, in.tp.Partition, err)
		}
	}
	return n, nil
}

func (t *Task) full(maxBytes int64) bool {
	return t.pending.bytes() >= maxBytes || t.unit.Usage().DirtyBytes >= maxBytes
}

// externalBatch is the hot path: one input, one operator that reads it, time by
// the records themselves.
func (t *Task) externalBatch(in *input, now time.Time) (n int64, err error) {
	var bytes int64
	b, v, r, unit, source := in.queue[0], &t.view, &t.rec, t.unit, in.sources[0]
	r.Topic, r.Partition = in.tp.Topic, int32(in.tp.Partition)
	newest := in.time
	for b.Next(v) {
		n++
		bytes += int64(len(v.Key) + len(v.Value))
		r.Key, r.Value, r.Timestamp, r.Offset, r.Headers = v.Key, v.Value, v.Timestamp, int64(v.Offset), nil
		if len(v.Headers) > 0 {
			t.copyHeaders(v.Headers)
		}
		if in.timed >= 0 {
			if ok, err := t.extract(in); err != nil {
				return n, err
			} else if !ok {
				in.next = v.Offset + 1
				continue
			}
		}
		if r.Timestamp > newest {
			newest = r.Timestamp
			in.time, in.seen = newest, true
		}
		if newest > t.streamTime {
			t.streamTime = newest
		}
		if t.streamTime >= unit.NextTime() {
			if err := unit.Advance(t.streamTime); err != nil {
				return n, t.fail(err)
			}
		}
		r.StreamTime = t.streamTime
		if err := unit.Process(source, r); err != nil || t.err != nil {
			if err := t.bad(err); err != nil {
				return n, err
			}
		}
		in.next = v.Offset + 1
	}
	t.account(in, n, bytes, now)
	return n, nil
}

// sharedBatch is externalBatch where several operators read the input.
func (t *Task) sharedBatch(in *input, now time.Time) (n int64, err error) {
	b := in.queue[0]
	for b.Next(&in.head) {
		n++
		if err := t.one(in, now); err != nil {
			return n, err
		}
	}
	return n, nil
}

// repartitionBatch is the path behind a repartition topic: time by watermarks.
func (t *Task) repartitionBatch(in *input, now time.Time) (n int64, err error) {
	b := in.queue[0]
	for b.Next(&in.head) {
		n++
		if err := t.one(in, now); err != nil {
			return n, err
		}
	}
	return n, nil
}

// extract sets the record's event time by the source's extractor; false if the
// record does not decode and has been dealt with.
func (t *Task) extract(in *input) (ok bool, err error) {
	ms, err := t.unit.EventTime(in.timed, &t.rec)
	if err != nil {
		return false, t.bad(err)
	}
	t.rec.Timestamp, t.rec.StreamTime = ms, ms
	return true, nil
}

// account notes what a batch brought.
func (t *Task) account(in *input, n, bytes int64, now time.Time) {
	if n == 0 {
		return
	}
	in.records += n
	in.bytes += bytes
	in.moved = true
	in.lastAt = now
	t.maxEvent = max(t.maxEvent, in.time)
	t.dirty = true
}

func (t *Task) copyHeaders(hs []record.Header) {
	t.headers = appendHeaders(t.headers[:0], hs)
	t.rec.Headers = t.headers
}

// one processes the head of an input: a record, or a watermark.
func (t *Task) one(in *input, now time.Time) error {
	v := &in.head
	in.hasHead = false
	r := &t.rec
	*r = processor.Record{
		Key: v.Key, Value: v.Value, Timestamp: v.Timestamp, StreamTime: v.Timestamp,
		Topic: in.tp.Topic, Partition: int32(in.tp.Partition), Offset: int64(v.Offset),
	}
	if len(v.Headers) > 0 {
		t.copyHeaders(v.Headers)
		if in.repartition {
			carried, ok, watermark := internalHeaders(v.Headers)
			if watermark != nil {
				return t.takeWatermark(in, watermark, now)
			}
			if ok {
				r.StreamTime = max(carried, v.Timestamp)
			}
		}
	}
	if in.timed >= 0 {
		if ok, err := t.extract(in); err != nil || !ok {
			in.next, in.moved, t.dirty = v.Offset+1, true, true
			return err
		}
	}
	in.seen, in.time = true, max(in.time, r.Timestamp)
	t.account(in, 1, int64(len(v.Key)+len(v.Value)), now)
	if !in.repartition {
		if err := t.observe(now); err != nil {
			return t.fail(err)
		}
		r.StreamTime = max(t.streamTime, r.Timestamp)
	}
	for _, source := range in.sources {
		if t.streamTime >= t.unit.NextTime() {
			if err := t.unit.Advance(t.streamTime); err != nil {
				return t.fail(err)
			}
		}
		if err := t.unit.Process(source, r); err != nil || t.err != nil {
			if err := t.bad(err); err != nil {
				return err
			}
			break
		}
	}
	in.next = v.Offset + 1
	return nil
}

func (t *Task) takeWatermark(in *input, from []byte, now time.Time) error {
	id, ok := parseTaskID(from)
	ms, okTime := time64(in.head.Value)
	if !ok || !okTime || !in.watermark(id, ms) {
		return t.fail(fmt.Errorf("%w from %q", ErrBadWatermark, from))
	}
	in.next = in.head.Offset + 1
	in.moved, t.dirty = true, true
	t.rec = processor.Record{} // a window that closes has no input record
	return t.fail(t.observe(now))
}

// workMerged takes the record with the least timestamp among the inputs' heads,
// ties in the order of the sources, as long as no input must be waited for.
func (t *Task) workMerged(now time.Time, ends Ends, maxBytes int64) (n int64, err error) {
	for {
		if n&63 == 63 && t.full(maxBytes) {
			return n, nil
		}
		in, err := t.choose(now, ends)
		if in == nil || err != nil {
			return n, err
		}
		if err := t.one(in, now); err != nil {
			return n, err
		}
		n++
	}
}

// choose picks the input to read from; nil if there is none, or if one without
// data must be waited for.
func (t *Task) choose(now time.Time, ends Ends) (best *input, err error) {
	missing := false
	for _, in := range t.inputs {
		if err := t.fill(in); err != nil {
			return nil, fmt.Errorf("task %v: read %s-%d: %w", t.cfg.ID, in.tp.Topic, in.tp.Partition, err)
		}
		if !in.hasHead {
			missing = t.waitFor(in, now, ends) || missing
			continue
		}
		in.emptySince = time.Time{}
		if in.repartition && isWatermark(in.head.Headers) {
			return in, nil // it has no place in the order of records
		}
		if best == nil || in.headAt < best.headAt {
			best = in
		}
	}
	t.waiting = best != nil && missing
	if t.waiting {
		return nil, nil
	}
	return best, nil
}

// fill makes an input's head the next record, and finds its event time.
func (t *Task) fill(in *input) error {
	if in.hasHead {
		return nil
	}
	if err := in.fill(); err != nil || !in.hasHead {
		return err
	}
	in.headAt = in.head.Timestamp
	if in.timed < 0 {
		return nil
	}
	r := processor.Record{Key: in.head.Key, Value: in.head.Value, Timestamp: in.head.Timestamp,
		Topic: in.tp.Topic, Partition: int32(in.tp.Partition), Offset: int64(in.head.Offset)}
	if ms, err := t.unit.EventTime(in.timed, &r); err == nil {
		in.headAt = ms // one that does not decode is dealt with when its turn comes
	}
	return nil
}

// waitFor reports whether an input without data holds the others up: in a
// bounded run until it has ended; else while the log has more of it, and for
// MaxTaskIdle from when it was first found empty.
func (t *Task) waitFor(in *input, now time.Time, ends Ends) bool {
	if t.cfg.Bounded {
		return !in.ended()
	}
	if in.emptySince.IsZero() {
		in.emptySince = now
	}
	return now.Sub(in.emptySince) < t.cfg.MaxTaskIdle || (ends != nil && in.next < ends(in.tp))
}

// Waiting reports whether an input without data holds the others up, and for
// how much longer at most; 0 if until data comes.
func (t *Task) Waiting(now time.Time) (left time.Duration, ok bool) {
	if !t.waiting || t.cfg.Bounded {
		return 0, t.waiting
	}
	for _, in := range t.inputs {
		if !in.hasHead && !in.emptySince.IsZero() {
			left = max(left, t.cfg.MaxTaskIdle-now.Sub(in.emptySince))
		}
	}
	return left, true
}

func isWatermark(hs []record.Header) bool {
	for i := range hs {
		if hs[i].Key == headerWatermark {
			return true
		}
	}
	return false
}

// bad decides about an error of Process: a record that does not decode has its
// handler, everything else stops the task.
func (t *Task) bad(err error) error {
	if t.err != nil {
		return t.fail(t.err)
	}
	var de *processor.DecodeError
	if !errors.As(err, &de) || t.cfg.BadRecord == Stop {
		return t.fail(err)
	}
	if t.cfg.BadRecord == Skip {
		t.counts.Skipped++
		return nil
	}
	return t.fail(t.deadLetter("decode", de.Error(), &t.rec))
}

// recover turns a user function's panic into an error.
func (t *Task) recover(err *error) {
	p := recover()
	if p == nil {
		return
	}
	op := ""
	if t.unit != nil {
		op = t.unit.Running()
	}
	*err = &PanicError{Task: t.cfg.ID, Operator: op, Topic: t.rec.Topic, Partition: t.rec.Partition, Offset: t.rec.Offset, Value: p, Stack: debug.Stack()}
}
