package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// Retry says how a connector that failed is tried again. The zero value of a
// field is its documented default; the zero Retry tries for good.
type Retry struct {
	// First is about the wait after the first failure; each further one waits
	// about twice as long, up to Most. A connector that knows better
	// (connectors.RetryAfterError) is waited for longer. Defaults 100 ms and 30 s.
	First, Most time.Duration
	// Jitter is the part of a wait that is random: a wait d takes between
	// d-d*Jitter and d. Default 0.5; negative: none.
	Jitter float64
	// Attempts bounds how often one Write or Open is tried without any progress;
	// 0: it is not bounded.
	Attempts int
	// For bounds the time from the first failure without progress on: no attempt
	// begins after it. 0: it is not bounded.
	For time.Duration
	// Then is what happens when a bound is reached: "dead-letter" tries the
	// records that are left once more, each by itself, puts aside those that
	// still fail and goes on (sinks only, their default); "stop" ends the run
	// with the last error (of sources, and of every Open).
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

// retrier counts failures in a row and says how long to wait. It belongs to its
// runner's goroutine and has no clock of its own.
type retrier struct {
	policy   Retry
	attempts int // that failed without progress
	since    time.Time
}

// progressed forgets the failures so far.
func (r *retrier) progressed() { r.attempts, r.since = 0, time.Time{} }

// failed counts one more failure at now. It returns how long to wait, or false
// if the policy's bound is reached.
func (r *retrier) failed(now time.Time, err error) (wait time.Duration, again bool) {
	if r.attempts == 0 {
		r.since = now
	}
	r.attempts++
	if r.policy.Attempts > 0 && r.attempts >= r.policy.Attempts {
		return 0, false
	}
	wait = r.policy.backoff(r.attempts, rand.Float64())
	var after *connectors.RetryAfterError
	if errors.As(err, &after) {
		wait = max(wait, after.Wait)
	}
	if r.policy.For > 0 && now.Add(wait).Sub(r.since) > r.policy.For {
		return 0, false
	}
	return wait, true
}

// backoff is the wait after so many failures; random is in [0, 1).
func (r Retry) backoff(attempts int, random float64) time.Duration {
	wait := r.First
	for range attempts - 1 {
		if wait >= r.Most/2 {
			wait = r.Most
			break
		}
		wait *= 2
	}
	return wait - time.Duration(float64(wait)*r.Jitter*random)
}

// logRetry is how connectors wait for the log itself.
var logRetry = Retry{First: retryFirst, Most: retryMost, Jitter: 0.5}

// pause waits; false if ctx ended meanwhile.
func pause(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// mayPass reports whether a connector's error is one to try again after. The
// first Open is strict: a mistake in the configuration must show at once.
func mayPass(err error, opened bool) bool {
	var p *ConnectorPanicError
	var m *ConnectorMistakeError
	if errors.As(err, &p) || errors.As(err, &m) {
		return false
	}
	if opened {
		return !connectors.IsPermanent(err)
	}
	return connectors.IsTransient(err)
}

// guard calls a connector and makes an error of a panic.
func guard(connector string, call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &ConnectorPanicError{Connector: connector, Value: v, Stack: stack()}
		}
	}()
	return call()
}
