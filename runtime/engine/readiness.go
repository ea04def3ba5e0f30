package engine

import (
	"fmt"
	"time"
)

// Readiness is what /readyz answers: whether all runs, and the state of every
// connector.
type Readiness struct {
	Ready      bool              `json:"ready"`
	Reason     string            `json:"reason,omitempty"` // the first of them
	Phase      Phase             `json:"phase"`
	Connectors []ConnectorHealth `json:"connectors"`
}

// ConnectorHealth is one source or sink. While it is retrying, Since says since
// when, Error what the last attempt met and NextAttempt when the next one is.
type ConnectorHealth struct {
	Kind        string    `json:"kind"` // source or sink
	Name        string    `json:"name"`
	State       string    `json:"state"` // opening, running, retrying, ended, failed
	Since       time.Time `json:"since"`
	Attempts    int       `json:"attempts,omitempty"`
	Error       string    `json:"error,omitempty"`
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
}

// Live is nil unless the engine has failed: what /healthz answers.
func (e *Engine) Live() error {
	e.status.mu.Lock()
	defer e.status.mu.Unlock()
	return e.status.err
}

// Ready is nil while the engine runs and every source and sink is connected:
// what /readyz answers. A source whose input is over is fine.
func (e *Engine) Ready() error {
	_, err := e.readiness()
	return err
}

// Readiness is Ready with the state of every connector.
func (e *Engine) Readiness() Readiness {
	r, _ := e.readiness()
	return r
}

func (e *Engine) readiness() (r Readiness, err error) {
	e.status.mu.Lock()
	r.Phase = e.status.phase
	e.status.mu.Unlock()
	r.Connectors = []ConnectorHealth{}
	if r.Phase != PhaseRunning {
		err = fmt.Errorf("%w: it is %s", ErrNotRunning, r.Phase)
	}
	add := func(kind string, s ConnectorSnapshot) {
		r.Connectors = append(r.Connectors, ConnectorHealth{
			Kind: kind, Name: s.Name, State: s.State, Since: s.Since, Attempts: s.Attempts,
			Error: s.Error, NextAttempt: s.NextAttempt, LastSuccess: s.LastSuccess,
		})
		if s.State == stateRunning || s.State == stateEnded && kind == "source" || err != nil {
			return
		}
		err = fmt.Errorf("%s %s is %s since %s", kind, s.Name, s.State, s.Since.UTC().Format(time.RFC3339))
		if s.Error != "" {
			err = fmt.Errorf("%w: %s", err, s.Error)
		}
	}
	for _, s := range e.sources {
		add("source", s.state.snapshot())
	}
	for _, s := range e.sinks {
		add("sink", s.state.snapshot())
	}
	r.Ready, r.Reason = err == nil, text(err)
	return r, err
}
