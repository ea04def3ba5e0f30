package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
)

// scripted is a sink whose calls are the test's.
type scripted struct {
	open   func(n int) error
	write  func(ctx context.Context, records []connectors.Record) error
	limits connectors.Limits

	opens, closes int
	context       connectors.SinkContext
}

func (s *scripted) Open(_ context.Context, sc connectors.SinkContext) error {
	s.context = sc
	s.opens++
	if s.open != nil {
		return s.open(s.opens - 1)
	}
	return nil
}
func (s *scripted) Write(ctx context.Context, records []connectors.Record) error {
	return s.write(ctx, records)
}
func (s *scripted) Limits() connectors.Limits { return s.limits }
func (s *scripted) Close() error              { s.closes++; return nil }

// sinkRun runs a sink over the values 0 to n-1, in one partition, in virtual time.
func sinkRun(t *testing.T, n int, sink engine.Sink, hooks engine.Hooks, f func(ctx context.Context, w *world, e *engine.Engine, ended func() error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var outs []connectors.Out
		for i := range n {
			outs = append(outs, out(fmt.Sprint(i), 0))
		}
		sink.Name, sink.Topic = "sink", "in"
		cfg := engine.Config{Partitions: 1, Workers: 1, Hooks: hooks, Sinks: []engine.Sink{sink},
			Sources: []engine.Source{{Name: "given", Topic: "in", Source: &outSource{outs: outs, stay: true}}}}
		e, err := engine.NewOn(passing(t, "else"), cfg, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		var once sync.Once
		var ended error
		end := func() error {
			once.Do(func() { cancel(); ended = <-done })
			return ended
		}
		defer end()
		f(ctx, w, e, end)
	})
}

func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func committed(log *memlog.Log) int64 {
	return int64(log.Positions("app-sink-sink")[record.TopicPartition{Topic: "in"}].Offset)
}

// With CommitEach, what a Write took is committed before the next Write, and no
// Write has more than MaxRecords.
func TestLimitsBoundWhatIsWrittenAndNotCommitted(t *testing.T) {
	var log atomic.Pointer[memlog.Log]
	written := 0
	s := &scripted{limits: connectors.Limits{MaxRecords: 7, CommitEach: true}}
	s.write = func(_ context.Context, records []connectors.Record) error {
		if len(records) > 7 {
			t.Errorf("a Write of %d records", len(records))
		}
		if log := log.Load(); log != nil && written > 0 {
			if at := committed(log); at < int64(written) {
				t.Errorf("%d records are written before this Write, offsets to %d committed", written, at)
			}
		}
		written += len(records)
		return nil
	}
	sinkRun(t, 100, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, w *world, _ *engine.Engine, end func() error) {
		log.Store(w.log)
		advance(time.Second)
		if err := end(); err != nil || written != 100 {
			t.Errorf("%d records written, %v; expected 100", written, err)
		}
	})
}

func TestPartialErrorsRepeatOnlyTheRest(t *testing.T) {
	got := map[string]int{}
	s := &scripted{}
	s.write = func(_ context.Context, records []connectors.Record) error {
		n := min(3, len(records))
		for _, r := range records[:n] {
			got[string(r.Value)]++
		}
		if n < len(records) {
			return &connectors.PartialError{Done: n, Err: errors.New("full")}
		}
		return nil
	}
	sinkRun(t, 50, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, _ *world, e *engine.Engine, end func() error) {
		advance(time.Minute)
		for k, n := range got {
			if n != 1 {
				t.Errorf("%s was acknowledged and came %d times", k, n)
			}
		}
		if snap := e.State().Sinks[0]; len(got) != 50 || snap.Records != 50 || snap.Bytes != 50+90 {
			t.Errorf("%d records, %+v", len(got), snap)
		}
	})
}

// An Open that fails for the moment is tried again and says so; any other first
// error ends the run with what is wrong.
func TestASinkThatCannotBeOpened(t *testing.T) {
	refused := connectors.Transient(errors.New("connection refused"))
	s := &scripted{write: func(context.Context, []connectors.Record) error { return nil }}
	s.open = func(n int) error {
		if n < 5 {
			return refused
		}
		return nil
	}
	retries := 0
	sinkRun(t, 5, engine.Sink{Sink: s}, engine.Hooks{Retried: func(string) { retries++ }}, func(_ context.Context, w *world, e *engine.Engine, end func() error) {
		synctest.Wait()
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "sink sink is retrying since") || !strings.Contains(err.Error(), "open: connection refused") {
			t.Errorf("while it cannot be opened: %v", err)
		}
		advance(10 * time.Second)
		if err := e.Ready(); err != nil || retries != 5 || s.opens != 6 || s.closes != 5 {
			t.Errorf("%v, %d retries, %d opens, %d closes; expected ready after 5", err, retries, s.opens, s.closes)
		}
		infos, err := w.log.Describe(t.Context(), []string{"in"})
		if err != nil {
			t.Fatal(err)
		}
		want := connectors.Topic{Name: "in", ID: infos[0].ID, CreatedMS: infos[0].CreatedMS}
		if s.context.App != "app" || s.context.Name != "sink" || s.context.Topic != want || want.CreatedMS == 0 || s.context.Partitions != 1 {
			t.Errorf("Open got %+v", s.context)
		}
		if err := end(); err != nil || s.closes != 6 {
			t.Errorf("%v, closed %d times", err, s.closes)
		}
	})
	s = &scripted{open: func(int) error { return errors.New("the table users has no column email") }}
	sinkRun(t, 5, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, _ *world, e *engine.Engine, end func() error) {
		advance(time.Hour)
		if err := end(); err == nil || err.Error() != "sink sink: open: the table users has no column email" || s.opens != 1 {
			t.Errorf("%v after %d opens, expected the error at the first", err, s.opens)
		}
	})
}

func TestBoundsOfARetry(t *testing.T) {
	poison := func(_ context.Context, records []connectors.Record) error {
		for _, r := range records {
			if string(r.Value) == "13" {
				return errors.New("cannot")
			}
		}
		return nil
	}
	// Only the one that is at fault is put aside, not its neighbours.
	sinkRun(t, 30, engine.Sink{Sink: &scripted{write: poison}, Retry: engine.Retry{For: time.Minute}}, engine.Hooks{},
		func(_ context.Context, w *world, e *engine.Engine, _ func() error) {
			advance(10 * time.Minute)
			letters := deadLetters(t, w.log, engine.DeadLetterFilter{})
			if len(letters) != 1 || string(letters[0].Value) != "13" || letters[0].Reason != "cannot" || letters[0].Attempts < 5 {
				t.Errorf("dead letters %+v, expected 13 alone", letters)
			}
			if snap := e.State().Sinks[0]; snap.Records != 29 || snap.Lag != 0 {
				t.Errorf("%+v", snap)
			}
		})
	sinkRun(t, 30, engine.Sink{Sink: &scripted{write: poison}, Retry: engine.Retry{Attempts: 3, Then: "stop"}}, engine.Hooks{},
		func(_ context.Context, _ *world, _ *engine.Engine, end func() error) {
			advance(10 * time.Minute)
			if err := end(); err == nil || !strings.Contains(err.Error(), "sink sink: in-0 offset ") || !strings.Contains(err.Error(), "cannot") {
				t.Errorf("%v, expected the run to end with the record's place", err)
			}
		})
	never := func(context.Context, []connectors.Record) error {
		return connectors.Permanent(errors.New("the account is closed"))
	}
	sinkRun(t, 3, engine.Sink{Sink: &scripted{write: never}}, engine.Hooks{}, func(_ context.Context, _ *world, _ *engine.Engine, end func() error) {
		advance(time.Second)
		if err := end(); err == nil || !strings.Contains(err.Error(), "the account is closed") {
			t.Errorf("%v, expected a permanent error to end the run", err)
		}
	})
	panics := func(context.Context, []connectors.Record) error { panic("index out of range") }
	sinkRun(t, 3, engine.Sink{Sink: &scripted{write: panics}}, engine.Hooks{}, func(_ context.Context, _ *world, _ *engine.Engine, end func() error) {
		advance(time.Second)
		var p *engine.ConnectorPanicError
		if err := end(); !errors.As(err, &p) || p.Connector != "sink sink" || !strings.Contains(p.Stack, "connectors_test.go") {
			t.Errorf("%v, expected a panic that names the sink", err)
		}
	})
}

// What was rejected beside records that were never written is rejected again
// after the next start, and becomes one dead letter, not two.
func TestADeadLetterOfAnUnfinishedWriteIsNotKeptTwice(t *testing.T) {
	no := errors.New("never")
	half := func(_ context.Context, records []connectors.Record) error {
		e := &connectors.WriteError{Rejected: []connectors.RecordError{{Index: 0, Err: no}}, Err: errors.New("down")}
		for i := range records[1:] {
			e.Again = append(e.Again, i+1)
		}
		if string(records[0].Value) != "0" {
			return connectors.Permanent(errors.New("the account is closed"))
		}
		return e
	}
	w := newWorld()
	var outs []connectors.Out
	for i := range 5 {
		outs = append(outs, out(fmt.Sprint(i), 0))
	}
	ensureTopic(t, w, "in", 1)
	all := []engine.Source{{Name: "given", Topic: "in", Partitions: 1, Source: &outSource{outs: outs}}}
	run(t, w, passing(t, "else"), engine.Config{Bounded: true, Sources: all})
	synctest.Test(t, func(t *testing.T) {
		w.log = w.log.Reopen()
		cfg := engine.Config{Bounded: true, Sinks: []engine.Sink{{Name: "sink", Topic: "in", Sink: &scripted{write: half}}}}
		e, err := engine.NewOn(passing(t, "else"), cfg, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(t.Context()); !connectors.IsPermanent(err) {
			t.Fatalf("Run: %v, expected the sink's error", err)
		}
		w.log = w.log.Reopen()
		good := &seen{refuses: func(r *connectors.Record) bool { return string(r.Value) == "0" }}
		cfg.Sinks[0].Sink = good
		run2(t, w, cfg)
		if letters := deadLetters(t, w.log, engine.DeadLetterFilter{}); len(letters) != 1 || len(good.got) != 4 {
			t.Errorf("%d dead letters and %d written, expected 1 and 4", len(letters), len(good.got))
		}
	})
}

// A stop while the target is down ends in the time of the drain, and what was
// not written comes at the next start.
func TestAStopWhileTheTargetIsDown(t *testing.T) {
	s := &scripted{write: func(context.Context, []connectors.Record) error { return errors.New("down") }}
	sinkRun(t, 10, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, w *world, e *engine.Engine, end func() error) {
		advance(time.Minute)
		began := time.Now()
		if err := end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if at := committed(w.log); at != 0 {
			t.Errorf("offsets to %d are committed, nothing was written", at)
		}
	})
}

// A source's errors of Read go back to the last commit: nothing is lost or
// doubled; a bound ends the run.
func TestASourceIsOpenedAgainAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var outs []connectors.Out
		for i := range 200 {
			outs = append(outs, out(fmt.Sprint(i), 0))
		}
		failed := map[int]bool{}
		src := &outSource{outs: outs, read: func(n int) error {
			if n%17 == 16 && !failed[n] {
				failed[n] = true
				return io.ErrUnexpectedEOF
			}
			return nil
		}}
		w := newerWorld(t, "in")
		cfg := engine.Config{Partitions: 1, Bounded: true, Sources: []engine.Source{{Name: "given", Topic: "in", Source: src}}}
		e := run2(t, w, cfg)
		if records := w.log.Records(record.TopicPartition{Topic: "in"}); len(records) != 200 {
			t.Errorf("%d records, expected 200", len(records))
		}
		if snap := e.State().Sources[0]; snap.Errors != 11 || snap.Retries != 11 || snap.Records != 200 || src.opens != 12 {
			t.Errorf("%+v, %d opens", snap, src.opens)
		}
		stuck := &outSource{outs: outs, read: func(int) error { return io.ErrUnexpectedEOF }}
		cfg.Sources = []engine.Source{{Name: "stuck", Topic: "in", Source: stuck, Retry: engine.Retry{Attempts: 4}}}
		w.log = w.log.Reopen()
		e2, err := engine.NewOn(passing(t, "else"), cfg, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		if err := e2.Run(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || stuck.opens != 4 {
			t.Errorf("%v after %d opens, expected the error after 4", err, stuck.opens)
		}
		wrong := &outSource{open: func(int) error { return errors.New("the file is another one") }}
		cfg.Sources = []engine.Source{{Name: "wrong", Topic: "in", Source: wrong}}
		w.log = w.log.Reopen()
		if e2, err = engine.NewOn(passing(t, "else"), cfg, w.backing()); err != nil {
			t.Fatal(err)
		}
		if err := e2.Run(t.Context()); err == nil || err.Error() != "source wrong: open: the file is another one" || wrong.opens != 1 {
			t.Errorf("%v after %d opens, expected the error at the first", err, wrong.opens)
		}
	})
}

// run2 runs a bounded engine in virtual time.
func run2(t *testing.T, w *world, cfg engine.Config) *engine.Engine {
	t.Helper()
	e, err := engine.NewOn(passing(t, "else"), cfg, w.backing())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatalf("Run: %v", err)
	}
	return e
}

// A fault of the log is no fault of the connector: what was not committed comes
// again, at once.
func TestASinkGoesBackToItsLastCommitWhenTheLogFails(t *testing.T) {
	for _, fault := range []memlog.CommitFault{memlog.FailBefore, memlog.FailAfter, memlog.FailUnavailable} {
		got := map[string]int{}
		s := &scripted{limits: connectors.Limits{MaxRecords: 10, CommitEach: true}, write: func(_ context.Context, records []connectors.Record) error {
			for _, r := range records {
				got[string(r.Value)]++
			}
			return nil
		}}
		var log *memlog.Log
		sinkRun(t, 40, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, w *world, _ *engine.Engine, end func() error) {
			log = w.log
			log.FailNextCommit(logclient.TxnID("app-sink-sink"), fault)
			advance(time.Minute)
			twice := 0
			for _, n := range got {
				twice += n - 1
			}
			if want := 10; len(got) != 40 || twice > want || fault == memlog.FailAfter && twice != 0 {
				t.Errorf("fault %v: %d records, %d of them again", fault, len(got), twice)
			}
		})
	}
}

// Secrets that a connector gets appear nowhere in what the engine says.
func TestAConnectorsSecretsAreNotLogged(t *testing.T) {
	var logged strings.Builder
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	type config struct{ Password connectors.Secret }
	c := config{connectors.NewSecret("correct-horse")}
	s := &scripted{write: func(context.Context, []connectors.Record) error { return fmt.Errorf("login with %+v: refused", c) }}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		cfg := engine.Config{Partitions: 1, Logger: logger, Bounded: true, Sources: []engine.Source{given(out("a", 0))}}
		cfg.Sinks = []engine.Sink{{Name: "sink", Topic: "in", Sink: s, Retry: engine.Retry{Attempts: 3}}}
		run2(t, w, cfg)
		for _, l := range deadLetters(t, w.log, engine.DeadLetterFilter{}) {
			fmt.Fprintf(&logged, "%+v", l)
		}
	})
	if strings.Contains(logged.String(), "correct-horse") || !strings.Contains(logged.String(), "***") {
		t.Errorf("what was said: %s", logged.String())
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
