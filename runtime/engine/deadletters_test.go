package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// seen is a sink that refuses some records and keeps what it gets, with its coordinates.
type seen struct {
	refuses func(r *connectors.Record) bool
	got     []string
}

func (s *seen) Open(context.Context, connectors.SinkContext) error { return nil }
func (s *seen) Close() error                                       { return nil }

func (s *seen) Write(_ context.Context, records []connectors.Record) error {
	for i := range records {
		r := &records[i]
		if s.refuses != nil && s.refuses(r) {
			return &connectors.RecordError{Index: i, Err: fmt.Errorf("the table has no column for %s", r.Value)}
		}
		names := ""
		for _, h := range r.Headers {
			names += " " + h.Key
		}
		s.got = append(s.got, fmt.Sprintf("%s %s-%d@%d%s", r.Value, r.Topic, r.Partition, r.Offset, names))
	}
	return nil
}

// passing reads a topic and drops everything, so that the engine has a task.
func passing(t testing.TB, topic string) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	b.From[string, int64](topic).Filter(func(string, int64) bool { return false }).To("nothing")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// given is a source of records that are all there.
func given(outs ...connectors.Out) engine.Source {
	return engine.Source{Name: "given", Topic: "in", Partitions: 2, Source: &outSource{outs: outs}}
}

func deadLetters(t testing.TB, log logclient.Log, f engine.DeadLetterFilter) (all []engine.DeadLetter) {
	t.Helper()
	d, err := engine.DeadLettersOn("app", log, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.List(t.Context(), f, func(l *engine.DeadLetter) bool { all = append(all, *l); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func retryLetters(t testing.TB, log logclient.Log, f engine.DeadLetterFilter) engine.RetryReport {
	t.Helper()
	d, err := engine.DeadLettersOn("app", log, nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := d.Retry(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func out(value string, p int32) connectors.Out {
	return connectors.Out{Key: []byte("k"), Value: []byte(value), Timestamp: t0, Partition: record.Partition(p), Headers: []record.Header{{Key: "own", Value: []byte("x")}}}
}

// A sink's dead letters go back to that sink alone, under their first
// coordinates, once, also if Retry is called again.
func TestASinksDeadLetterGoesBackToItOnceAndToNobodyElse(t *testing.T) {
	w := newWorld()
	refuse := true
	picky := &seen{refuses: func(r *connectors.Record) bool { return refuse && strings.HasPrefix(string(r.Value), "odd") }}
	other := &seen{}
	cfg := engine.Config{Bounded: true, Partitions: 2, Sources: []engine.Source{given(out("a", 1), out("odd-1", 1), out("b", 1), out("odd-2", 0))}}
	cfg.Sinks = []engine.Sink{{Name: "picky", Topic: "in", Sink: picky}, {Name: "other", Topic: "in", Sink: other}}
	run(t, w, passing(t, "else"), cfg)

	letters := deadLetters(t, w.log, engine.DeadLetterFilter{Stage: "picky"})
	if len(letters) != 2 {
		t.Fatalf("%d dead letters, expected 2", len(letters))
	}
	for _, l := range letters {
		if l.Kind != "sink" || l.Topic != "in" || l.FromPartition < 0 || l.FromOffset < 0 || l.At.IsZero() || l.Attempts != 1 || l.Truncated != -1 ||
			!strings.HasPrefix(l.Reason, "the table has no column for odd") || len(l.Headers) != 1 || l.Headers[0].Key != "own" || l.Timestamp.UnixMilli() != t0 {
			t.Errorf("the dead letter says %+v", l)
		}
	}
	before := len(picky.got) + len(other.got)
	refuse = false
	if r := retryLetters(t, w.log, engine.DeadLetterFilter{Reason: "odd-1"}); r.Retried != 1 || len(r.Skipped) != 0 {
		t.Fatalf("Retry: %+v, expected 1", r)
	}
	for range 2 {
		retryLetters(t, w.log, engine.DeadLetterFilter{})
	}
	if left := deadLetters(t, w.log, engine.DeadLetterFilter{}); len(left) != 0 {
		t.Errorf("%d letters are left after all went back", len(left))
	}
	if all := deadLetters(t, w.log, engine.DeadLetterFilter{IncludeRetried: true}); len(all) != 2 || all[0].Retried.IsZero() {
		t.Errorf("with those put back: %+v", all)
	}
	w.log = w.log.Reopen()
	cfg.Sources = []engine.Source{given()}
	run(t, w, passing(t, "else"), cfg)
	if len(other.got)+len(picky.got) != before+2 {
		t.Errorf("the sinks got %q and %q", picky.got, other.got)
	}
	for _, want := range []string{"odd-1 in-1@1 own", "odd-2 in-0@0 own"} {
		n := 0
		for _, got := range picky.got {
			if got == want {
				n++
			}
		}
		if n != 1 {
			t.Errorf("the sink got %q %d times, expected once: %q", want, n, picky.got)
		}
	}
}

// A record that did not decode goes back into its partition, past the sinks of
// that topic; a source's goes into the source's topic.
func TestDeadLettersOfTasksAndSourcesGoBack(t *testing.T) {
	w := newWorld()
	sink := &seen{}
	bad := connectors.Out{Value: []byte("line"), Timestamp: t0, Partition: -1, DeadLetter: "no such format"}
	cfg := engine.Config{Bounded: true, Partitions: 2, Sources: []engine.Source{given(out("no number", 1), bad)}}
	cfg.Sinks = []engine.Sink{{Name: "sink", Topic: "in", Sink: sink}}
	run(t, w, passing(t, "in"), cfg)
	letters := deadLetters(t, w.log, engine.DeadLetterFilter{})
	if len(letters) != 2 {
		t.Fatalf("dead letters %+v, expected two", letters)
	}
	if r := retryLetters(t, w.log, engine.DeadLetterFilter{}); r.Retried != 2 {
		t.Fatalf("Retry: %+v", r)
	}
	w.log = w.log.Reopen()
	cfg.Sources = []engine.Source{given()}
	run(t, w, passing(t, "in"), cfg)
	again := deadLetters(t, w.log, engine.DeadLetterFilter{})
	if len(again) != 2 { // neither decodes now either; both are new letters
		t.Fatalf("after the retry: %+v", again)
	}
	for _, l := range again {
		if l.Stage != "decode" || l.Topic != "in" {
			t.Errorf("%+v, expected one of decode", l)
		}
	}
	if len(sink.got) != 2 || !strings.HasPrefix(sink.got[1], "line ") { // the source's was never there before
		t.Errorf("the sink got %q, expected the record once and the source's line", sink.got)
	}
}

// What operators read too, or have worked on, stays unless it is forced.
func TestRetryLeavesWhatWouldBeCountedTwice(t *testing.T) {
	w := newWorld()
	cfg := engine.Config{Bounded: true, Partitions: 2, Sources: []engine.Source{given(out("12345678", 1))}}
	cfg.Sinks = []engine.Sink{{Name: "picky", Topic: "in", Sink: &seen{refuses: func(*connectors.Record) bool { return true }}}}
	run(t, w, passing(t, "in"), cfg)
	r := retryLetters(t, w.log, engine.DeadLetterFilter{})
	if r.Retried != 0 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Why, "operators of the application read in too") {
		t.Errorf("%+v, expected it to be skipped", r)
	}
	if r := retryLetters(t, w.log, engine.DeadLetterFilter{Force: true}); r.Retried != 1 {
		t.Errorf("%+v, expected it to be forced", r)
	}
}

// A crash in the middle of Retry puts nothing back, or puts it back with its mark.
func TestRetryIsOneTransaction(t *testing.T) {
	for _, fault := range []memlog.CommitFault{memlog.FailBefore, memlog.FailAfter, memlog.FailUnavailable} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			w := newWorld()
			refuse := true
			sink := &seen{refuses: func(*connectors.Record) bool { return refuse }}
			cfg := engine.Config{Bounded: true, Partitions: 2, Sources: []engine.Source{given(out("a", 0), out("b", 1))}}
			cfg.Sinks = []engine.Sink{{Name: "sink", Topic: "in", Sink: sink}}
			run(t, w, passing(t, "else"), cfg)
			w.log.FailNextCommit("app-dead-letters", fault)
			d, err := engine.DeadLettersOn("app", w.log, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Retry(t.Context(), engine.DeadLetterFilter{}); err == nil {
				t.Fatal("the fault did not happen")
			}
			w.log = w.log.Reopen()
			retryLetters(t, w.log, engine.DeadLetterFilter{})
			refuse = false
			cfg.Sources = []engine.Source{given()}
			run(t, w, passing(t, "else"), cfg)
			if len(sink.got) != 2 {
				t.Errorf("the sink got %q, expected each record once", sink.got)
			}
		})
	}
}

// A record that is too large for the log with a dead letter's headers keeps its
// beginning there, and goes back whole.
func TestALargeDeadLetterGoesBackWhole(t *testing.T) {
	w := &world{log: memlog.New(memlog.Config{MaxRecordBytes: 100 << 10}), db: newWorld().db}
	refuse := true
	sink := &seen{refuses: func(*connectors.Record) bool { return refuse }}
	big := strings.Repeat("x", 100<<10-1000)
	tooBig := strings.Repeat("y", 200<<10)
	cfg := engine.Config{Bounded: true, Partitions: 2, Sources: []engine.Source{given(
		connectors.Out{Key: []byte("k"), Value: []byte(big), Timestamp: t0, Partition: 0},
		connectors.Out{Value: []byte(tooBig), Timestamp: t0, Partition: 0})}}
	cfg.Sinks = []engine.Sink{{Name: "sink", Topic: "in", Sink: sink}}
	run(t, w, passing(t, "else"), cfg)
	letters := deadLetters(t, w.log, engine.DeadLetterFilter{})
	if len(letters) != 2 {
		t.Fatalf("%d dead letters, expected the sink's and the source's", len(letters))
	}
	report := retryLetters(t, w.log, engine.DeadLetterFilter{})
	if len(report.Skipped) != 1 || !strings.Contains(report.Skipped[0].Why, "bytes were kept") {
		t.Errorf("%+v, expected the source's record to stay: there is no more of it", report)
	}
	refuse = false
	w.log = w.log.Reopen()
	cfg.Sources = []engine.Source{given()}
	run(t, w, passing(t, "else"), cfg)
	if len(sink.got) != 1 || !strings.HasPrefix(sink.got[0], big) {
		t.Errorf("the sink got %d records, expected the whole of one", len(sink.got))
	}
}
