package syslog

import (
	"sync"
	"time"
)

// quietFor is how long a socket must be silent while draining to be done.
const quietFor = 100 * time.Millisecond

// patience is the read deadline of a socket: how long it may be silent, and
// while draining how long it may go on. arm is called by the socket's reader,
// drain by anybody.
type patience struct {
	mu    sync.Mutex
	sock  interface{ SetReadDeadline(time.Time) error }
	until time.Time // once draining
	armed bool
}

// arm sets the deadline of the next read; 0 is for good.
func (p *patience) arm(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.until.IsZero():
		p.hurry()
	case wait > 0:
		p.armed = true
		p.sock.SetReadDeadline(time.Now().Add(wait))
	case p.armed:
		p.armed = false
		p.sock.SetReadDeadline(time.Time{})
	}
}

// drain says when reading ends at the latest.
func (p *patience) drain(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until.IsZero() || until.Before(p.until) {
		p.until = until
		p.hurry()
	}
}

// hurry sets the deadline while draining.
func (p *patience) hurry() {
	at := time.Now().Add(quietFor)
	if p.until.Before(at) {
		at = p.until
	}
	p.sock.SetReadDeadline(at)
}

func (p *patience) draining() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.until.IsZero()
}
