package engine

import (
	"fmt"
	"time"
)

// Live is nil unless the engine has failed: what /healthz answers.
func (e *Engine) Live() error {
	e.status.mu.Lock()
	defer e.status.mu.Unlock()
	return e.status.err
}

// Ready is nil while the engine runs, the state of all its tasks is restored, and
// every source and sink is connected:
// what /readyz answers. A source whose input is over, or that another instance runs, is fine. The error names
// the first connector that is not, since when, and what its last attempt met;
// State has all of them.
func (e *Engine) Ready() error {
	e.status.mu.Lock()
	phase := e.status.phase
	e.status.mu.Unlock()
	if phase != PhaseRunning {
		if err := e.replays.ready(); phase == PhaseRestoring && err != nil {
			return err
		}
		return fmt.Errorf("%w: it is %s", ErrNotRunning, phase)
	}
	if err := e.replays.ready(); err != nil {
		return err
	}
	for _, s := range e.sources {
		if snap := s.state.snapshot(); snap.State != stateEnded && snap.State != stateElsewhere {
			if err := snap.ready(kindSource); err != nil {
				return err
			}
		}
	}
	for _, s := range e.sinks {
		snap := s.state.snapshot()
		if err := snap.ready(kindSink); err != nil {
			return err
		}
	}
	return nil
}

func (s *ConnectorSnapshot) ready(kind string) error {
	if s.State == stateRunning {
		return nil
	}
	err := fmt.Errorf("%s %s is %s since %s", kind, s.Name, s.State, s.Since.UTC().Format(time.RFC3339))
	if s.Error != "" {
		err = fmt.Errorf("%w: %s", err, s.Error)
	}
	return err
}
