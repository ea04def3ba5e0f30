package wire

import (
	"sync"
	"time"
)

// watchAfter is how long a handler must have been waiting before anybody looks
// whether its client is still there: most long polls are shorter.
const watchAfter = time.Second

// peerWatch looks for the end of a connection while its handler waits for
// something else, and ends the handler's context then. It only peeks, so that a
// request that is already there stays there.
type peerWatch struct {
	c    *conn
	done chan struct{} // closed when run has ended

	mu      sync.Mutex // guards what follows and the read deadline
	stopped bool
}

// watch begins to watch; the function that it gives ends it.
func (c *conn) watch() (stop func()) {
	if c.sock == nil || !canPeek {
		return func() {}
	}
	w := &peerWatch{c: c, done: make(chan struct{})}
	t := time.AfterFunc(watchAfter, w.run)
	return func() {
		if t.Stop() {
			return
		}
		w.mu.Lock()
		w.stopped = true
		_ = c.sock.SetReadDeadline(time.Unix(1, 0))
		w.mu.Unlock()
		<-w.done
	}
}

func (w *peerWatch) run() {
	defer close(w.done)
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	_ = w.c.sock.SetReadDeadline(time.Time{})
	w.mu.Unlock()
	if w.c.peerGone() {
		w.c.cancel()
	}
}
