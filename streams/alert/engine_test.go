package alert_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
)

// In a whole engine nothing comes any more: the clock alone, by IdleAfter, fires
// the absence, once, also where the engine is killed in between.
func TestASilentServiceIsMissedByTheClock(t *testing.T) {
	topo := program(t, alert.Absent(30*time.Second), alert.NotifyResolved())
	streamstest.Run(t, topo, streamstest.Options{IdleAfter: 2 * time.Second}, func(r *streamstest.Running) {
		in := streamstest.Input[string, float64](r, "numbers")
		in.Send("a", 1, r.Now())
		r.Advance(30 * time.Second)
		if got := events(r); len(got) != 0 {
			t.Errorf("after 30 s, of which 2 until the input is idle: %v", got)
		}
		r.Advance(3 * time.Second)
		if got := kinds(r); !slices.Equal(got, []string{"firing a"}) {
			t.Errorf("after 33 s: %v", got)
		}
		r.Kill()
		r.Restart()
		r.Advance(time.Minute)
		in.Send("a", 1, r.Now())
		r.Advance(5 * time.Second)
		if got := kinds(r); !slices.Equal(got, []string{"firing a", "resolved a"}) {
			t.Errorf("after a kill and a record: %v", got)
		}
	})
}

func kinds(d streamstest.Harness) (out []string) {
	for _, r := range streamstest.Output[string, alert.Event](d, "alerts").ReadAll() {
		out = append(out, string(r.Value.Status)+" "+r.Value.Key)
	}
	return out
}

func TestEventsAreJSONWithAStableID(t *testing.T) {
	topo := program(t, alert.Count().In(minute()).AtLeast(2), alert.NotifyResolved(), alert.Label("team", "sre"),
		alert.Annotate(func(k string, e *alert.Event) { e.Annotations = map[string]string{"summary": k + " is busy"} }),
		alert.Collect(func() int { return 0 }, func(_ string, v float64, n int) int { return n + int(v) }))
	d := streamstest.New(t, topo, streamstest.Options{})
	send(t, d, "a@1=2 a@2=3 a@300=1")
	d.Run()
	all := streamstest.Output[string, alert.Event](d, "alerts").ReadAll()
	if len(all) != 2 {
		t.Fatalf("%d events, expected 2", len(all))
	}
	b, err := json.Marshal(all[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"app/rule/a/2026-01-01T00:00:00Z","incident":"app/rule/a/2026-01-01T00:00:00Z","kind":"rule","status":"firing","key":"a",` +
		`"window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:02Z",` +
		`"value":2,"count":2,"number":1,"labels":{"team":"sre"},"annotations":{"summary":"a is busy"},"data":5}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if e := all[1].Value; e.ID != "app/rule/a/2026-01-01T00:00:00Z/2" || e.Incident != all[0].Value.ID {
		t.Errorf("the second notice is %q of %q", e.ID, e.Incident)
	}
	if n, err := alert.DataOf[int](all[0].Value); n != 5 || err != nil {
		t.Errorf("its data: %d, %v", n, err)
	}
}

// What comes too late is counted under the rule's name, and kept if asked for; a
// null key is dropped and counted.
func TestLateRecordsAreCounted(t *testing.T) {
	d := streamstest.New(t, program(t, alert.Count().In(minute()).AtLeast(2), alert.KeepLate()), streamstest.Options{Partitions: 1})
	send(t, d, "a@1 a@61 a@2 a@3")
	streamstest.Input[string, float64](d, "numbers").SendRaw(nil, []byte("12345678"), t0.Add(62*time.Second))
	d.Run()
	if n := d.Late("rule"); n != 2 {
		t.Errorf("%d records late, expected 2", n)
	}
	if n := len(d.DeadLetters()); n != 2 {
		t.Errorf("%d dead letters, expected 2", n)
	}
	if n := d.Dropped("rule"); n != 1 {
		t.Errorf("%d records dropped, expected the one without a key", n)
	}
}

func TestBuildReportsEveryMistakeOfARule(t *testing.T) {
	b := streams.NewBuilder("app")
	in := b.From[string, float64]("numbers")
	alert.When(in, alert.Condition{}, alert.Named("empty"))
	alert.When(in, alert.Absent(time.Microsecond), alert.Named("short"), alert.AtClose())
	alert.When(in, alert.Count().In(streams.Hopping(time.Minute, time.Second)).AtLeast(1), alert.Named("hopping"))
	alert.When(in, alert.Sum(func(s string) float64 { return 0 }).In(minute()).AtLeast(1).Until(2), alert.Named("types"),
		alert.For(-time.Second), alert.Annotate(func(int, *alert.Event) {}), alert.GroupBy(func(int) string { return "" }, time.Second), alert.Expect(1))
	alert.When(in, alert.Count().Over(time.Minute).Slices(1).AtLeast(1), alert.Named("slices"),
		alert.Collect(func() int { return 0 }, func(string, float64, int) int { return 0 }))
	alert.When(in, alert.Absent(time.Second))
	_, err := b.Build()
	if err == nil {
		t.Fatal("it builds")
	}
	for _, want := range []string{
		`operator "empty": the condition is empty`,
		`Absent 1µs, expected whole milliseconds`,
		`AtClose is for In`,
		`In takes tumbling windows`,
		`the condition's number is taken by a func(string) float64, expected a func(float64) float64`,
		`Until 2 is on the wrong side of 1`,
		`For -1s, expected whole milliseconds`,
		`Annotate's function is made by a func(int, *alert.Event), expected a func(string, *alert.Event)`,
		`GroupBy's function is made by a func(int) string`,
		`Expect has keys of type []int, the stream's are string`,
		`Expect is for Absent`,
		`1 slices, expected 2 to 1000`,
		`Collect with Over needs Merge`,
		`the alert has no name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestARuleIsInTheDescription(t *testing.T) {
	topo := program(t, alert.Avg(number).Over(time.Minute).Above(80).Until(70), alert.For(time.Second), alert.Repeat(time.Hour), alert.NotifyResolved())
	const want = `rule: Process store rule, rule-timers, rule-timers-due (timers due, avg over 1m0s in 60 slices > 80 until 70, for 1s, repeat 1h0m0s, notify resolved)`
	if f := topo.Describe(); !strings.Contains(f, want) {
		t.Errorf("%s\ndoes not say: %s", f, want)
	}
}
