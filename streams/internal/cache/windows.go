package cache

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
)

// Windows caches a window store. A window is named by its start in
// milliseconds; keys are the encoded keys without the window.
type Windows[V any] struct {
	store[V]

	// wins holds the windows by place (Entry.owner); a place is used again after
	// its window expired, with the next generation.
	wins   []*window[V]
	places []uint32     // free places
	order  []*window[V] // live windows by start
	last   *window[V]   // the window found last; probed
	// used is the ring of the windows that may have entries cached, the longest
	// untouched first: its next is the first one.
	used  window[V]
	steps int64 // of shrink, for tests

	discovered bool  // order names every window that the backend holds
	floor      int64 // windows that start before have expired
	commits    uint64
	sizeHint   int // entries of the window that expired last
}

// window is one window's table.
type window[V any] struct {
	start int64
	place uint32
	gen   uint32
	t     table[V]

	pinned   int    // entries dirty or flushed
	touched  uint64 // Windows.commits when it was last looked up
	stored   bool   // the backend may hold entries of it
	complete bool   // every value of the window is in t
	probed   bool

	prev, next *window[V] // in Windows.used; nil if it is not there
}

// NewWindows returns a cache of store (an index into SubTopology.Stores).
// Caches of one unit share budget.
func NewWindows[V any](h processor.Host, store int, s Serde[V], budget *Budget) *Windows[V] {
	c := &Windows[V]{store: newStore(h, store, s, budget), floor: processor.NoTime}
	c.used.prev, c.used.next = &c.used, &c.used
	return c
}

// Find returns the entry of key in the window, nil if there is no value.
func (c *Windows[V]) Find(startMS int64, key []byte) (*Entry[V], error) {
	w := c.last
	if w == nil || w.start != startMS {
		var err error
		if w, err = c.window(startMS, false); err != nil || w == nil {
			return nil, err
		}
	}
	hash := hashKey(key)
	e := w.t.find(hash, key)
	if e == nil {
		var err error
		if e, err = c.miss(w, hash, key, false); err != nil || e == nil {
			return nil, err
		}
	} else {
		c.hits++
		e.flags |= flagUsed
	}
	if !e.Exists() {
		return nil, nil
	}
	return e, nil
}

// FindOrCreate returns the entry of key in the window, as KV.FindOrCreate does.
// It fails with ErrExpired if the window starts before the last Expire.
func (c *Windows[V]) FindOrCreate(startMS int64, key []byte) (*Entry[V], error) {
	w := c.last
	if w == nil || w.start != startMS {
		var err error
		if w, err = c.window(startMS, true); err != nil {
			return nil, err
		}
	}
	hash := hashKey(key)
	if e := w.t.find(hash, key); e != nil {
		c.hits++
		e.flags |= flagUsed
		return e, nil
	}
	return c.miss(w, hash, key, true)
}

// miss looks behind the window's table; see KV.miss.
func (c *Windows[V]) miss(w *window[V], hash uint32, key []byte, create bool) (e *Entry[V], err error) {
	if w.complete {
		c.hits++
		if !create {
			return nil, nil
		}
		e = c.insert(&w.t, hash, key)
	} else {
		if c.budget.over() {
			c.sweep(&w.t, min(sweepSteps, 2*int(w.t.next)))
		}
		c.keyBuf = state.AppendWindowKey(c.keyBuf[:0], w.start, key)
		if e, err = c.load(&w.t, hash, key, c.keyBuf); err != nil {
			return nil, err
		}
	}
	e.owner = w.place
	return e, nil
}

// window looks a window up, and makes it if create is set and it is new.
func (c *Windows[V]) window(startMS int64, create bool) (*window[V], error) {
	if !c.discovered {
		if err := c.discover(); err != nil {
			return nil, err
		}
	}
	i, ok := c.position(startMS)
	var w *window[V]
	switch {
	case ok:
		w = c.order[i]
	case startMS < c.floor && create:
		return nil, fmt.Errorf("store %d: the window that starts at %d ms, live windows start at %d ms or later: %w", c.index, startMS, c.floor, ErrExpired)
	case !create:
		return nil, nil
	default:
		w = c.add(i, startMS)
		w.complete, w.probed = true, true // the backend does not have it
		if c.sizeHint*3 > minSlots*2 {
			w.t.grow(1<<bits.Len(uint(c.sizeHint*3/2)), &c.pool.pool)
		}
	}
	c.touch(w)
	if !w.probed {
		if err := c.probe(w); err != nil {
			return nil, err
		}
	}
	c.last = w
	return w, nil
}

// touch makes w the last of used.
func (c *Windows[V]) touch(w *window[V]) {
	w.touched = c.commits
	w.unlink()
	w.prev, w.next = c.used.prev, &c.used
	w.prev.next, w.next.prev = w, w
}

func (w *window[V]) unlink() {
	if w.next != nil {
		w.prev.next, w.next.prev = w.next, w.prev
		w.prev, w.next = nil, nil
	}
}

// position finds startMS in order, or where it belongs. New windows and most
// lookups are at the end.
func (c *Windows[V]) position(startMS int64) (int, bool) {
	for i := len(c.order) - 1; i >= max(0, len(c.order)-4); i-- {
		if s := c.order[i].start; s <= startMS {
			if s == startMS {
				return i, true
			}
			return i + 1, false
		}
	}
	return slices.BinarySearchFunc(c.order, startMS, func(w *window[V], s int64) int {
		switch {
		case w.start < s:
			return -1
		case w.start > s:
			return 1
		}
		return 0
	})
}

// add makes a window's place, at i in order.
func (c *Windows[V]) add(i int, startMS int64) *window[V] {
	var w *window[V]
	if n := len(c.places); n > 0 {
		w = c.wins[c.places[n-1]]
		c.places = c.places[:n-1]
	} else {
		w = &window[V]{place: uint32(len(c.wins))}
		c.wins = append(c.wins, w)
	}
	w.start = startMS
	c.order = slices.Insert(c.order, i, w)
	return w
}

// discover learns which windows the backend holds: a scan that seeks on to the
// next window where one has many entries.
func (c *Windows[V]) discover() error {
	const scanned = 32 // entries of one window before a seek pays
	c.discovered = true
	from := state.AppendWindowStart(nil, c.floor)
	if c.floor == processor.NoTime {
		from = nil
	}
	for {
		var inner error
		var again bool
		n, last := 0, int64(0)
		err := c.backend.Range(from, nil, func(fullKey, _ []byte) bool {
			start, _, ok := state.SplitWindowKey(fullKey)
			if !ok {
				inner = fmt.Errorf("store %d: a key of %d bytes, expected a window's start of 8 bytes first: the state is not this program's", c.index, len(fullKey))
				return false
			}
			if n == 0 || start != last {
				w := c.add(len(c.order), start)
				w.stored, w.complete, w.probed = true, false, false
				n, last = 0, start
			}
			n++
			again = n > scanned
			return !again
		})
		if err = cmpErr(inner, err); err != nil {
			return err
		}
		if !again || last == processor.MaxTime {
			return nil
		}
		from = state.AppendWindowStart(nil, last+1)
	}
}

// probe reads a window into its table as far as the budget reaches.
func (c *Windows[V]) probe(w *window[V]) error {
	w.probed, w.complete = true, true
	from, to := bounds(w.start)
	var inner error
	err := c.backend.Range(from, to, func(fullKey, stored []byte) bool {
		if c.budget.over() {
			w.complete = false
			return false
		}
		key := fullKey[len(from):]
		if hash := hashKey(key); w.t.find(hash, key) == nil {
			var e *Entry[V]
			if e, inner = c.insertDecoded(&w.t, hash, key, stored); inner == nil {
				e.owner = w.place
			}
		}
		return inner == nil
	})
	return cmpErr(inner, err)
}

// Changed says that Value or TimestampMS was written in place.
func (c *Windows[V]) Changed(e *Entry[V]) {
	if e.flags&(flagDirty|flagExists) != flagDirty|flagExists {
		e.flags |= flagExists
		c.change(e)
	}
}

func (c *Windows[V]) change(e *Entry[V]) {
	if e.Dirty() {
		return
	}
	w := c.wins[e.owner]
	if c.mark(e, w.gen) {
		w.pinned++
	}
}

// Set stores a detached copy of v (the serde's Own) and its timestamp.
func (c *Windows[V]) Set(e *Entry[V], v V, timestampMS int64) {
	c.set(e, v, timestampMS)
	c.Changed(e)
}

// Delete removes the value, as KV.Delete does.
func (c *Windows[V]) Delete(e *Entry[V], timestampMS int64) {
	var zero V
	e.Value, e.TimestampMS = zero, timestampMS
	c.setHeap(&c.wins[e.owner].t, e, 0)
	e.flags &^= flagExists
	c.change(e)
}

// Key is the entry's encoded key, borrowed as the entry is.
func (c *Windows[V]) Key(e *Entry[V]) []byte { return c.wins[e.owner].t.key(e) }

// Start is the start of the entry's window in milliseconds.
func (c *Windows[V]) Start(e *Entry[V]) int64 { return c.wins[e.owner].start }

// NextStart is the least start >= fromMS of a window that holds or held an
// entry and has not expired, cached or only in the backend. After a restart it
// is how the open windows are found.
func (c *Windows[V]) NextStart(fromMS int64) (startMS int64, ok bool, err error) {
	if !c.discovered {
		if err := c.discover(); err != nil {
			return 0, false, err
		}
	}
	i, _ := c.position(fromMS)
	if i == len(c.order) {
		return 0, false, nil
	}
	return c.order[i].start, true, nil
}

// Ascend calls fn for every value of one window in the order of the key bytes,
// cached or not. Key and value are borrowed: a value that is not cached may
// alias memory that is used again after fn. fn must not call the cache.
func (c *Windows[V]) Ascend(startMS int64, fn func(key []byte, v V, timestampMS int64) error) error {
	w, err := c.window(startMS, false)
	if w == nil || err != nil {
		return err
	}
	from, to := bounds(startMS)
	return c.ascend(&w.t, w.complete, from, to, len(from), fn)
}

// Dirty calls fn for the entries of windows that start before beforeMS
// (processor.MaxTime: all) and changed since the last Flush, in the order in
// which they were first changed; also for deleted ones (Exists is false). fn
// must not call the cache. Call it before Expire where changes must be seen.
func (c *Windows[V]) Dirty(beforeMS int64, fn func(startMS int64, key []byte, e *Entry[V]) error) error {
	for _, ref := range c.dirty {
		w := c.wins[ref.owner]
		if w.gen != ref.gen || (w.start >= beforeMS && beforeMS != processor.MaxTime) {
			continue
		}
		e := w.t.entry(ref.idx)
		if err := fn(w.start, w.t.key(e), e); err != nil {
			return err
		}
	}
	return nil
}

// Expire drops the windows that start before startMS, here and (Host.Expire) in
// the store. Changes to them that were not flushed never reach the changelog.
func (c *Windows[V]) Expire(startMS int64) error {
	if startMS <= c.floor {
		return nil
	}
	c.floor = startMS
	n := 0
	for n < len(c.order) && c.order[n].start < startMS {
		w := c.order[n]
		c.sizeHint = max(w.t.n, c.sizeHint/2)
		c.drop(&w.t)
		w.unlink()
		*w = window[V]{place: w.place, gen: w.gen + 1, t: w.t}
		c.places = append(c.places, w.place)
		n++
	}
	if n > 0 {
		c.order = slices.Delete(c.order, 0, n)
		c.last = nil
	}
	return c.host.Expire(c.index, startMS)
}

// Flush hands every changed entry to the changelog, once.
func (c *Windows[V]) Flush() error {
	for _, ref := range c.dirty {
		w := c.wins[ref.owner]
		if w.gen != ref.gen {
			continue
		}
		e := w.t.entry(ref.idx)
		c.keyBuf = state.AppendWindowKey(c.keyBuf[:0], w.start, w.t.key(e))
		w.stored = true
		if err := c.emit(&w.t, e, c.keyBuf); err != nil {
			return err
		}
	}
	c.flushedAll()
	return nil
}

// Committed makes the flushed entries clean and evicts down to the budget.
func (c *Windows[V]) Committed() {
	for _, ref := range c.flushed {
		w := c.wins[ref.owner]
		if w.gen != ref.gen {
			continue
		}
		e := w.t.entry(ref.idx)
		e.flags &^= flagFlushed
		if !e.Dirty() {
			w.pinned--
		}
	}
	c.flushed = c.flushed[:0]
	if len(c.dirty) == 0 {
		c.dirtyBytes = 0
	}
	if c.budget.over() {
		c.pool.trim()
		c.shrink()
	}
	c.commits++
	c.last = nil
}

// shrink evicts whole clean windows that the last transaction did not touch,
// the longest untouched first, then by CLOCK in what remains. A window that it
// passes loses entries or is where it stops, so that it costs O(1) an eviction,
// however many windows are open.
func (c *Windows[V]) shrink() {
	for w := c.used.next; c.budget.over() && w != &c.used && w.touched < c.commits; w = c.used.next {
		c.steps++
		if w.pinned > 0 { // changed since the flush: it belongs to the next transaction
			c.touch(w)
			continue
		}
		c.forget(w)
	}
	for w := c.used.next; c.budget.over() && w != &c.used; {
		c.steps++
		next := w.next
		if c.sweep(&w.t, 2*int(w.t.next)) {
			w.complete = false
		}
		if w.t.n == 0 {
			c.forget(w)
		}
		w = next
	}
}

// forget gives back a clean window's memory.
func (c *Windows[V]) forget(w *window[V]) {
	w.unlink()
	if w.t.n > 0 {
		w.complete, w.probed = !w.stored, !w.stored
	}
	c.drop(&w.t)
}

// Usage reports sizes and counters.
func (c *Windows[V]) Usage() processor.Usage { return c.usage() }
