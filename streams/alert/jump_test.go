package alert_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
	"github.com/millstream-io/millstream/streams/topology"
)

// jumpCases have a record of b 2,000 days after those of a: 172800000 seconds.
var jumpCases = map[string]struct {
	rule alert.Condition
	opts []alert.Option
	in   string
	want []string // of a
}{
	"absence, repeated": {
		rule: alert.Absent(10 * time.Minute), opts: []alert.Option{alert.Repeat(time.Minute), alert.NotifyResolved()},
		in: "a@0 b@172800030 a@172800031 b@172800060",
		want: []string{
			"firing a 600 of 0 in 0-600 since 600 #1 @600",
			"firing a 1.728e+08 of 0 in 0-600 since 600 #2 @172800000",
			"resolved a 1.72800031e+08 of 0 in 0-600 since 600 to 172800031 #3 @172800031",
		},
	},
	"repeats go on at their multiples": {
		rule: alert.Absent(10 * time.Minute), opts: []alert.Option{alert.Repeat(time.Hour)},
		in: "a@0 b@172800030 b@172805000",
		want: []string{
			"firing a 600 of 0 in 0-600 since 600 #1 @600",
			"firing a 1.72797e+08 of 0 in 0-600 since 600 #2 @172797000",
			"firing a 1.728006e+08 of 0 in 0-600 since 600 #3 @172800600",
			"firing a 1.728042e+08 of 0 in 0-600 since 600 #4 @172804200",
		},
	},
	"repeats until the key is forgotten": {
		rule: alert.Absent(10 * time.Minute), opts: []alert.Option{alert.Repeat(time.Second), alert.NotifyResolved(), alert.Forget(time.Hour)},
		in: "a@0 b@172800000",
		want: []string{
			"firing a 600 of 0 in 0-600 since 600 #1 @600",
			"firing a 3599 of 0 in 0-600 since 600 #2 @3599",
			"firing a 3600 of 0 in 0-600 since 600 #3 @3600",
			"resolved a 3600 of 0 in 0-600 since 600 to 3600 #4 @3600",
		},
	},
	"each window that is below": {
		rule: alert.Count().In(minute()).Below(5),
		in:   "a@1 b@172800030 a@172800031 b@172800060",
		want: []string{
			"firing a 1 of 1 in 0-60 since 0 #1 @60",
			"firing a 0 of 0 in 172799940-172800000 since 172799940 #1 @172800000",
			"firing a 1 of 1 in 172800000-172800060 since 172800000 #1 @172800060",
		},
	},
	"below as an incident": {
		rule: alert.Count().In(minute()).Below(2), opts: []alert.Option{alert.NotifyResolved()},
		in: "a@1 b@172800030 a@172800031 a@172800032 b@172800060",
		want: []string{
			"firing a 1 of 1 in 0-60 since 0 #1 @60",
			"resolved a 2 of 2 in 0-60 since 0 to 172800060 #2 @172800060",
		},
	},
	"below for a day": {
		rule: alert.Count().In(minute()).Below(2), opts: []alert.Option{alert.For(24 * time.Hour), alert.Forget(72 * time.Hour), alert.NotifyResolved()},
		in: "a@1 a@2 b@172800000",
		want: []string{
			"firing a 0 of 0 in 60-120 since 60 #1 @86460",
			"resolved a 0 of 0 in 60-120 since 60 to 259202 #2 @259202",
		},
	},
	"below, repeated": {
		rule: alert.Count().In(minute()).Below(2), opts: []alert.Option{alert.Repeat(30 * time.Second)},
		in: "a@1 a@2 b@172800000",
		want: []string{
			"firing a 0 of 0 in 60-120 since 60 #1 @120",
			"firing a 0 of 0 in 60-120 since 60 #2 @172799970",
			"firing a 0 of 0 in 60-120 since 60 #3 @172800000",
		},
	},
	"a sum that only a window below -1 ends": {
		rule: alert.Sum(number).In(minute()).AtLeast(5).Until(-1), opts: []alert.Option{alert.NotifyResolved()},
		in: "a@1=5 b@172800000 a@172800001=-2 b@172800060",
		want: []string{
			"firing a 5 of 1 in 0-60 since 1 #1 @1",
			"resolved a -2 of 1 in 0-60 since 1 to 172800060 #2 @172800060",
		},
	},
	"a key whose last window is long over": {
		rule: alert.Count().In(minute()).AtLeast(1), opts: []alert.Option{alert.NotifyResolved()},
		in: "a@1 b@172800000 a@172800001 b@172800120",
		want: []string{
			"firing a 1 of 1 in 0-60 since 1 #1 @1",
			"resolved a 0 of 0 in 0-60 since 1 to 120 #2 @120",
			"firing a 1 of 1 in 172800000-172800060 since 172800001 #1 @172800001",
			"resolved a 0 of 0 in 172800000-172800060 since 172800001 to 172800120 #2 @172800120",
		},
	},
	"over the last minute, below, repeated": {
		rule: alert.Count().Over(time.Minute).Below(1), opts: []alert.Option{alert.For(time.Minute), alert.Repeat(time.Minute), alert.NotifyResolved()},
		in: "a@0 b@172800000 a@172800001",
		want: []string{
			"firing a 0 of 0 in 60-120 since 60 #1 @120",
			"firing a 0 of 0 in 60-120 since 60 #2 @172800000",
			"resolved a 1 of 1 in 60-120 since 60 to 172800001 #3 @172800001",
		},
	},
}

// What was missed in a jump of time is told once, at its own time; the same with
// commits, crashes and restarts anywhere.
func TestAJumpOfTimeIsToldOnce(t *testing.T) {
	for name, c := range jumpCases {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(6) {
				rng := rand.New(rand.NewPCG(seed, 9))
				d := streamstest.New(t, program(t, c.rule, c.opts...), streamstest.Options{Partitions: 1, CommitEvery: int(seed) % 3})
				for _, word := range strings.Fields(c.in) {
					send(t, d, word)
					if seed > 0 {
						unruly(d, rng)
					}
				}
				d.Run()
				got := slices.DeleteFunc(events(d), func(line string) bool { return !strings.Contains(line, " a ") })
				if !slices.Equal(got, c.want) {
					t.Fatalf("seed %d: %s\n got  %s\n want %s", seed, c.in, strings.Join(got, "\n      "), strings.Join(c.want, "\n      "))
				}
			}
		})
	}
}

// Up to a thousand at once are told one by one: the same whether time comes at
// once or in steps.
func TestAThousandMissedAreAllTold(t *testing.T) {
	run := func(rule alert.Condition, in string, opts ...alert.Option) (got []string) {
		d := streamstest.New(t, program(t, rule, opts...), streamstest.Options{Partitions: 1})
		send(t, d, in)
		d.Run()
		return slices.DeleteFunc(events(d), func(line string) bool { return !strings.Contains(line, " a ") })
	}
	for name, c := range map[string]struct {
		rule        alert.Condition
		opts        []alert.Option
		once, steps string
		n           int
	}{
		"repeats":           {alert.Absent(time.Minute), []alert.Option{alert.Repeat(time.Minute)}, "a@0 b@60119", "a@0 b@20000 b@40000 b@60119", 1001},
		"a repeat too many": {alert.Absent(time.Minute), []alert.Option{alert.Repeat(time.Minute)}, "a@0 b@60120", "", 2},
		"windows":           {alert.Count().In(minute()).Below(1), nil, "a@0 b@60060", "a@0 b@20000 b@40000 b@60060", 1000},
		"a window too many": {alert.Count().In(minute()).Below(1), nil, "a@0 b@60120", "", 1},
	} {
		got := run(c.rule, c.once, c.opts...)
		if len(got) != c.n {
			t.Errorf("%s: %d notices, expected %d", name, len(got), c.n)
		}
		if c.steps != "" && !slices.Equal(got, run(c.rule, c.steps, c.opts...)) {
			t.Errorf("%s: others if time comes in steps", name)
		}
	}
}

// A record may carry any time that there is: nothing runs for ever, and events
// stay within what JSON can say.
func TestTimesAtTheEndsOfTime(t *testing.T) {
	far := []time.Time{
		time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MinInt64), time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0), {},
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9998, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-290_000_000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(290_000_000, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	rules := map[string]func(s *streams.Stream[string, float64]) *streams.Stream[string, alert.Event]{}
	add := func(name string, c alert.Condition, opts ...alert.Option) {
		rules[name] = func(s *streams.Stream[string, float64]) *streams.Stream[string, alert.Event] {
			return alert.When(s, c, append(opts, alert.Named("rule"))...)
		}
	}
	add("absent", alert.Absent(time.Minute), alert.Repeat(time.Minute), alert.NotifyResolved(), alert.For(time.Hour))
	add("below", alert.Count().In(minute()).Below(5))
	add("below, an incident", alert.Count().In(minute()).AtMost(5), alert.NotifyResolved(), alert.For(time.Hour), alert.Repeat(time.Second))
	add("above", alert.Count().In(minute()).AtLeast(1), alert.NotifyResolved())
	add("over", alert.Count().Over(time.Minute).Below(5), alert.For(time.Hour), alert.Repeat(time.Second), alert.NotifyResolved())
	add("change", alert.Count().Over(time.Minute).Change().Beyond(1), alert.Forget(time.Hour), alert.NotifyResolved())
	add("groups", alert.Count().Over(time.Minute).AtLeast(1), alert.NotifyResolved(), alert.GroupBy(func(k string) string { return "g" }, time.Minute))
	for name, rule := range rules {
		for _, at := range far {
			d := streamstest.New(t, moved(t, at, rule), streamstest.Options{Partitions: 1})
			send(t, d, "a@1=0 a@2=1 a@3=0 b@100=0 a@200=0 b@1000=0")
			if err := d.Try(); err != nil {
				t.Errorf("%s, a record of %v: %v", name, at, err)
				continue
			}
			if n := len(events(d)); n > 3100 { // of three keys, no more than a thousand each at once
				t.Errorf("%s, a record of %v: %d events", name, at, n)
			}
		}
	}
}

// moved is a rule behind a function that gives records with a 1 another time: no
// source looks at that.
func moved(t *testing.T, at time.Time, rule func(s *streams.Stream[string, float64]) *streams.Stream[string, alert.Event]) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	s := b.From[string, float64]("numbers").ProcessValues(func(c *streams.ValueContext[float64], _ string, v float64) {
		if v == 1 {
			c.ForwardAt(at, v)
			return
		}
		c.Forward(v)
	}, streams.Named("move"))
	rule(s).To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func TestNilFunctionsAreMistakes(t *testing.T) {
	b := streams.NewBuilder("app")
	in := b.From[string, float64]("numbers")
	alert.When(in, alert.Avg[float64](nil).Over(time.Minute).AtLeast(1), alert.Named("number"))
	alert.When(in, alert.Absent(time.Minute), alert.Named("options"), alert.Annotate[string](nil), alert.GroupBy[string](nil, time.Minute))
	alert.When(in, alert.Count().Over(time.Minute).AtLeast(1), alert.Named("collect"), alert.Collect[string, float64, int](nil, nil))
	alert.When(in, alert.Count().Over(time.Minute).AtLeast(1), alert.Named("merge"), alert.Merge[int](nil),
		alert.Collect(func() int { return 0 }, func(_ string, _ float64, n int) int { return n + 1 }))
	_, err := b.Build()
	for _, want := range []string{
		`operator "number": the condition's number is taken by a nil function`,
		`operator "options": Annotate's function is made by a nil function`,
		`GroupBy's function is made by a nil function`,
		`operator "collect": Collect: a function is nil`,
		`operator "merge": Collect with Over needs Merge`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "When is given a nil stream") {
			t.Errorf("When(nil) panics with %q", text)
		}
	}()
	alert.When[string, float64](nil, alert.Absent(time.Minute), alert.Named("nil"))
}
