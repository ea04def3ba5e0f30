package op

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// MaxTimers is how many timers, told apart by name, a Process operator may have.
const MaxTimers = 4

// TimerBucketMS is the width of a window of the store of due timers: a power of
// two, about a second. What is due in one bucket is sorted together.
const TimerBucketMS = 1 << 10

const never = math.MaxInt64

// timers keeps a Process operator's timers: at most one pending time per key and
// name. They are in two stores. byKey says which times a key waits for. index is
// a window store of (time, key), ordered by time, in which each key has at most
// one entry, so that the next timer is a look at its first bucket, and what has
// fired is dropped bucket by bucket, without tombstones.
//
// A timer that is set to a later time again and again (a timeout) leaves its
// index entry where it is: when that is reached, the key goes back into the index
// at the time that it waits for then.
//
// Invariant: indexed, of a key, is at or before every time in at.
// Invariant: an index entry whose time is not its key's indexed is stale.
type timers struct {
	t     *Task
	node  topology.NodeID
	byKey *cache.KV[KeyTimers]
	index *cache.Windows[struct{}]
	fire  func(c *Ctx, id int, key []byte) // calls the user's function
	// wait: a timer fires when the task's stream time reaches it, not by what a
	// record of its key carries.
	wait bool
	end  func(timestampMS int64) int64

	head     timerHeap
	due      int64 // time of the next entry of the index
	advanced int64

	now     int64 // while a function runs: times up to it have been reached
	to      int64 // while a function runs: time goes on to it at once
	floor   int64 // the least time that the running function can set
	carried int64 // the stream time that timers carry at least which the running function set
	current []byte
	settled bool // the current key's index entry needs no change
	early   bool // the current key has a time that has been reached

	popKey, indexKey []byte
}

// KeyTimers are the times that a key waits for, by the number of the timer.
type KeyTimers struct {
	indexed int64 // of its entry in the index
	at      [MaxTimers]int64
}

var noTimers = KeyTimers{indexed: never, at: [MaxTimers]int64{never, never, never, never}}

// next is the earliest time that the key waits for.
func (k *KeyTimers) next() int64 {
	at := k.at[0]
	for _, t := range k.at[1:] {
		at = min(at, t)
	}
	return at
}

// newTimers adds an operator's timers to the unit. end may be nil.
func newTimers(t *Task, node topology.NodeID, byKey, index string, wait bool, end func(int64) int64) *timers {
	m := &timers{t: t, node: node, wait: wait, end: end, due: never, advanced: processor.NoTime, now: processor.NoTime, floor: processor.NoTime}
	m.byKey = cache.NewKV[KeyTimers](t.host, t.store(byKey), KeyTimersSerde{}, t.budget)
	m.index = cache.NewWindows[struct{}](t.host, t.store(index), DueSerde{}, t.budget)
	t.addState(node, m)
	return m
}

// set makes the current key wait for a time. A time that has been reached fires
// when the running function returns; of a timer's own function it becomes the
// next millisecond.
func (m *timers) set(key []byte, id int, at int64) error {
	at = max(at, m.floor)
	e, err := m.byKey.FindOrCreate(key)
	if err != nil {
		return err
	}
	k := &e.Value
	if !e.Exists() {
		*k = noTimers
	}
	k.at[id] = at
	switch {
	case at <= m.now:
		m.early, m.settled = true, false
	case at < k.indexed:
		m.settled = false
	}
	e.TimestampMS = at
	m.byKey.Changed(e)
	return nil
}

// setOf is set for any key, which then waits in the index at once.
func (m *timers) setOf(key []byte, id int, at int64) error {
	settled, early, floor := m.settled, m.early, m.floor
	m.settled, m.early, m.floor = true, false, max(m.now, m.advanced)+1
	err := m.set(key, id, at)
	if err == nil && !m.settled {
		err = m.settle(key)
	}
	m.settled, m.early, m.floor = settled, early, floor
	if bytes.Equal(key, m.current) {
		m.settled = false
	}
	return err
}

func (m *timers) cancel(key []byte, id int) error {
	e, err := m.byKey.Find(key)
	if err != nil || e == nil {
		return err
	}
	e.Value.at[id] = never
	m.byKey.Changed(e)
	m.settled = m.settled && e.Value.indexed != never
	return nil
}

// get is the time that a key waits for, never if none.
func (m *timers) get(key []byte, id int) (int64, error) {
	e, err := m.byKey.Find(key)
	if err != nil || e == nil {
		return never, err
	}
	return e.Value.at[id], nil
}

// settle brings the key's index entry in line with the times it waits for.
func (m *timers) settle(key []byte) error {
	m.settled = true
	e, err := m.byKey.Find(key)
	if err != nil || e == nil {
		return err
	}
	was, at := e.Value.indexed, e.Value.next()
	switch {
	case at == never && was == never:
		m.byKey.Delete(e, e.TimestampMS)
		return nil
	case at >= was:
		return nil // it is found there, and goes on from there
	}
	e.Value.indexed = at
	m.byKey.Changed(e)
	if was != never {
		if err := m.unindex(was, key); err != nil {
			return err
		}
	}
	return m.insert(at, key)
}

func (m *timers) dueKey(at int64, key []byte) []byte {
	m.indexKey = state.AppendWindowKey(m.indexKey[:0], at, key)
	return m.indexKey
}

func bucketOf(at int64) int64 { return at &^ (TimerBucketMS - 1) }

func (m *timers) unindex(at int64, key []byte) error {
	e, err := m.index.Find(bucketOf(at), m.dueKey(at, key))
	if err == nil && e != nil {
		m.index.Delete(e, at)
	}
	return err
}

func (m *timers) insert(at int64, key []byte) error {
	e, err := m.index.FindOrCreate(bucketOf(at), m.dueKey(at, key))
	if err != nil {
		return err
	}
	e.TimestampMS = at
	m.index.Changed(e)
	m.head.insert(at, key)
	m.due = min(m.due, at)
	return nil
}

// begin prepares for a function that runs for a record of the key.
func (m *timers) begin(c *Ctx, key []byte) {
	m.now = m.advanced
	if !m.wait {
		m.now = max(m.now, c.StreamTime)
	}
	m.to = m.now
	m.floor, m.carried, m.current = processor.NoTime, processor.NoTime, key
	m.settled, m.early = true, false
	if m.due <= m.now {
		m.early = true
		m.finish(c)
	}
	m.carried = c.StreamTime
}

// reached is the time to which time goes on at once: no record comes before it.
func (m *timers) reached() int64 { return max(m.now, m.to) }

// finish runs the current key's timers whose time has been reached, in the order
// of their times, and ends what begin began.
func (m *timers) finish(c *Ctx) {
	key := m.current
	for m.early && c.err == nil {
		m.early = false
		at, id, err := m.takeNext(key, m.now)
		if err != nil {
			c.fail(err)
			return
		}
		if at == never {
			break
		}
		m.call(c, id, at, key)
		m.early = true
	}
	m.floor = processor.NoTime
	if !m.settled && c.err == nil {
		if err := m.settle(key); err != nil {
			c.fail(err)
		}
	}
}

// takeNext takes the key's earliest time, if it is at or before upTo, and of
// equal ones the first by number.
func (m *timers) takeNext(key []byte, upTo int64) (at int64, id int, err error) {
	e, err := m.byKey.Find(key)
	if err != nil || e == nil {
		return never, 0, err
	}
	k := &e.Value
	for i, t := range k.at {
		if t < k.at[id] {
			id = i
		}
	}
	if at = k.at[id]; at == never || at > upTo {
		return never, 0, nil
	}
	k.at[id] = never
	m.byKey.Changed(e)
	m.settled = m.settled && k.indexed != never
	return at, id, nil
}

// call runs the function of a timer: what it causes has the timer's time.
func (m *timers) call(c *Ctx, id int, at int64, key []byte) {
	saved := *c
	c.caused(at, max(at, m.carried), key)
	m.floor = at + 1
	c.node = m.node
	m.fire(c, id, key)
	err := c.err
	*c = saved
	c.err = err
}

func (m *timers) times() (due, advanced *int64) { return &m.due, &m.advanced }

// advance takes the next entry of the index: the timers of one key at one time.
func (m *timers) advance(c *Ctx) error {
	at, key, ok := m.head.pop()
	if !ok {
		return m.refill()
	}
	m.popKey = append(m.popKey[:0], key...)
	m.advanced = max(m.advanced, at)
	if err := m.popped(c, at, m.popKey); err != nil {
		return err
	}
	if err := m.index.Expire(bucketOf(m.advanced)); err != nil {
		return err
	}
	return m.refill()
}

func (m *timers) popped(c *Ctx, at int64, key []byte) error {
	e, err := m.byKey.Find(key)
	if err != nil {
		return err
	}
	if e == nil || e.Value.indexed != at {
		return nil // stale
	}
	e.Value.indexed = never
	m.byKey.Changed(e)
	m.now, m.to, m.carried, m.current = at, max(at, c.target), processor.NoTime, key
	m.settled, m.early = false, true
	c.caused(at, at, key)
	m.finish(c)
	return c.take()
}

// refill loads the first bucket that has entries, if head has none.
func (m *timers) refill() error {
	for m.head.empty() {
		start, ok, err := m.index.NextStart(m.head.next)
		if err != nil {
			return err
		}
		if m.head.none = !ok; !ok {
			m.due = never
			return nil
		}
		m.head.load(start)
		err = m.index.Ascend(start, func(key []byte, _ struct{}, _ int64) error {
			if len(key) < 8 {
				return fmt.Errorf("a due timer's key has %d bytes, expected 8 or more: the state is not this program's", len(key))
			}
			return m.head.loaded(key)
		})
		if err != nil && !errors.Is(err, errHeadFull) {
			return err
		}
	}
	m.due = m.head.first()
	return nil
}

func (m *timers) restore(advanced int64) error {
	m.advanced = advanced
	first := int64(math.MinInt64)
	if advanced != processor.NoTime {
		first = bucketOf(advanced)
		if err := m.index.Expire(first); err != nil {
			return err
		}
	}
	m.head.reset(first)
	return m.refill()
}

// lastEnd, of windowOp: see newTimers.
func (m *timers) lastEnd(timestampMS int64) int64 {
	if m.end == nil {
		return timestampMS
	}
	return m.end(timestampMS)
}

func (m *timers) emitOnCommit(*Ctx) error { return nil }

func (m *timers) flush() error {
	if err := m.byKey.Flush(); err != nil {
		return err
	}
	return m.index.Flush()
}

func (m *timers) done() {
	m.byKey.Committed()
	m.index.Committed()
}

func (m *timers) usage() processor.Usage {
	a, b := m.byKey.Usage(), m.index.Usage()
	a.DirtyBytes += b.DirtyBytes
	a.CacheBytes += b.CacheBytes
	a.Entries += b.Entries
	a.CacheHits += b.CacheHits
	a.CacheMisses += b.CacheMisses
	return a
}

// KeyTimersSerde encodes KeyTimers: the time of the index entry (varint, the
// greatest int64 for none), then for each pending timer its number (1 byte) and
// its time (varint), all in milliseconds.
type KeyTimersSerde struct{}

// Append appends the encoded times.
func (KeyTimersSerde) Append(dst []byte, k KeyTimers) ([]byte, error) {
	dst = binary.AppendVarint(dst, k.indexed)
	for id, at := range k.at {
		if at != never {
			dst = append(dst, byte(id))
			dst = binary.AppendVarint(dst, at)
		}
	}
	return dst, nil
}

var errTimers = errors.New("a key's timers are malformed")

// Decode decodes what Append wrote.
func (KeyTimersSerde) Decode(b []byte) (KeyTimers, error) {
	k := noTimers
	at, n := binary.Varint(b)
	if n <= 0 {
		return k, errTimers
	}
	k.indexed, b = at, b[n:]
	for len(b) > 0 {
		id := b[0]
		at, n := binary.Varint(b[1:])
		if n <= 0 || id >= MaxTimers {
			return k, errTimers
		}
		k.at[id], b = at, b[1+n:]
	}
	return k, nil
}

// Own returns k: it holds no pointers.
func (KeyTimersSerde) Own(k KeyTimers) KeyTimers { return k }

// Aliases is false.
func (KeyTimersSerde) Aliases() bool { return false }

// Name is for the fingerprint.
func (KeyTimersSerde) Name() string { return "timers" }

// DueSerde encodes the entries of the index: nothing, their key says it all.
type DueSerde struct{}

// Append appends nothing.
func (DueSerde) Append(dst []byte, _ struct{}) ([]byte, error) { return dst, nil }

// Decode expects nothing.
func (DueSerde) Decode(b []byte) (struct{}, error) {
	if len(b) != 0 {
		return struct{}{}, errTimers
	}
	return struct{}{}, nil
}

// Own returns nothing.
func (DueSerde) Own(struct{}) struct{} { return struct{}{} }

// Aliases is false.
func (DueSerde) Aliases() bool { return false }

// Name is for the fingerprint.
func (DueSerde) Name() string { return "due" }
