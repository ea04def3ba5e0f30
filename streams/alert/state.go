package alert

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/millstream-io/millstream/streams/serde"
)

// keyState is what a rule knows of one key. It lives in the rule's State and is
// changed in place, then put back. Times are in milliseconds.
//
// An alert's life:
//
//	idle ──holds──▶ pending ──has held for For──▶ firing ──ends──▶ idle
//
// Invariant: slices are in the order of their starts and hold at least one record each.
type keyState struct {
	slices []slice
	first  int64 // time of the first record, or when the key came to be expected
	last   int64 // greatest time of a record, or first
	now    int64 // the greatest time that the key has seen: of records and timers
	timer  int64 // what the timer is set to; never

	judged    int64 // start of the last window that was judged; never
	before    tally // of that window
	was       measured
	phase     phase
	since     int64 // when the condition began to hold
	start     int64 // of the span in which it did, or in which it fired
	end       int64
	number    int64 // notices of this incident
	repeatAt  int64
	lastStart int64 // start of the last incident that sent a notice; never
	acc       any   // of Absent
}

type phase uint8

const (
	idle phase = iota
	pending
	firing
)

const never = math.MaxInt64

// slice is a span of time with the records in it: a window of In, or a part of
// what Over looks at.
type slice struct {
	start   int64
	reached int64 // when the window's number first reached the limit; never
	fired   bool
	n       tally
	acc     any
}

// tally is the aggregate of some records.
type tally struct {
	count  int64
	sum    float64
	least  float64
	most   float64
	last   float64
	lastAt int64
}

func (t *tally) add(v float64, at int64) {
	if t.count == 0 {
		t.least, t.most, t.last, t.lastAt = v, v, v, at
	}
	t.count++
	t.sum += v
	t.least, t.most = min(t.least, v), max(t.most, v)
	if at >= t.lastAt {
		t.last, t.lastAt = v, at
	}
}

// merge adds o, as far as the aggregate needs it.
func (t *tally) merge(o *tally, a aggregate) {
	if a <= avg {
		t.count += o.count
		t.sum += o.sum
		return
	}
	if t.count == 0 {
		*t = *o
		return
	}
	t.count += o.count
	t.least, t.most = min(t.least, o.least), max(t.most, o.most)
	if o.lastAt >= t.lastAt {
		t.last, t.lastAt = o.last, o.lastAt
	}
}

// number is the aggregate; ok is false if there is none of no records.
func (t *tally) number(a aggregate) (v float64, ok bool) {
	switch a {
	case count:
		return float64(t.count), true
	case sum:
		return t.sum, true
	}
	if t.count == 0 {
		return 0, false
	}
	switch a {
	case avg:
		return t.sum / float64(t.count), true
	case least:
		return t.least, true
	case most:
		return t.most, true
	default:
		return t.last, true
	}
}

// measured is a number that was judged.
type measured struct {
	v     float64
	ok    bool
	count int64
}

// stateSerde encodes keyState, version 1: numbers are varints, floats 8 bytes
// big-endian; see Append for the order.
type stateSerde struct{ c collecting }

const stateVersion = 1

func (s stateSerde) Append(dst []byte, st *keyState) ([]byte, error) {
	if st == nil {
		return dst, serde.ErrNull
	}
	dst = append(dst, stateVersion, byte(st.phase), flag(st.was.ok))
	for _, v := range st.times() {
		dst = binary.AppendVarint(dst, *v)
	}
	dst = appendFloat(dst, st.was.v)
	dst = appendTally(dst, &st.before)
	dst, err := s.appendAcc(dst, st.acc)
	if err != nil {
		return dst, err
	}
	dst = binary.AppendUvarint(dst, uint64(len(st.slices)))
	for i := range st.slices {
		w := &st.slices[i]
		dst = binary.AppendVarint(dst, w.start)
		dst = binary.AppendVarint(dst, w.reached)
		dst = append(dst, flag(w.fired))
		dst = appendTally(dst, &w.n)
		if dst, err = s.appendAcc(dst, w.acc); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// times are the state's whole numbers, in the order of their encoding.
func (st *keyState) times() [12]*int64 {
	return [...]*int64{&st.first, &st.last, &st.now, &st.timer, &st.judged, &st.was.count, &st.since, &st.start, &st.end, &st.number, &st.repeatAt, &st.lastStart}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
}

// appendTally appends the number of records and, if there are any, the rest.
func appendTally(dst []byte, t *tally) []byte {
	dst = binary.AppendVarint(dst, t.count)
	if t.count == 0 {
		return dst
	}
	dst = binary.AppendVarint(dst, t.lastAt)
	for _, f := range [...]float64{t.sum, t.least, t.most, t.last} {
		dst = appendFloat(dst, f)
	}
	return dst
}

// appendAcc appends an accumulator's length plus one and its bytes; 0 for none.
func (s stateSerde) appendAcc(dst []byte, acc any) ([]byte, error) {
	if acc == nil || s.c == nil {
		return append(dst, 0), nil
	}
	b, err := s.c.encode(nil, acc)
	if err != nil && !errors.Is(err, serde.ErrNull) {
		return dst, err
	}
	if err != nil {
		return append(dst, 0), nil
	}
	dst = binary.AppendUvarint(dst, uint64(len(b))+1)
	return append(dst, b...), nil
}

var errState = errors.New("the state of an alert is malformed")

func (s stateSerde) Decode(b []byte) (*keyState, error) {
	if len(b) < 3 || b[0] != stateVersion || phase(b[1]) > firing {
		return nil, errState
	}
	st := &keyState{phase: phase(b[1])}
	st.was.ok = b[2] == 1
	d := reader{b: b[3:]}
	for _, v := range st.times() {
		*v = d.varint()
	}
	st.was.v = d.float()
	st.before = d.tally()
	st.acc = d.acc(s.c)
	for range d.count() {
		w := slice{start: d.varint(), reached: d.varint(), fired: d.byte() == 1}
		w.n = d.tally()
		w.acc = d.acc(s.c)
		st.slices = append(st.slices, w)
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = errState
	}
	return st, d.err
}

// Own detaches what Collect gathered, in place: a state is only ever in one store.
func (s stateSerde) Own(st *keyState) *keyState {
	if st == nil || s.c == nil {
		return st
	}
	if st.acc != nil {
		s.c.own(st.acc)
	}
	for i := range st.slices {
		if acc := st.slices[i].acc; acc != nil {
			s.c.own(acc)
		}
	}
	return st
}

func (s stateSerde) Aliases() bool            { return false }
func (s stateSerde) Lifetime() serde.Lifetime { return serde.Safe }

func (s stateSerde) Name() string {
	if s.c == nil {
		return "alert"
	}
	return "alert(" + s.c.name() + ")"
}

// reader takes an encoded state apart; after an error everything is zero.
type reader struct {
	b   []byte
	err error
}

func (d *reader) fail() {
	d.b, d.err = nil, errState
}

func (d *reader) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *reader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *reader) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *reader) float() float64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := math.Float64frombits(binary.BigEndian.Uint64(d.b))
	d.b = d.b[8:]
	return v
}

func (d *reader) tally() (t tally) {
	if t.count = d.varint(); t.count == 0 {
		return t
	}
	t.lastAt = d.varint()
	for _, f := range [...]*float64{&t.sum, &t.least, &t.most, &t.last} {
		*f = d.float()
	}
	return t
}

// count reads how many slices follow; one has at least 5 bytes.
func (d *reader) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)/5) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *reader) acc(c collecting) any {
	n := d.uvarint()
	if n == 0 || d.err != nil {
		return nil
	}
	if n--; c == nil || n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	acc, err := c.decode(b)
	if err != nil && d.err == nil {
		d.b, d.err = nil, err
	}
	return acc
}
