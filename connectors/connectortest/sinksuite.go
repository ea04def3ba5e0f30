package connectortest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// SinkTarget is a sink with the system that it writes to, as SinkSuite sees it.
type SinkTarget struct {
	// Sink makes a sink that writes to the target: a new process, so to say.
	Sink func(t testing.TB) connectors.Sink
	// Written is what the target holds now: of each record that it has, in
	// any order, the name that Record gave it; more than once if it has it so.
	Written func(t testing.TB) []string
	// SetDown makes the target fail every write, or work again; nil: it cannot fail.
	SetDown func(down bool)
}

// SinkSuite says how a sink is tested. Run does it.
type SinkSuite struct {
	// Target makes an empty target.
	Target func(t testing.TB) SinkTarget
	// Record is the nth good record, and the name under which Written shows it.
	Record func(n int) (r connectors.Record, name string)
	// Poison is a record that the target will never accept; nil: it accepts all.
	Poison func(n int) connectors.Record
	// Secrets are texts that no error may show.
	Secrets []string
}

// Run runs every claim of the contract as a subtest.
func (s SinkSuite) Run(t *testing.T) {
	t.Run("it may be closed twice, also unopened", s.closes)
	t.Run("what it acknowledges is written", s.writes)
	t.Run("it goes on in a new process after every record", s.restarts)
	t.Run("repeats lose nothing", s.repeats)
	t.Run("it keeps no record's memory", s.borrows)
	t.Run("a canceled context ends a Write", s.cancels)
	if s.Poison != nil {
		t.Run("poison is named and the others are written", s.poison)
	}
	t.Run("a target that is down loses nothing", s.down)
}

func (s SinkSuite) open(t testing.TB, target SinkTarget) connectors.Sink {
	t.Helper()
	sink := target.Sink(t)
	if err := sink.Open(t.Context(), openContext()); err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

// openContext is what connectors get at Open.
func openContext() connectors.SourceContext {
	return connectors.SourceContext{
		App: "suite", Name: "connector", Partitions: 4, Logger: slog.New(slog.DiscardHandler),
		Topic: connectors.Topic{Name: "suite", ID: [16]byte{1}, CreatedMS: 1_700_000_000_000},
	}
}

// records are the good ones in [from, to), in a place of their own each.
func (s SinkSuite) records(from, to int) (records []connectors.Record, names []string) {
	for n := from; n < to; n++ {
		r, name := s.Record(n)
		r.Topic, r.Partition, r.Offset = "suite", record.Partition(n%4), record.Offset(n)
		records, names = append(records, r), append(names, name)
	}
	return records, names
}

func (s SinkSuite) closes(t *testing.T) {
	target := s.Target(t)
	unopened := target.Sink(t)
	opened := s.open(t, target)
	for _, sink := range []connectors.Sink{unopened, opened} {
		for range 2 {
			if err := sink.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
}

func (s SinkSuite) writes(t *testing.T) {
	target := s.Target(t)
	sink := s.open(t, target)
	records, names := s.records(0, 40)
	for _, part := range [][]connectors.Record{records[:1], records[1:20], records[20:]} {
		if err := sink.Write(t.Context(), part); err != nil {
			t.Fatalf("Write of %d good records: %v", len(part), err)
		}
	}
	exactly(t, target, names)
}

func (s SinkSuite) restarts(t *testing.T) {
	target := s.Target(t)
	records, names := s.records(0, 8)
	for i := range records {
		sink := s.open(t, target)
		if err := sink.Write(t.Context(), records[i:i+1]); err != nil {
			t.Fatalf("Write in process %d: %v", i, err)
		}
		if err := sink.Close(); err != nil {
			t.Fatalf("Close of process %d: %v", i, err)
		}
	}
	exactly(t, target, names)
}

// repeats writes everything twice, as after a crash before the commit: all is
// there, whether the target shows it once or twice.
func (s SinkSuite) repeats(t *testing.T) {
	target := s.Target(t)
	sink := s.open(t, target)
	records, names := s.records(0, 12)
	for range 2 {
		if err := sink.Write(t.Context(), records); err != nil {
			t.Fatalf("Write: %v", err)
		}
	}
	have := map[string]int{}
	for _, name := range target.Written(t) {
		have[name]++
	}
	for _, name := range names {
		if have[name] < 1 || have[name] > 2 {
			t.Errorf("the target has %s %d times after two Writes of it", name, have[name])
		}
	}
}

func (s SinkSuite) borrows(t *testing.T) {
	target := s.Target(t)
	sink := s.open(t, target)
	records, names := s.records(0, 10)
	for i := range records {
		lent := []connectors.Record{cloneRecord(&records[i])}
		if err := sink.Write(t.Context(), lent); err != nil {
			t.Fatalf("Write: %v", err)
		}
		takeBack(lent[0].Key)
		takeBack(lent[0].Value)
		for _, h := range lent[0].Headers {
			takeBack(h.Value)
		}
		lent[0] = connectors.Record{}
	}
	if err := sink.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	exactly(t, target, names)
}

// takeBack is what the engine does to memory that it lent.
func takeBack(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

// cancels checks that what a canceled Write calls acknowledged is written.
func (s SinkSuite) cancels(t *testing.T) {
	target := s.Target(t)
	sink := s.open(t, target)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	records, names := s.records(0, 4)
	err := sink.Write(ctx, records)
	again, _, _ := outcome(t, err, len(records))
	s.acknowledged(t, target, names, again, nil)
}

func (s SinkSuite) poison(t *testing.T) {
	target := s.Target(t)
	sink := s.open(t, target)
	records, names := s.records(0, 12)
	bad := map[string]bool{}
	for _, i := range []int{0, 5, 6, 11} {
		p := s.Poison(i)
		p.Topic, p.Partition, p.Offset = records[i].Topic, records[i].Partition, records[i].Offset
		records[i] = p
		bad[place(&p)] = true
	}
	rejected := s.drive(t, sink, records, 20)
	for at, why := range rejected {
		if !bad[at] {
			t.Errorf("the good record at %s was rejected: %v", at, why)
		}
		s.speaks(t, why)
		delete(bad, at)
	}
	for at := range bad {
		t.Errorf("the poison at %s was not rejected", at)
	}
	var good []string
	for i, name := range names {
		if rejected[place(&records[i])] == nil {
			good = append(good, name)
		}
	}
	exactly(t, target, good)
}

func place(r *connectors.Record) string { return fmt.Sprintf("%d@%d", r.Partition, r.Offset) }

func (s SinkSuite) down(t *testing.T) {
	target := s.Target(t)
	if target.SetDown == nil {
		t.Log("nothing to show: the target cannot be made to fail")
		return
	}
	sink := s.open(t, target)
	records, names := s.records(0, 10)
	if err := sink.Write(t.Context(), records[:4]); err != nil {
		t.Fatalf("Write: %v", err)
	}
	target.SetDown(true)
	for range 3 {
		err := sink.Write(t.Context(), records[4:])
		if err == nil {
			t.Fatal("Write acknowledges records while its target is down")
		}
		s.speaks(t, err)
		again, rejected, _ := outcome(t, err, 6)
		if len(rejected) > 0 {
			t.Fatalf("records are rejected because the target is down: %v", err)
		}
		if connectors.IsPermanent(err) {
			t.Fatalf("a target that is down for now ends the run: %v", err)
		}
		target.SetDown(false)
		s.acknowledged(t, target, names[4:], again, names[:4])
		target.SetDown(true)
	}
	target.SetDown(false)
	if rejected := s.drive(t, sink, records[4:], 20); len(rejected) > 0 {
		t.Errorf("after the target is up again, rejected: %v", rejected)
	}
	have := target.Written(t)
	for _, name := range names {
		if !slices.Contains(have, name) {
			t.Errorf("%s is lost", name)
		}
	}
}

// acknowledged checks that the records that do not come again are written.
func (s SinkSuite) acknowledged(t *testing.T, target SinkTarget, names []string, again []int, before []string) {
	t.Helper()
	have := target.Written(t)
	for i, name := range names {
		if !slices.Contains(again, i) && !slices.Contains(have, name) {
			t.Errorf("%s is acknowledged and not written", name)
		}
	}
	for _, name := range before {
		if !slices.Contains(have, name) {
			t.Errorf("%s was written before and is gone", name)
		}
	}
}

// drive writes records as the engine does, trying again without waiting, and
// returns the rejected ones by their place.
func (s SinkSuite) drive(t *testing.T, sink connectors.Sink, records []connectors.Record, attempts int) map[string]error {
	t.Helper()
	rejected := map[string]error{}
	left := slices.Clone(records)
	for failures := 0; len(left) > 0; {
		err := sink.Write(t.Context(), left)
		again, bad, failed := outcome(t, err, len(left))
		for i, why := range bad {
			rejected[place(&left[i])] = why
		}
		var next []connectors.Record
		for _, i := range again {
			next = append(next, left[i])
		}
		if failed {
			s.speaks(t, err)
			if failures++; failures == attempts {
				t.Fatalf("after %d attempts %d records are not written: %v", failures, len(next), err)
			}
		}
		left = next
	}
	return rejected
}

// outcome reads what a Write of n records says, and checks its form.
func outcome(t testing.TB, err error, n int) (again []int, rejected map[int]error, failed bool) {
	t.Helper()
	rejected = map[int]error{}
	var each *connectors.WriteError
	var one *connectors.RecordError
	var partial *connectors.PartialError
	from := 0
	switch {
	case err == nil:
		return nil, rejected, false
	case errors.As(err, &each):
		if wrong := each.Check(n); wrong != nil {
			t.Fatalf("%v: %v", wrong, err)
		}
		for _, r := range each.Rejected {
			rejected[r.Index] = r.Err
		}
		return each.Again, rejected, each.Err != nil
	case errors.As(err, &one):
		if one.Index < 0 || one.Index >= n {
			t.Fatalf("a RecordError names record %d of %d", one.Index, n)
		}
		rejected[one.Index], from = one.Err, one.Index+1
	case errors.As(err, &partial):
		if partial.Done < 0 || partial.Done >= n {
			t.Fatalf("a PartialError says that %d of %d records are done", partial.Done, n)
		}
		from, failed = partial.Done, true
	default:
		failed = true
	}
	for i := from; i < n; i++ {
		again = append(again, i)
	}
	return again, rejected, failed
}

// speaks checks that an error says something, and no secret.
func (s SinkSuite) speaks(t testing.TB, err error) {
	t.Helper()
	if err == nil || strings.TrimSpace(err.Error()) == "" {
		t.Errorf("an error that says nothing: %v", err)
		return
	}
	for _, secret := range s.Secrets {
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("an error shows a secret: %v", err)
		}
	}
}

// exactly checks that the target holds these names once each, and nothing else.
func exactly(t testing.TB, target SinkTarget, names []string) {
	t.Helper()
	have, want := slices.Sorted(slices.Values(target.Written(t))), slices.Sorted(slices.Values(names))
	if !slices.Equal(have, want) {
		t.Errorf("the target holds %d: %.500q\nexpected %d: %.500q", len(have), have, len(want), want)
	}
}
