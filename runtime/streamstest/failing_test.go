package streamstest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// fragile panics at the line "boom".
func fragile(t testing.TB) *topology.Topology {
	b := streams.NewBuilder("fragile")
	b.From[string, string]("lines").
		MapValues(func(_, v string) string {
			if v == "boom" {
				panic("the user's mistake")
			}
			return v
		}, streams.Named("careless")).
		To("out")
	return build(t, b)
}

// messages are what a test says when it fails: a testing.TB that remembers.
type messages struct {
	testing.TB
	said []string
}

func (m *messages) Helper() {}
func (m *messages) Fatalf(format string, args ...any) {
	m.said = append(m.said, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// failure is what f says before it fails the test.
func failure(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	m := &messages{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(m)
	}()
	<-done
	if len(m.said) == 0 {
		t.Fatal("nothing failed")
	}
	return strings.Join(m.said, "\n")
}

func expectIn(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not say %q", text, p)
		}
	}
}

func TestFailuresSayWhatWasExpectedOfWhom(t *testing.T) {
	driver := func(t testing.TB) *streamstest.Driver {
		return streamstest.New(t, logins(t), streamstest.Options{})
	}
	for _, c := range []struct {
		name string
		do   func(t testing.TB)
		says []string
	}{
		{"a topic that is not there", func(t testing.TB) { streamstest.Input[string, string](driver(t), "line") },
			[]string{`topic "line"`, "alerts, lines"}},
		{"another type", func(t testing.TB) { streamstest.Input[string, int64](driver(t), "lines") },
			[]string{`operator "From-1"`, "values of serde string", "int64"}},
		{"a partition that is not there", func(t testing.TB) {
			streamstest.Input[string, string](driver(t), "lines").SendValue("x", t0, streamstest.ToPartition(3))
		}, []string{"partition 3", "which has 3"}},
		{"other records", func(t testing.TB) {
			d := driver(t)
			send(d, []event{{"host-1 fine", t0}, {"host-2 fine", t0}})
			d.Run()
			streamstest.Output[string, int64](d, "totals").Expect(streamstest.KV("host-1", int64(2)), streamstest.KV("host-3", int64(1)))
		}, []string{`topic "totals": expected 2 records, found 2`, "expected record 0: host-1 = 2, found host-1 = 1", "host-3 = 1, found no more", "not expected: host-2 = 1"}},
		{"a store that is not there", func(t testing.TB) { streamstest.Get[string, int64](driver(t), "nothing", "x") },
			[]string{`"nothing"`}},
		{"a program that is down", func(t testing.TB) { d := driver(t); d.Crash(); d.Run() }, []string{"the program is down: call Restart"}},
		{"connectors", func(t testing.TB) {
			streamstest.New(t, logins(t), streamstest.Options{Sources: []engine.Source{{}}})
		}, []string{"runs no connectors"}},
		{"a panic", func(t testing.TB) {
			d := streamstest.New(t, fragile(t), streamstest.Options{})
			streamstest.Input[string, string](d, "lines").Send("k", "boom", t0, streamstest.ToPartition(1))
			d.Run()
		}, []string{`operator "careless"`, "lines-1 offset 0", "the user's mistake"}},
	} {
		t.Run(c.name, func(t *testing.T) { expectIn(t, failure(t, c.do), c.says...) })
	}
}

func TestAnErrorEndsTheProgramAndARestartGoesOn(t *testing.T) {
	d := streamstest.New(t, fragile(t), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	in.Send("k", "good", t0)
	d.Run()
	in.Send("k", "fine", t0)
	in.Send("k", "boom", t0)
	for range 2 { // the second time it fails again: nothing was skipped
		if err := d.Try(); err == nil || d.Up() {
			t.Fatalf("Try: %v, up %v: expected the panic and the program down", err, d.Up())
		}
		d.Restart()
	}
	streamstest.Output[string, string](d, "out").Expect(streamstest.KV("k", "good"))
}

// The scenarios below fail a test of their own in another process: Run needs a
// *testing.T, and a failure inside a bubble must neither hang nor be lost.
var scenarios = map[string]struct {
	run  func(t *testing.T)
	says []string
}{
	"the engine fails": {func(t *testing.T) {
		streamstest.Run(t, fragile(t), streamstest.Options{}, func(r *streamstest.Running) {
			streamstest.Input[string, string](r, "lines").Send("k", "boom", r.Now())
			r.Advance(time.Second)
			fmt.Println("went on")
		})
	}, []string{"the engine has failed", `operator "careless"`, "the user's mistake"}},
	"the engine fails and nobody looks": {func(t *testing.T) {
		streamstest.Run(t, fragile(t), streamstest.Options{}, func(r *streamstest.Running) {
			streamstest.Input[string, string](r, "lines").Send("k", "boom", r.Now())
			<-time.After(time.Second)
		})
	}, []string{"the engine has failed", `operator "careless"`}},
	"the test fails inside": {func(t *testing.T) {
		streamstest.Run(t, fragile(t), streamstest.Options{}, func(r *streamstest.Running) {
			r.T().Fatal("as it should")
		})
	}, []string{"as it should"}},
	"the outer test fails inside": {func(t *testing.T) {
		streamstest.Run(t, fragile(t), streamstest.Options{}, func(r *streamstest.Running) {
			t.Fatal("as it should")
		})
	}, []string{"as it should"}},
	"the function panics": {func(t *testing.T) {
		streamstest.Run(t, fragile(t), streamstest.Options{}, func(r *streamstest.Running) {
			panic("a bug in the test")
		})
	}, []string{"a bug in the test"}},
	"a sink that never gets there": {func(t *testing.T) {
		o := streamstest.Options{Sinks: []engine.Sink{{Name: "deaf", Topic: "out", Sink: deaf{}}}}
		streamstest.Run(t, fragile(t), o, func(r *streamstest.Running) {
			streamstest.Input[string, string](r, "lines").Send("k", "v", r.Now())
			r.Wait()
		})
	}, []string{"sink deaf", "offset 0 of out"}},
	"a topology that does not start": {func(t *testing.T) {
		o := streamstest.Options{Engine: engine.Config{OnBadRecord: "nonsense"}}
		streamstest.Run(t, fragile(t), o, func(r *streamstest.Running) { fmt.Println("went on") })
	}, []string{`OnBadRecord is "nonsense"`}},
}

// deaf is a sink that nobody answers.
type deaf struct{}

func (deaf) Open(context.Context, connectors.SinkContext) error { return nil }
func (deaf) Close() error                                       { return nil }
func (deaf) Write(ctx context.Context, _ []connectors.Record) error {
	<-ctx.Done()
	return ctx.Err()
}

const scenarioVariable = "STREAMSTEST_SCENARIO"

func TestScenario(t *testing.T) {
	s, ok := scenarios[os.Getenv(scenarioVariable)]
	if !ok {
		t.Skip("run by TestAFailureInsideRunIsReportedAndHangsNothing")
	}
	s.run(t)
}

func TestAFailureInsideRunIsReportedAndHangsNothing(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScenario$", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), scenarioVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Errorf("the test passed, expected it to fail: %s", out)
			}
			expectIn(t, string(out), s.says...)
			for _, bad := range []string{"went on", "deadlock", "test timed out"} {
				if strings.Contains(string(out), bad) {
					t.Errorf("it says %q: %s", bad, out)
				}
			}
		})
	}
}
