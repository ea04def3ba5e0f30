package engine

import "errors"

// Crash ends a run as if its process had died: nothing is committed any more.
func (e *Engine) Crash() { e.fail(errors.New("killed by the test")) }

// TakesForGone reports whether e has ended the transactions of another instance
// and not heard of it since.
func TakesForGone(e, other *Engine) bool {
	e.departed.mu.Lock()
	defer e.departed.mu.Unlock()
	_, ok := e.departed.since[other.instance]
	return ok
}
