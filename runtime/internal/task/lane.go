package task

import (
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/streams/processor"
)

// lane is what one upstream task sent to a repartition partition, in its order,
// as far as it was dealt out and not processed yet. Only a task that merges
// several inputs has lanes; the lane of number i is that of input.upstream[i].
//
// A lane may be far ahead of another one that the task waits for. It holds as
// much as it may, and what follows is left out and read again when it has room.
//
// Invariant: everything of the lane below upstream[i].Next was processed.
// Invariant: mark is the last watermark dealt into the lane; a record after it
// has no lesser time.
type lane struct {
	queue []parcel
	first int // of queue: what lies before was processed
	mark  int64
	bytes int64 // that the queue holds
	// cut: what follows the queue was left out for want of room; it begins at from.
	cut        bool
	from       record.Offset
	emptySince time.Time // when a live run first missed a record of it
}

// parcel is a record or a watermark with bytes of its own.
type parcel struct {
	key, value []byte
	headers    []processor.Header // the user's
	timestamp  int64
	carried    int64 // the stream time that it carries; of a watermark, the watermark
	at         int64 // its time in the merge
	offset     record.Offset
	watermark  bool
}

func (l *lane) has() bool { return l.first < len(l.queue) }

func (l *lane) head() *parcel { return &l.queue[l.first] }

func (l *lane) push(p parcel) {
	if l.first > 0 && l.first == len(l.queue) {
		l.queue, l.first = l.queue[:0], 0
	}
	if l.first > 64 && 2*l.first >= len(l.queue) {
		n := copy(l.queue, l.queue[l.first:])
		clear(l.queue[n:])
		l.queue, l.first = l.queue[:n], 0
	}
	l.queue = append(l.queue, p)
	l.bytes += p.size()
	l.emptySince = time.Time{}
}

const parcelBytes = 128 // without key, value and headers

func (p *parcel) size() int64 {
	n := int64(parcelBytes + len(p.key) + len(p.value))
	for _, h := range p.headers {
		n += int64(64 + len(h.Value))
	}
	return n
}

// pop takes the head out; it stays valid until the next push.
func (l *lane) pop() *parcel {
	p := l.head()
	l.bytes -= p.size()
	l.first++
	return p
}

// openLanes makes the lanes of a repartition input.
func (in *input) openLanes() {
	in.lanes = make([]lane, len(in.upstream))
	for i := range in.lanes {
		in.lanes[i].mark = in.upstream[i].Time
	}
	in.read = in.next
}

// bestLane puts the input's first record into best if it goes before; it returns
// a watermark if one is at the head of its lane.
func (in *input) bestLane(best *pick, rank int) (mark pick) {
	for j := range in.lanes {
		l := &in.lanes[j]
		if !l.has() {
			continue
		}
		p := l.head()
		if p.watermark {
			return pick{in: in, lane: l, sub: j}
		}
		if best.before(p.at, rank, j) {
			*best = pick{in: in, lane: l, at: p.at, rank: rank, sub: j}
		}
	}
	return mark
}

// deal puts the next record of what was read into its lane; false if nothing is left.
func (t *Task) deal(in *input) (ok bool, err error) {
	for len(in.queue) > 0 {
		b := in.queue[0]
		if !b.Next(&in.head) {
			if err := in.finish(b); err != nil {
				return false, t.readError(in, err)
			}
			continue
		}
		i, p, err := t.parse(in, &in.head)
		if err != nil {
			return false, err
		}
		in.read = in.head.Offset + 1
		l := &in.lanes[i]
		switch {
		case l.cut || p.offset < in.upstream[i].Next: // it comes again, or was processed before a restart
		case t.overfull(in, l):
			l.cut, l.from = true, p.offset
		default:
			in.put(l, p, &in.head)
			return true, nil
		}
	}
	return false, nil
}

// parse finds a record's lane and what is special to it.
func (t *Task) parse(in *input, v *record.View) (i int, p parcel, err error) {
	carried, hasTime, watermark := internalHeaders(v.Headers)
	p = parcel{timestamp: v.Timestamp, carried: v.Timestamp, offset: v.Offset, watermark: watermark != nil}
	from := watermark
	if p.watermark {
		ms, ok := time64(v.Value)
		if !ok {
			return 0, p, t.badWatermark(watermark)
		}
		p.carried = ms
	} else if from = sender(v.Headers); hasTime {
		p.carried = max(carried, v.Timestamp)
	}
	if i = in.laneOf(from); i < 0 {
		t.rec.Topic, t.rec.Partition, t.rec.Offset = in.tp.Topic, int32(in.tp.Partition), int64(v.Offset)
		return 0, p, t.badWatermark(from)
	}
	return i, p, nil
}

// put appends a record to its lane.
func (in *input) put(l *lane, p parcel, v *record.View) {
	if p.watermark {
		l.mark = max(l.mark, p.carried)
	} else {
		p.at = max(p.carried, l.mark)
		p.key, p.value = in.own(v.Key), in.own(v.Value)
		p.headers = in.ownHeaders(v.Headers)
	}
	l.push(p)
}

// laneBytes is what a lane may hold in any case.
const laneBytes = 64 << 10

// overfull reports whether a lane holds as much as it may.
func (t *Task) overfull(in *input, l *lane) bool {
	return t.cfg.Reread != nil && l.has() && l.bytes >= max(t.cfg.CacheBytes/int64(len(in.lanes)), laneBytes)
}

// refill reads the lanes that were cut short and are used up once more, from
// where they were cut to where dealing out is.
func (t *Task) refill(in *input) error {
	for i := range in.lanes {
		l := &in.lanes[i]
		if l.has() || !l.cut {
			continue
		}
		l.cut = false
		var err error
		reread := t.cfg.Reread(in.tp, l.from, in.read, func(v *record.View) bool {
			var p parcel
			var j int
			if j, p, err = t.parse(in, v); err != nil || j != i {
				return err == nil
			}
			if l.cut = t.overfull(in, l); l.cut {
				l.from = p.offset
				return false
			}
			in.put(l, p, v)
			return true
		})
		if err != nil {
			return err
		}
		if reread != nil {
			return t.readError(in, reread)
		}
	}
	return nil
}

// laneOf finds an upstream task's lane; a record that names none is of the first.
func (in *input) laneOf(id []byte) int {
	if id == nil {
		return 0
	}
	from, ok := parseTaskID(id)
	if !ok {
		return -1
	}
	for i := range in.upstream {
		if in.upstream[i].Task == from {
			return i
		}
	}
	return -1
}

const parcelChunk = 64 << 10

// own copies bytes into memory that is never written again: decoded values may
// point into it.
func (in *input) own(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) > parcelChunk/4 {
		return append([]byte{}, b...)
	}
	if cap(in.chunk)-len(in.chunk) < len(b) {
		in.chunk = make([]byte, 0, parcelChunk)
	}
	n := len(in.chunk)
	in.chunk = append(in.chunk, b...)
	return in.chunk[n:len(in.chunk):len(in.chunk)]
}

func (in *input) ownHeaders(hs []record.Header) []processor.Header {
	own := appendHeaders(nil, hs)
	for i := range own {
		own[i] = processor.Header{Key: in.intern(own[i].Key), Value: in.own(own[i].Value)}
	}
	return own
}

// intern returns a header's key with memory of its own; there are few.
func (in *input) intern(key string) string {
	if s, ok := in.names[key]; ok {
		return s
	}
	if in.names == nil || len(in.names) == 256 {
		in.names = map[string]string{}
	}
	key = strings.Clone(key)
	in.names[key] = key
	return key
}

// oneOfLane processes the head of a lane: a record, or a watermark.
func (t *Task) oneOfLane(in *input, l *lane, now time.Time) error {
	p := l.pop()
	if p.watermark {
		t.dirty = true
		t.rec = processor.Record{} // a window that closes has no input record
		in.watermark(in.upstream[in.numberOf(l)].Task, p.carried)
		return t.fail(t.observe(now))
	}
	t.rec = processor.Record{
		Key: p.key, Value: p.value, Headers: p.headers, Timestamp: p.timestamp, StreamTime: p.carried,
		Topic: in.tp.Topic, Partition: int32(in.tp.Partition), Offset: int64(p.offset),
	}
	size := int64(len(p.key) + len(p.value))
	p.key, p.value, p.headers = nil, nil, nil
	if t.judged(in) {
		if ok, err := t.judge(in); err != nil || !ok {
			t.dirty = true
			return err
		}
	}
	in.seen, in.time = true, max(in.time, p.timestamp)
	t.account(in, 1, size, now)
	return t.process(in)
}

func (in *input) numberOf(l *lane) int {
	for i := range in.lanes {
		if &in.lanes[i] == l {
			return i
		}
	}
	panic("task: a lane of another input")
}

// settle finds where each lane goes on, and the partition: everything below the
// least of them was processed.
func (t *Task) settle() {
	for _, in := range t.inputs {
		if in.lanes == nil {
			continue
		}
		in.next = in.read
		for i := range in.lanes {
			l := &in.lanes[i]
			at := in.read
			switch {
			case l.has():
				at = l.head().offset
			case l.cut:
				at = l.from
			}
			in.upstream[i].Next = max(in.upstream[i].Next, at)
			in.next = min(in.next, at)
		}
	}
}
