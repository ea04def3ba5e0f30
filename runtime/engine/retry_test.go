package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

func TestBackoffDoublesUpToItsMostWithJitterBelow(t *testing.T) {
	p := Retry{}.withDefaults("stop")
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000} {
		want *= time.Millisecond
		if got := p.backoff(i+1, 0); got != want {
			t.Errorf("after %d failures: %v, expected %v", i+1, got, want)
		}
		if got := p.backoff(i+1, 0.999999); got < want/2 || got > want/2+want/1000 {
			t.Errorf("after %d failures with all the jitter: %v, expected about %v", i+1, got, want/2)
		}
	}
	if got := p.backoff(1_000_000, 0); got != p.Most {
		t.Errorf("after a million failures: %v, expected %v", got, p.Most)
	}
	none := Retry{Jitter: -1}.withDefaults("stop")
	if got := none.backoff(1, 0.9); got != 100*time.Millisecond {
		t.Errorf("without jitter: %v, expected 100ms", got)
	}
}

func TestARetrierKeepsItsBoundsAndWaitsAsItIsAsked(t *testing.T) {
	now := time.Unix(0, 0)
	later := &connectors.RetryAfterError{Wait: time.Minute, Err: errors.New("busy")}
	r := retrier{policy: Retry{Jitter: -1}.withDefaults("stop")}
	if wait, again := r.failed(now, fmt.Errorf("write: %w", later)); wait != time.Minute || !again {
		t.Errorf("with a Retry-After of a minute: %v %v", wait, again)
	}
	r = retrier{policy: Retry{Attempts: 3}.withDefaults("stop")}
	for i, want := range []bool{true, true, false} {
		if _, again := r.failed(now, errors.New("no")); again != want {
			t.Errorf("attempt %d of 3: again is %v", i+1, again)
		}
	}
	r = retrier{policy: Retry{For: time.Second, Jitter: -1}.withDefaults("stop")}
	if _, again := r.failed(now, errors.New("no")); !again {
		t.Error("the first failure ends a retry for a second")
	}
	if _, again := r.failed(now.Add(900*time.Millisecond), errors.New("no")); again {
		t.Error("an attempt after 1.1 s is allowed by a bound of a second")
	}
	r.progressed()
	if _, again := r.failed(now.Add(time.Hour), errors.New("no")); !again {
		t.Error("progress does not begin a new second")
	}
}

func TestEveryFormOfAWriteErrorBecomesOneOutcome(t *testing.T) {
	no := errors.New("no")
	for _, c := range []struct {
		name     string
		err      error
		rejected []int
		again    []int
		fails    bool
	}{
		{"nil", nil, nil, nil, false},
		{"any", no, nil, []int{0, 1, 2, 3}, true},
		{"record", fmt.Errorf("x: %w", &connectors.RecordError{Index: 1, Err: no}), []int{1}, []int{2, 3}, false},
		{"record, out of range", &connectors.RecordError{Index: 4, Err: no}, nil, []int{0, 1, 2, 3}, true},
		{"partial", &connectors.PartialError{Done: 3, Err: no}, nil, []int{3}, true},
		{"partial of a record", &connectors.PartialError{Done: 2, Err: &connectors.RecordError{Index: 2, Err: no}}, []int{2}, []int{3}, false},
		{"partial, out of range", &connectors.PartialError{Done: 9, Err: no}, nil, []int{0, 1, 2, 3}, true},
		{"partial, all done and yet an error, out of range", &connectors.PartialError{Done: 4, Err: no}, nil, []int{0, 1, 2, 3}, true},
		{"each", &connectors.WriteError{Rejected: []connectors.RecordError{{Index: 0, Err: no}}, Again: []int{1, 3}, Err: no}, []int{0}, []int{1, 3}, true},
		{"each, rejected only", &connectors.WriteError{Rejected: []connectors.RecordError{{Index: 2, Err: no}}}, []int{2}, nil, false},
		{"each, twice", &connectors.WriteError{Rejected: []connectors.RecordError{{Index: 1, Err: no}}, Again: []int{1}, Err: no}, nil, []int{0, 1, 2, 3}, true},
		{"each, out of order", &connectors.WriteError{Again: []int{2, 1}, Err: no}, nil, []int{0, 1, 2, 3}, true},
		{"each, no reason", &connectors.WriteError{Again: []int{1}}, nil, []int{0, 1, 2, 3}, true},
	} {
		o := outcomeOf(c.err, 4)
		var rejected []int
		for _, r := range o.rejected {
			rejected = append(rejected, r.Index)
		}
		var mistake *ConnectorMistakeError
		if wrong := strings.Contains(c.name, "out of") || strings.Contains(c.name, "twice") || strings.Contains(c.name, "no reason"); errors.As(o.err, &mistake) != wrong {
			t.Errorf("%s: %v, expected a mistake of the connector: %v", c.name, o.err, wrong)
		}
		if !slices.Equal(rejected, c.rejected) || !slices.Equal(o.again, c.again) || (o.err != nil) != c.fails {
			t.Errorf("%s: rejected %v, again %v, err %v; expected %v, %v, an error: %v", c.name, rejected, o.again, o.err, c.rejected, c.again, c.fails)
		}
	}
}

func TestTheFirstOpenIsStrictAndLaterErrorsAreNot(t *testing.T) {
	plain, passing, never := errors.New("x"), connectors.Transient(errors.New("x")), connectors.Permanent(errors.New("x"))
	for _, c := range []struct {
		err           error
		opened, again bool
	}{
		{plain, false, false}, {passing, false, true}, {never, false, false},
		{plain, true, true}, {passing, true, true}, {never, true, false},
		{&ConnectorPanicError{}, true, false},
	} {
		if got := mayPass(fmt.Errorf("open: %w", c.err), c.opened); got != c.again {
			t.Errorf("%T, opened before %v: tried again is %v, expected %v", c.err, c.opened, got, c.again)
		}
	}
}
