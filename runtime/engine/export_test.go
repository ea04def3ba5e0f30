package engine

import "errors"

// Crash ends a run as if its process had died: nothing is committed any more.
func (e *Engine) Crash() { e.fail(errors.New("killed by the test")) }
