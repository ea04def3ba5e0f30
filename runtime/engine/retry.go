package engine

import (
	"fmt"
	"time"
)

// Retry says how a connector that failed is tried again. The zero value of a
// field is its documented default; the zero Retry tries for good.
type Retry struct {
	// First is about the wait after the first failure; each further one waits
	// about twice as long, up to Most. Defaults 100 ms and 30 s.
	First, Most time.Duration
	// Jitter is the part of a wait that is random: a wait d takes between
	// d-d*Jitter and d. Default 0.5; negative: none.
	Jitter float64
	// Attempts bounds how often one record is tried; 0: it is not bounded.
	Attempts int
	// For bounds the time from the first failure on; 0: it is not bounded.
	For time.Duration
	// Then is what happens when a bound is reached: "dead-letter" puts the records
	// aside that could not be written and goes on (sinks only, their default),
	// "stop" ends the run with the last error (of sources, and of every Open).
	Then string
}

func (r Retry) withDefaults(then string) Retry {
	def(&r.First, 100*time.Millisecond)
	def(&r.Most, 30*time.Second)
	def(&r.Jitter, 0.5)
	def(&r.Then, then)
	r.Most = max(r.Most, r.First)
	r.Jitter = max(r.Jitter, 0)
	return r
}

// validate reports the problems of a policy with its defaults filled in.
func (r Retry) validate(add func(string, ...any), of string, then ...string) {
	if r.First < 0 || r.Most < 0 || r.For < 0 {
		add("%s: Retry.First, Most and For are %v, %v and %v, expected 0 or more", of, r.First, r.Most, r.For)
	}
	if r.Attempts < 0 {
		add("%s: Retry.Attempts is %d, expected 0 or more", of, r.Attempts)
	}
	if r.Jitter > 1 {
		add("%s: Retry.Jitter is %v, expected at most 1", of, r.Jitter)
	}
	oneOf(add, fmt.Sprintf("%s: Retry.Then", of), r.Then, then...)
}
