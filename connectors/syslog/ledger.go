package syslog

import (
	"crypto/rand"
	"encoding/binary"
)

// ledger keeps the lines that Read has handed over until they are committed, so
// that a log which refuses for a moment costs no lines: sockets cannot replay,
// the ledger can. Lines are numbered from 0 since the Source was made; the
// position is the number after the last one, with an id under which another
// process does not mistake it for its own.
//
// The engine reads on after Position only when the transaction with it is
// committed; otherwise it opens the source again, at what was committed.
//
// Invariant: chunks hold the lines from first on, in order; the next one to read
// is line next of chunks[at] and has the number read; first <= read <= most.
type ledger struct {
	id     [8]byte
	chunks []*chunk
	at     int
	next   int
	first  uint64
	read   uint64
	most   uint64 // lines below it have been handed over before
	marked uint64 // what Position said last
	size   int    // of chunks

	spare    chunk
	free     []*chunk
	position [16]byte
}

const (
	smallChunk = 256 << 10 // smaller ones are put together
	mostFree   = 2
	// mostHeld bounds what is kept for a commit that does not come: the engine
	// commits at a quarter of it.
	mostHeld = 64 << 20
)

func newLedger() *ledger {
	l := &ledger{}
	rand.Read(l.id[:])
	return l
}

// fill takes what the queue has; false if that is nothing.
func (l *ledger) fill(q *queue) bool {
	q.take(&l.spare)
	if len(l.spare.lines) == 0 {
		return false
	}
	size := l.spare.size()
	l.size += size
	if n := len(l.chunks); n > 0 && l.chunks[n-1].size()+size <= smallChunk {
		l.chunks[n-1].append(&l.spare)
		return true
	}
	var c *chunk
	if n := len(l.free); n > 0 {
		c, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c = new(chunk)
	}
	*c, l.spare = l.spare, *c
	l.chunks = append(l.chunks, c)
	for l.size > mostHeld && l.at > 0 {
		l.drop()
	}
	return true
}

// line is the next line to read and the chunk that holds its bytes; nil if there
// is none. again says that it has been handed over before.
func (l *ledger) line() (c *chunk, r *received, again bool) {
	for l.at < len(l.chunks) && l.next == len(l.chunks[l.at].lines) {
		if l.at == len(l.chunks)-1 {
			return nil, nil, false
		}
		l.at, l.next = l.at+1, 0
	}
	if l.at == len(l.chunks) {
		return nil, nil, false
	}
	c = l.chunks[l.at]
	r = &c.lines[l.next]
	l.next++
	l.read++
	if l.read > l.most {
		l.most = l.read
		return c, r, false
	}
	return c, r, true
}

// waiting is how many lines have not been handed over.
func (l *ledger) waiting() int {
	n := -l.next
	for _, c := range l.chunks[l.at:] {
		n += len(c.lines)
	}
	return n
}

// mark is the position after what was handed over.
func (l *ledger) mark() []byte {
	l.marked = l.read
	copy(l.position[:8], l.id[:])
	binary.BigEndian.PutUint64(l.position[8:], l.read)
	return l.position[:]
}

// committed forgets what mark covered.
func (l *ledger) committed() {
	for l.at > 0 && l.first+uint64(len(l.chunks[0].lines)) <= l.marked {
		l.drop()
	}
	if l.at == 0 && len(l.chunks) == 1 && l.next == len(l.chunks[0].lines) && l.read <= l.marked {
		l.at, l.next = 1, 0
		l.drop()
	}
}

// drop forgets the first chunk, which has been read.
func (l *ledger) drop() {
	c := l.chunks[0]
	l.first += uint64(len(c.lines))
	l.size -= c.size()
	l.chunks = append(l.chunks[:0], l.chunks[1:]...)
	l.at--
	if c.reset(); len(l.free) < mostFree {
		l.free = append(l.free, c)
	}
}

// rewind goes back to a position, or to the oldest line that is held if the
// position is another process's, or nil: then nothing of ours is committed.
func (l *ledger) rewind(position []byte) {
	to := l.first
	if len(position) == len(l.position) && string(position[:8]) == string(l.id[:]) {
		to = min(max(binary.BigEndian.Uint64(position[8:]), l.first), l.read)
	}
	l.read, l.marked, l.at = to, to, 0
	skip := int(to - l.first)
	for l.at < len(l.chunks) && skip >= len(l.chunks[l.at].lines) {
		skip -= len(l.chunks[l.at].lines)
		l.at++
	}
	l.next = skip
	if l.at == len(l.chunks) && l.at > 0 { // all is read
		l.at--
		l.next = len(l.chunks[l.at].lines)
	}
}
