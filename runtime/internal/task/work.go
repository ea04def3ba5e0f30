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
		if t.judged(in) {
			if ok, err := t.judge(in); err != nil {
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
			t.advancing = true
			if err := unit.Advance(t.streamTime); err != nil {
				return n, t.fail(err)
			}
			t.advancing = false
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

// Event times, in milliseconds, of the years 1 to 9999: what RFC 3339 and JSON
// can say, and far enough from the ends of an int64 that sums of times hold.
const (
	minEventTime = -62_135_596_800_000
	maxEventTime = 253_402_300_799_999
)

func inRange(ms int64) bool { return ms >= minEventTime && ms <= maxEventTime }

// judged reports whether the record needs a second look before it is processed.
func (t *Task) judged(in *input) bool {
	return t.cfg.Poisoned != nil || in.timed >= 0 || !inRange(t.rec.Timestamp)
}

// judge is that look: ok is false if the record is not to be processed, because a
// function has panicked at it before, it does not decode or has no possible time,
// and has been dealt with.
func (t *Task) judge(in *input) (ok bool, err error) {
	if t.cfg.Poisoned != nil {
		if aside, err := t.putAside(); err != nil || aside {
			return false, err
		}
	}
	if in.timed >= 0 || !inRange(t.rec.Timestamp) {
		return t.extract(in)
	}
	return true, nil
}

// extract sets the record's event time by the source's extractor, if it has one;
// false if the record does not decode, or has no possible time, and has been dealt with.
func (t *Task) extract(in *input) (ok bool, err error) {
	ms := t.rec.Timestamp
	if in.timed >= 0 {
		if ms, err = t.unit.EventTime(in.timed, &t.rec); err != nil {
			return false, t.bad(err)
		}
	}
	if !inRange(ms) {
		return false, t.bad(&processor.DecodeError{Topic: t.rec.Topic, Partition: t.rec.Partition, Offset: t.rec.Offset, Field: "event time",
			Err: impossibleTime(ms)})
	}
	t.rec.Timestamp, t.rec.StreamTime = ms, ms
	return true, nil
}

func impossibleTime(ms int64) error {
	return fmt.Errorf("%d ms is outside of the years 1 to 9999", ms)
}

// account notes what a batch brought.
func (t *Task) account(in *input, n, bytes int64, now time.Time) {
	if n == 0 {
		return
	}
	in.records += n
	in.bytes += bytes
	in.moved = true
	in.lastAt, in.floor = now, processor.NoTime
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
	if t.judged(in) {
		if ok, err := t.judge(in); err != nil || !ok {
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
	if err := t.process(in); err != nil {
		return err
	}
	in.next = v.Offset + 1
	return nil
}

// process hands the record to the operators that read the input.
func (t *Task) process(in *input) error {
	for _, source := range in.sources {
		if t.streamTime >= t.unit.NextTime() {
			t.advancing = true
			if err := t.unit.Advance(t.streamTime); err != nil {
				return t.fail(err)
			}
			t.advancing = false
		}
		if err := t.unit.Process(source, &t.rec); err != nil || t.err != nil {
			if err := t.bad(err); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func (t *Task) takeWatermark(in *input, from []byte, now time.Time) error {
	id, ok := parseTaskID(from)
	ms, okTime := time64(in.head.Value)
	if !ok || !okTime || !in.watermark(id, ms) {
		return t.badWatermark(from)
	}
	in.next = in.head.Offset + 1
	in.moved, t.dirty = true, true
	t.rec = processor.Record{} // a window that closes has no input record
	return t.fail(t.observe(now))
}

func (t *Task) badWatermark(from []byte) error {
	return t.fail(fmt.Errorf("%w from %q", ErrBadWatermark, from))
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

// putAside deals with the record if it is one at which a function has panicked
// before, and reports whether it was.
func (t *Task) putAside() (bool, error) {
	reason, aside, keep := t.cfg.Poisoned(t.rec.Topic, t.rec.Partition, t.rec.Offset)
	switch {
	case !aside:
		return false, nil
	case !keep:
		t.counts.Skipped++
		return true, nil
	}
	return true, t.fail(t.deadLetter("panic", reason, &t.rec))
}

// recover turns a user function's panic into an error.
func (t *Task) recover(err *error) {
	p := recover()
	if p == nil {
		return
	}
	if t.advancing { // a closing window or a timer: no record is to blame
		t.rec.Topic = ""
	}
	op := ""
	if t.unit != nil {
		op = t.unit.Running()
	}
	*err = &PanicError{Task: t.cfg.ID, Operator: op, Topic: t.rec.Topic, Partition: t.rec.Partition, Offset: t.rec.Offset, Value: p, Stack: debug.Stack()}
}
