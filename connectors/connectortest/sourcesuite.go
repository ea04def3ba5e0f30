package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// SourceSuite says how a source is tested. Run does it.
type SourceSuite struct {
	// Source makes a source over the same input each time: a new process, so to say.
	Source func(t testing.TB) connectors.Source
	// Want are the values of all its records, dead letters included, in order.
	Want []string
	// Stays says that the source waits for more after them, instead of saying io.EOF.
	Stays bool
	// NoReplay says that Position is nil: what was read does not come again.
	NoReplay bool
	// WrongPosition is a position that does not fit the input; nil: there is none.
	WrongPosition []byte
	// Elsewhere makes a source whose input is missing or unreachable; nil: not possible.
	Elsewhere func(t testing.TB) connectors.Source
}

// Run runs every claim of the contract as a subtest.
func (s SourceSuite) Run(t *testing.T) {
	t.Run("it may be closed twice, also unopened", s.closes)
	t.Run("it reads everything in order", s.reads)
	t.Run("a canceled context ends Read", s.cancels)
	if s.Stays {
		t.Run("a deadline only ends the wait", s.waits)
	}
	if !s.NoReplay {
		t.Run("every position is a place to go on", s.replays)
		t.Run("it may be opened again after Close", s.reopens)
	}
	if s.WrongPosition != nil {
		t.Run("a position that does not fit is refused", s.refuses)
	}
	if s.Elsewhere != nil {
		t.Run("a missing input is an error that says so", s.missing)
	}
}

func (s SourceSuite) open(t testing.TB, position []byte) connectors.Source {
	t.Helper()
	src := s.Source(t)
	if err := src.Open(t.Context(), openContext(), position); err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// step is what one Read gave, and where it left the source.
type step struct {
	values   []string
	position []byte
}

// read reads n records, or to the end if n is negative.
func (s SourceSuite) read(t testing.TB, src connectors.Source, n int) (steps []step) {
	t.Helper()
	var b connectors.Batch
	for have := 0; n < 0 || have < n; {
		if s.Stays && n < 0 {
			t.Fatal("a source that stays has no end to read to")
		}
		b.Reset()
		err := src.Read(t.Context(), &b)
		st := step{}
		for _, r := range b.Records() {
			st.values = append(st.values, string(r.Value))
		}
		have += len(st.values)
		if st.position = bytes.Clone(src.Position()); (st.position == nil) != s.NoReplay {
			t.Fatalf("Position is %x, NoReplay %v", st.position, s.NoReplay)
		}
		if len(st.values) > 0 {
			steps = append(steps, st)
		}
		if errors.Is(err, io.EOF) {
			return steps
		}
		if err != nil {
			t.Fatalf("Read after %d records: %v", have, err)
		}
		if len(st.values) == 0 {
			t.Fatal("Read returns without a record and without an error")
		}
	}
	return steps
}

// all is how many records to ask for: those of Want, or up to the end.
func (s SourceSuite) all(from int) int {
	if s.Stays {
		return len(s.Want) - from
	}
	return -1
}

func values(steps []step) (all []string) {
	for _, st := range steps {
		all = append(all, st.values...)
	}
	return all
}

func (s SourceSuite) closes(t *testing.T) {
	unopened, opened := s.Source(t), s.open(t, nil)
	for _, src := range []connectors.Source{unopened, opened} {
		for range 2 {
			if err := src.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
}

func (s SourceSuite) reads(t *testing.T) {
	same(t, values(s.read(t, s.open(t, nil), s.all(0))), s.Want)
}

func same(t testing.TB, have, want []string) {
	t.Helper()
	if slices.Equal(have, want) {
		return
	}
	for i := range max(len(have), len(want)) {
		if i >= len(have) || i >= len(want) || have[i] != want[i] {
			t.Errorf("%d records, expected %d; from record %d on they are %.200q, expected %.200q", len(have), len(want), i, have[min(i, len(have)):], want[min(i, len(want)):])
			return
		}
	}
}

// cancels: Read has to end with an error soon after its context, whatever it
// hands over before.
func (s SourceSuite) cancels(t *testing.T) {
	src := s.open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b connectors.Batch
	for range len(s.Want) + 10 {
		b.Reset()
		if err := src.Read(ctx, &b); err != nil {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
				t.Errorf("Read with a canceled context: %v, expected that", err)
			}
			return
		}
	}
	t.Error("Read goes on and on with a canceled context")
}

// waits: after a deadline that passed the source goes on as if nothing had been.
func (s SourceSuite) waits(t *testing.T) {
	src := s.open(t, nil)
	have := values(s.read(t, src, len(s.Want)))
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		var b connectors.Batch
		if err := src.Read(ctx, &b); !errors.Is(err, context.DeadlineExceeded) || b.Len() > 0 {
			t.Errorf("Read with nothing to read: %d records, %v; expected its context's error", b.Len(), err)
		}
		cancel()
	}
	same(t, have, s.Want)
}

// replays goes on, in a new process, at every position that there was.
func (s SourceSuite) replays(t *testing.T) {
	steps := s.read(t, s.open(t, nil), s.all(0))
	for i := range steps {
		before := values(steps[:i+1])
		if s.Stays && len(before) == len(s.Want) {
			break
		}
		rest := values(s.read(t, s.open(t, steps[i].position), s.all(len(before))))
		if have := append(before, rest...); !slices.Equal(have, s.Want) {
			t.Errorf("going on after %d of %d Reads:", i+1, len(steps))
			same(t, have, s.Want)
		}
	}
}

// reopens does the same with one source, as the engine does after an error.
func (s SourceSuite) reopens(t *testing.T) {
	src := s.open(t, nil)
	steps := s.read(t, src, 1)
	for range 2 {
		if err := src.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		if err := src.Open(t.Context(), openContext(), steps[0].position); err != nil {
			t.Fatalf("Open after Close: %v", err)
		}
	}
	before := values(steps[:1])
	same(t, append(before, values(s.read(t, src, s.all(len(before))))...), s.Want)
}

func (s SourceSuite) refuses(t *testing.T) {
	src := s.Source(t)
	defer src.Close()
	err := src.Open(t.Context(), openContext(), s.WrongPosition)
	if err == nil {
		t.Fatal("Open takes a position that does not fit")
	}
	if connectors.IsTransient(err) {
		t.Errorf("a position that does not fit counts as an error that passes: %v", err)
	}
}

func (s SourceSuite) missing(t *testing.T) {
	src := s.Elsewhere(t)
	defer src.Close()
	if err := src.Open(t.Context(), openContext(), nil); err == nil || fmt.Sprint(err) == "" {
		t.Errorf("Open of a missing input: %v, expected an error that says what is missing", err)
	}
}
