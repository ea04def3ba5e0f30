package op

import (
	"bytes"
	"errors"
	"math"

	"github.com/millstream-io/millstream/streams/state"
)

// headMost is how many entries of one bucket are loaded at a time.
const headMost = 1 << 16

var errHeadFull = errors.New("the head of the timers is full")

// timerHeap holds the index's entries of one bucket, the first that has any, as a
// heap by time, then key. Of a bucket with very many it holds the first ones.
//
// Invariant: no bucket before start has live entries; of start, those after limit
// may be missing here if more is set, others not.
type timerHeap struct {
	start   int64 // of the bucket
	next    int64 // no bucket before it is to be loaded
	none    bool  // the index is known to have no live entries but those here
	more    bool
	limit   timerPoint
	last    timerPoint // the last that was taken: nothing live is at or before it
	entries []timerEntry
	arena   []byte // of the keys
}

// timerPoint is a place in the order of timers.
type timerPoint struct {
	at  int64
	key []byte
}

func (p *timerPoint) set(at int64, key []byte) { p.at, p.key = at, append(p.key[:0], key...) }

func (p *timerPoint) before(at int64, key []byte) bool {
	if p.at != at {
		return p.at < at
	}
	return bytes.Compare(p.key, key) < 0
}

type timerEntry struct {
	at       int64
	off, len uint32 // of the key, in arena
}

func (h *timerHeap) key(e timerEntry) []byte { return h.arena[e.off : e.off+e.len : e.off+e.len] }

func (h *timerHeap) empty() bool { return len(h.entries) == 0 }

func (h *timerHeap) first() int64 { return h.entries[0].at }

// reset forgets everything: buckets from next on are to be loaded.
func (h *timerHeap) reset(next int64) {
	h.clear(next)
	h.next, h.none = next, false
	h.last.set(math.MinInt64, nil)
}

func (h *timerHeap) clear(start int64) {
	h.entries, h.arena = h.entries[:0], h.arena[:0]
	h.start, h.more = start, false
}

// load begins to load a bucket, whose entries come in order through loaded.
func (h *timerHeap) load(start int64) {
	h.clear(start)
	h.next = start + TimerBucketMS
}

func (h *timerHeap) loaded(dueKey []byte) error {
	at, key, _ := state.SplitWindowKey(dueKey)
	switch {
	case !h.last.before(at, key):
		return nil // it has fired
	case len(h.entries) == headMost:
		e := h.entries[headMost-1]
		h.limit.set(e.at, h.key(e))
		h.more, h.next = true, h.start
		return errHeadFull
	}
	h.append(at, key)
	return nil
}

func (h *timerHeap) append(at int64, key []byte) {
	h.entries = append(h.entries, timerEntry{at: at, off: uint32(len(h.arena)), len: uint32(len(key))})
	h.arena = append(h.arena, key...)
}

// insert takes note of an entry that was put into the index.
func (h *timerHeap) insert(at int64, key []byte) {
	start := bucketOf(at)
	switch {
	case start < h.start, start > h.start && h.none && h.empty():
		h.none = h.none && h.empty()
		h.load(start) // it is the bucket's only one
	case start > h.start, h.more && h.limit.before(at, key):
		h.none = false
		return // it is found when it is loaded
	case len(h.entries) == 2*headMost: // replaced entries are still here: load them again
		h.clear(start)
		h.more, h.next = true, start
		h.limit.set(math.MinInt64, nil)
		return
	}
	h.append(at, key)
	for i := len(h.entries) - 1; i > 0; {
		p := (i - 1) / 2
		if !h.less(i, p) {
			break
		}
		h.swap(i, p)
		i = p
	}
}

func (h *timerHeap) less(i, j int) bool {
	a, b := h.entries[i], h.entries[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return bytes.Compare(h.key(a), h.key(b)) < 0
}

func (h *timerHeap) swap(i, j int) { h.entries[i], h.entries[j] = h.entries[j], h.entries[i] }

// pop takes the first entry. The key is valid until the next pop.
func (h *timerHeap) pop() (at int64, key []byte, ok bool) {
	n := len(h.entries) - 1
	if n < 0 {
		return 0, nil, false
	}
	e := h.entries[0]
	h.last.set(e.at, h.key(e))
	h.swap(0, n)
	h.entries = h.entries[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			break
		}
		h.swap(i, c)
		i = c
	}
	return h.last.at, h.last.key, true
}
