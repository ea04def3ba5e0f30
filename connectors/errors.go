package connectors

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// RecordError names the record of a Write that the other system will never
// accept: those before it count as written, it becomes a dead letter, those
// after it come again at once.
type RecordError struct {
	Index int // into the slice given to Write
	Err   error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Err) }

func (e *RecordError) Unwrap() error { return e.Err }

// PartialError says that the first Done records of a Write are acknowledged and
// that the rest has to come again, for Err.
type PartialError struct {
	Done int // records, from the start of the slice given to Write
	Err  error
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("after %d records: %v", e.Done, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// WriteError says what became of each record of a Write, for a sink that writes
// several at once: the Rejected become dead letters, those at Again come again
// (in their order, without the others), all others are acknowledged.
//
// Invariant: Again is ascending and has no index of Rejected; it is empty
// exactly if Err is nil. A sink that keeps order by key puts into Again every
// later record of a key that is there already.
type WriteError struct {
	Rejected []RecordError
	Again    []int // into the slice given to Write
	Err      error // why Again come again
}

func (e *WriteError) Error() string {
	switch {
	case e.Err == nil && len(e.Rejected) == 1:
		return e.Rejected[0].Error()
	case e.Err == nil && len(e.Rejected) > 1:
		return fmt.Sprintf("%d records rejected, the first: %v", len(e.Rejected), &e.Rejected[0])
	case len(e.Rejected) == 0:
		return fmt.Sprintf("%d records not written: %v", len(e.Again), e.Err)
	}
	return fmt.Sprintf("%d records not written: %v (and %d rejected, the first: %v)", len(e.Again), e.Err, len(e.Rejected), &e.Rejected[0])
}

func (e *WriteError) Unwrap() error { return e.Err }

// Check reports what contradicts the invariant for a Write of n records.
func (e *WriteError) Check(n int) error {
	rejected := map[int]bool{}
	for _, r := range e.Rejected {
		if r.Index < 0 || r.Index >= n || rejected[r.Index] {
			return fmt.Errorf("the connector rejects record %d of %d, or twice", r.Index, n)
		}
		rejected[r.Index] = true
	}
	last := -1
	for _, i := range e.Again {
		if i <= last || i >= n || rejected[i] {
			return fmt.Errorf("the connector wants record %d of %d again, after record %d", i, n, last)
		}
		last = i
	}
	if (e.Err == nil) != (len(e.Again) == 0) {
		return fmt.Errorf("the connector wants %d records again, for the error %v", len(e.Again), e.Err)
	}
	return nil
}

// RetryAfterError carries the other system's own word on when to try again (the
// Retry-After of HTTP): the engine waits at least Wait, however short its own
// backoff would be.
type RetryAfterError struct {
	Wait time.Duration
	Err  error
}

func (e *RetryAfterError) Error() string {
	return fmt.Sprintf("%v (to be tried again after %v)", e.Err, e.Wait)
}

func (e *RetryAfterError) Unwrap() error { return e.Err }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

type transientError struct{ err error }

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

// Permanent marks an error of Open, Read or Write that no repetition cures: a
// wrong setting, a missing table, a position that does not fit. The engine ends
// the run with it. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// Transient marks an error that may pass by itself, so that even the first Open
// is tried again after it. Transient(nil) is nil.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return &transientError{err}
}

// IsPermanent reports whether an error is marked Permanent (the outermost mark counts).
func IsPermanent(err error) bool {
	permanent, marked := mark(err)
	return marked && permanent
}

// IsTransient reports whether an error is marked Transient, or is known to pass:
// time-outs, connections that were refused or lost, unreachable hosts, name
// servers that did not answer. An address that cannot be listened on and a name
// that does not exist are none of these.
func IsTransient(err error) bool {
	if permanent, marked := mark(err); marked {
		return !permanent
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return !dns.IsNotFound
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return false
	}
	for _, no := range passing {
		if errors.Is(err, no) {
			return true
		}
	}
	var after *RetryAfterError
	var timeout interface{ Timeout() bool }
	return errors.As(err, &after) || errors.As(err, &timeout) && timeout.Timeout()
}

var passing = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EAGAIN, syscall.EINTR,
}

// mark finds the outermost mark of Permanent or Transient.
func mark(err error) (permanent, marked bool) {
	for err != nil {
		switch e := err.(type) {
		case *permanentError:
			return true, true
		case *transientError:
			return false, true
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				if permanent, marked := mark(one); marked {
					return permanent, true
				}
			}
			return false, false
		}
		err = errors.Unwrap(err)
	}
	return false, false
}
