package syslog

import "sync"

// sender is where lines come from.
type sender struct {
	host      []byte // the address: the key of lines that name no host
	remote    []byte // address and port
	transport []byte
	subject   []byte // of a verified client certificate; nil: none
}

// piece is a line on its way into the queue, borrowed from a socket's buffer.
type piece struct {
	line   []byte
	sender *sender
	bad    error // why it is a dead letter already
}

// received is one line in a chunk's arena.
type received struct {
	from, to int
	at       int64 // nanoseconds since the Unix epoch
	sender   *sender
	bad      error
}

// lineOverhead is what a line costs beside its bytes, so that empty ones are bounded.
const lineOverhead = 64

// chunk is some lines with their bytes.
type chunk struct {
	arena []byte
	lines []received
}

func (c *chunk) reset() {
	clear(c.lines)
	c.arena, c.lines = c.arena[:0], c.lines[:0]
}

func (c *chunk) size() int { return len(c.arena) + lineOverhead*len(c.lines) }

// append copies other behind what c has.
func (c *chunk) append(other *chunk) {
	shift := len(c.arena)
	c.arena = append(c.arena, other.arena...)
	for _, r := range other.lines {
		r.from, r.to = r.from+shift, r.to+shift
		c.lines = append(c.lines, r)
	}
}

// queue holds lines between the sockets and Read, bounded by bytes. A full
// queue blocks push: stream senders feel it as backpressure, of datagrams the
// kernel keeps what fits its buffer and counts what it drops.
//
// Invariant: ready holds a token whenever pending has lines and nobody took them.
type queue struct {
	max   int
	ready chan struct{}

	mu      sync.Mutex
	space   sync.Cond
	pending chunk
	hasty   bool // pushes do not wait: what was read from a socket must go somewhere
}

func newQueue(maxBytes int) *queue {
	q := &queue{max: maxBytes, ready: make(chan struct{}, 1)}
	q.space.L = &q.mu
	return q
}

// push copies lines that came at the same time into the queue.
func (q *queue) push(lines []piece, at int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range lines {
		for !q.hasty && len(q.pending.lines) > 0 && q.pending.size()+lineOverhead+len(p.line) > q.max {
			q.space.Wait()
		}
		from := len(q.pending.arena)
		q.pending.arena = append(q.pending.arena, p.line...)
		q.pending.lines = append(q.pending.lines, received{from: from, to: len(q.pending.arena), at: at, sender: p.sender, bad: p.bad})
		if len(q.ready) == 0 {
			select {
			case q.ready <- struct{}{}:
			default:
			}
		}
	}
}

// take swaps what is there for an empty chunk, whose memory it reuses.
func (q *queue) take(into *chunk) {
	into.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	*into, q.pending = q.pending, *into
	q.space.Broadcast()
}

// hurry lets pushes go beyond the bound, or no longer.
func (q *queue) hurry(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hasty = on
	q.space.Broadcast()
}
