package syslog

import "sync"

// sender is where lines come from.
type sender struct {
	remote []byte // address and port
	host   []byte // the address: the key of lines that name no host
}

// received is one line in a chunk's arena.
type received struct {
	from, to int
	at       int64 // nanoseconds since the Unix epoch
	sender   *sender
	bad      error // why it is a dead letter already
}

// chunk is some lines with their bytes.
type chunk struct {
	arena []byte
	lines []received
}

func (c *chunk) reset() {
	clear(c.lines)
	c.arena, c.lines = c.arena[:0], c.lines[:0]
}

// queue holds lines between the sockets and Read, bounded by bytes. A full
// queue blocks push: TCP senders feel it as backpressure, of UDP the kernel
// keeps what fits its buffer and counts what it drops.
//
// Invariant: ready holds a token whenever pending has lines and nobody took them.
type queue struct {
	max   int
	ready chan struct{}

	mu      sync.Mutex
	space   sync.Cond
	pending chunk
	closed  bool
}

func newQueue(maxBytes int) *queue {
	q := &queue{max: maxBytes, ready: make(chan struct{}, 1)}
	q.space.L = &q.mu
	return q
}

// push copies a line into the queue; it reports false once the queue is closed.
func (q *queue) push(line []byte, r received) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	// A line costs its bookkeeping too, so that empty ones are bounded.
	for !q.closed && len(q.pending.lines) > 0 && len(q.pending.arena)+64*len(q.pending.lines)+len(line) > q.max {
		q.space.Wait()
	}
	if q.closed {
		return false
	}
	r.from = len(q.pending.arena)
	q.pending.arena = append(q.pending.arena, line...)
	r.to = len(q.pending.arena)
	q.pending.lines = append(q.pending.lines, r)
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return true
}

// take swaps what is there for an empty chunk, which it reuses.
func (q *queue) take(into *chunk) {
	into.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	*into, q.pending = q.pending, *into
	q.space.Broadcast()
}

// close ends every push.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.space.Broadcast()
}
