package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
)

// stuck is where a connector waits for something that is not its context.
type stuck struct{ entered, release chan struct{} }

func newStuck() *stuck { return &stuck{make(chan struct{}, 1), make(chan struct{})} }

func (s *stuck) wait() {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.release
}

// What a sink that ignored its context acknowledges later is not committed, and
// it does not hold up the end of the run, wherever it hangs.
func TestASinkThatDoesNotStopIsLeftBehind(t *testing.T) {
	for _, where := range []string{"open", "write", "close"} {
		t.Run(where, func(t *testing.T) {
			s := &hanging{where: where}
			sinkRun(t, 10, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, w *world, e *engine.Engine, end func() error) {
				advance(time.Second)
				began := time.Now()
				err := end()
				var left *engine.ConnectorStuckError
				if !errors.As(err, &left) || left.Connector != "sink sink" || !strings.Contains(err.Error(), "sink sink did not stop") {
					t.Errorf("Run: %v, expected a *ConnectorStuckError that names the sink", err)
				}
				if took := time.Since(began); took > 31*time.Second {
					t.Errorf("Run took %v to end", took)
				}
				snap := e.State().Sinks[0]
				want := int64(11) // with the marker of their transaction
				if where == "close" {
					want = 0
				}
				if snap.State != "failed" || snap.Lag != want || !strings.Contains(snap.Error, "did not stop") {
					t.Errorf("its state is %+v, expected failed with a lag of %d", snap, want)
				}
				if err := e.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				at := committed(w.log)
				close(s.hang.release)
				advance(time.Hour)
				if now := committed(w.log); now != at || now != 11-want {
					t.Errorf("offsets to %d are committed, %d when it was left behind, expected %d", now, at, 11-want)
				}
				if after := e.State().Sinks[0]; after != snap {
					t.Errorf("it was left behind as %+v, now it is %+v", snap, after)
				}
			})
		})
	}
}

type hanging struct {
	hang  *stuck
	where string
}

func (h *hanging) at(where string) error {
	if h.where == where {
		h.hang.wait()
	}
	return nil
}
func (h *hanging) Open(context.Context, connectors.SinkContext) error {
	if h.hang == nil {
		h.hang = newStuck() // of the bubble
	}
	return h.at("open")
}
func (h *hanging) Write(context.Context, []connectors.Record) error { return h.at("write") }
func (h *hanging) Close() error                                     { return h.at("close") }

// A source likewise; what it hands over too late is not in the log.
func TestASourceThatDoesNotStopIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := newStuck()
		src := &outSource{outs: []connectors.Out{out("a", 0), out("b", 0)}, read: func(n int) error {
			if n == 1 {
				hang.wait()
			}
			return nil
		}}
		w := newerWorld(t, "in")
		e, err := engine.NewOn(passing(t, "else"), engine.Config{Partitions: 1, Sources: []engine.Source{{Name: "given", Topic: "in", Source: src}}}, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		<-hang.entered
		cancel()
		err = <-done
		if err == nil || !strings.Contains(err.Error(), "source given did not stop") {
			t.Errorf("Run: %v", err)
		}
		close(hang.release)
		advance(time.Hour)
		if records := w.log.Records(record.TopicPartition{Topic: "in"}); len(records) != 0 {
			t.Errorf("%d records of a source that was left behind were committed", len(records))
		}
	})
}

// Close of an embedded log does not wait for a sink that was left behind, and
// the sink's coming back does no harm.
func TestCloseDoesNotWaitForASinkThatWasLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := newStuck()
		cfg := engine.Config{Log: "embedded:" + t.TempDir(), InMemoryState: true, Flush: "os", Partitions: 1, Sources: []engine.Source{given(out("a", 0), out("b", 0))}}
		cfg.Sinks = []engine.Sink{{Name: "sink", Topic: "in", Sink: &hanging{hang: hang, where: "write"}}}
		e, err := engine.New(passing(t, "else"), cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		<-hang.entered
		cancel()
		var left *engine.ConnectorStuckError
		if err := <-done; !errors.As(err, &left) || left.Lag != 3 {
			t.Errorf("Run: %v, expected a *ConnectorStuckError with a lag of 2 and a marker", err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		close(hang.release)
		advance(time.Minute)
		sink := &seen{}
		cfg.Sinks[0].Sink, cfg.Bounded = sink, true
		if e, err = engine.New(passing(t, "else"), cfg); err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.Run(t.Context()); err != nil || len(sink.got) != 2 {
			t.Errorf("the next start: %v, %d records written, expected the 2 that were never committed", err, len(sink.got))
		}
	})
}

// A sink that ends while its target is down says why and what waits; one that
// has written everything is ended.
func TestASinkThatStopsBeforeTheEndSaysWhatIsLeft(t *testing.T) {
	for _, where := range []string{"open", "write"} {
		down := connectors.Transient(errors.New("connection refused"))
		s := &scripted{write: func(context.Context, []connectors.Record) error { return down }}
		if where == "open" {
			s.open = func(int) error { return down }
		}
		var logged strings.Builder
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			var outs []connectors.Out
			for i := range 10 {
				outs = append(outs, out(fmt.Sprint(i), 0))
			}
			cfg := engine.Config{Partitions: 1, Logger: slog.New(slog.NewTextHandler(&logged, nil)), Sources: []engine.Source{{Name: "given", Topic: "in", Source: &outSource{outs: outs, stay: true}}}}
			cfg.Sinks = []engine.Sink{{Name: "down", Topic: "in", Sink: s}, {Name: "up", Topic: "in", Sink: &seen{}}}
			e, err := engine.NewOn(passing(t, "else"), cfg, w.backing())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := e.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
			sinks := e.State().Sinks
			if snap := sinks[0]; snap.State != "stopped" || snap.Lag != 11 || !strings.Contains(snap.Error, "connection refused") {
				t.Errorf("in %s: %+v, expected stopped with a lag of 10, a marker and the last error", where, snap)
			}
			if snap := sinks[1]; snap.State != "ended" || snap.Lag != 0 || snap.Error != "" {
				t.Errorf("the sink that was up: %+v, expected ended without a lag", snap)
			}
		})
		if text := logged.String(); strings.Count(text, "sink stopped before everything was written") != 1 || !strings.Contains(text, "sink=down topic=in records=11") {
			t.Errorf("in %s, the log: %s", where, text)
		}
	}
}
