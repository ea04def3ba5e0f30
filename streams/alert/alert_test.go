package alert_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
	"github.com/millstream-io/millstream/streams/topology"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// program watches numbers per key.
func program(t testing.TB, c alert.Condition, opts ...alert.Option) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	alert.When(b.From[string, float64]("numbers"), c, append([]alert.Option{alert.Named("rule")}, opts...)...).To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func number(v float64) float64 { return v }

// send sends "key@seconds[=value]" words.
func send(t testing.TB, d streamstest.Harness, words string) {
	t.Helper()
	in := streamstest.Input[string, float64](d, "numbers")
	for _, w := range strings.Fields(words) {
		key, rest, _ := strings.Cut(w, "@")
		at, value, _ := strings.Cut(rest, "=")
		s, err := strconv.ParseFloat(at, 64)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := strconv.ParseFloat(value, 64)
		in.Send(key, v, t0.Add(time.Duration(s*1000)*time.Millisecond))
	}
}

func seconds(at time.Time) string {
	return strconv.FormatFloat(at.Sub(t0).Seconds(), 'f', -1, 64)
}

// line is an event as the tests write it: "firing a 3 of 3 in 0-60 since 20 #1 @20".
func line(r streamstest.Record[string, alert.Event]) string {
	e := r.Value
	s := fmt.Sprintf("%s %s %v of %d in %s-%s since %s", e.Status, e.Key, e.Value, e.Count, seconds(e.WindowStart), seconds(e.WindowEnd), seconds(e.StartsAt))
	if e.EndsAt != nil {
		s += " to " + seconds(*e.EndsAt)
	}
	if len(e.Members) > 0 {
		s += " " + strings.Join(e.Members, ",")
	}
	if len(e.Data) > 0 {
		s += " " + string(e.Data)
	}
	return s + fmt.Sprintf(" #%d @%s", e.Number, seconds(r.Time))
}

func events(d streamstest.Harness) (out []string) {
	for _, r := range streamstest.Output[string, alert.Event](d, "alerts").ReadAll() {
		out = append(out, line(r))
	}
	return out
}

func minute() streams.Windows { return streams.Tumbling(time.Minute) }

// toldCases are every condition and modifier: what comes in, and what is told.
var toldCases = map[string]struct {
	rule alert.Condition
	opts []alert.Option
	in   string
	end  bool
	want []string
}{
	"a count fires with the record that reaches it, once per window and key": {
		rule: alert.Count().In(minute()).AtLeast(3),
		in:   "a@1 b@2 a@3 a@20 a@30 a@40 b@50 a@70 a@71 a@72 b@73", end: true,
		want: []string{"firing a 3 of 3 in 0-60 since 20 #1 @20", "firing a 3 of 3 in 60-120 since 72 #1 @72"},
	},
	"a record that is older counts in its own window": {
		rule: alert.Count().In(minute().Grace(30 * time.Second)).AtLeast(3),
		in:   "a@1 a@61 a@62 a@10 a@59 a@63 b@90 a@2", end: true,
		want: []string{"firing a 3 of 3 in 0-60 since 59 #1 @59", "firing a 3 of 3 in 60-120 since 63 #1 @63"},
	},
	"at close the final count": {
		rule: alert.Count().In(minute().Grace(10 * time.Second)).AtLeast(3), opts: []alert.Option{alert.AtClose()},
		in: "a@1 a@3 a@20 a@30 b@65 a@50 b@71 b@72", end: true,
		want: []string{"firing a 5 of 5 in 0-60 since 0 #1 @70", "firing b 3 of 3 in 60-120 since 60 #1 @130"},
	},
	"below is judged when the window closes, empty windows too": {
		rule: alert.Count().In(minute()).Below(2),
		in:   "a@1 a@2 a@61 b@130 a@185 a@186",
		want: []string{"firing a 1 of 1 in 60-120 since 60 #1 @120", "firing a 0 of 0 in 120-180 since 120 #1 @180", "firing b 1 of 1 in 120-180 since 120 #1 @180"},
	},
	"a key that is forgotten is not below": {
		rule: alert.Count().In(minute()).Below(2), opts: []alert.Option{alert.Forget(100 * time.Second)},
		in:   "a@1 b@500",
		want: []string{"firing a 1 of 1 in 0-60 since 0 #1 @60"},
	},
	"a sum, an average, a maximum, a minimum, the last one: max": {
		rule: alert.Max(number).In(minute()).Above(10),
		in:   "a@1=5 a@2=10 a@3=11 a@4=12",
		want: []string{"firing a 11 of 3 in 0-60 since 3 #1 @3"},
	},
	"sum": {
		rule: alert.Sum(number).In(minute()).AtLeast(20),
		in:   "a@1=5 a@2=10 a@3=11 a@4=12",
		want: []string{"firing a 26 of 3 in 0-60 since 3 #1 @3"},
	},
	"an average may go back: it is judged at the close": {
		rule: alert.Avg(number).In(minute()).Above(10),
		in:   "a@1=50 a@2=0 a@3=0 b@1=8 b@50=14 c@61",
		want: []string{"firing a 16.666666666666668 of 3 in 0-60 since 0 #1 @60", "firing b 11 of 2 in 0-60 since 0 #1 @60"},
	},
	"min": {
		rule: alert.Min(number).In(minute()).AtMost(3),
		in:   "a@1=5 a@2=3 a@3=2",
		want: []string{"firing a 3 of 2 in 0-60 since 2 #1 @2"},
	},
	"last": {
		rule: alert.Last(number).In(minute()).Below(3),
		in:   "a@1=1 a@2=5 b@2=5 b@3=2 a@60=0",
		want: []string{"firing b 2 of 2 in 0-60 since 0 #1 @60"},
	},
	"resolved when a window closes that does not hold": {
		rule: alert.Count().In(minute()).AtLeast(2), opts: []alert.Option{alert.NotifyResolved()},
		in:   "a@1 a@2 a@61 a@62 a@63 a@125 a@300",
		want: []string{"firing a 2 of 2 in 0-60 since 2 #1 @2", "resolved a 1 of 1 in 0-60 since 2 to 180 #2 @180"},
	},
	"until: between the two it goes on": {
		rule: alert.Count().In(minute()).AtLeast(3).Until(2), opts: []alert.Option{alert.NotifyResolved()},
		in:   "a@1 a@2 a@3 a@61 a@62 a@121 a@122 a@123 a@181 a@241",
		want: []string{"firing a 3 of 3 in 0-60 since 3 #1 @3", "resolved a 1 of 1 in 0-60 since 3 to 240 #2 @240"},
	},
	"for: held over windows": {
		rule: alert.Count().In(minute()).AtLeast(2), opts: []alert.Option{alert.For(90 * time.Second)},
		in:   "a@1 a@2 b@3 b@4 a@61 a@62 b@63 a@121 a@122 a@123 b@190",
		want: []string{"firing a 2 of 2 in 0-60 since 2 #1 @120"},
	},
	"repeat while it holds": {
		rule: alert.Count().In(minute()).AtLeast(2), opts: []alert.Option{alert.Repeat(50 * time.Second)},
		in:   "a@1 a@2 a@61 a@62 a@63 a@200",
		want: []string{"firing a 2 of 2 in 0-60 since 2 #1 @2", "firing a 2 of 2 in 0-60 since 2 #2 @52", "firing a 3 of 3 in 0-60 since 2 #3 @102", "firing a 3 of 3 in 0-60 since 2 #4 @152"},
	},
	"the last ten seconds": {
		rule: alert.Count().Over(10 * time.Second).Slices(10).AtLeast(3), opts: []alert.Option{alert.NotifyResolved()},
		in:   "a@1 a@7 a@10 a@11.5 a@30 a@31 a@32 b@100",
		want: []string{"firing a 3 of 3 in 0-10 since 10 #1 @10", "resolved a 2 of 2 in 0-10 since 10 to 11 #2 @11", "firing a 3 of 3 in 1.5-11.5 since 11.5 #1 @11.5", "resolved a 2 of 2 in 1.5-11.5 since 11.5 to 17 #2 @17", "firing a 3 of 3 in 22-32 since 32 #1 @32", "resolved a 2 of 2 in 22-32 since 32 to 40 #2 @40"},
	},
	"an average over the last ten seconds, for five": {
		rule: alert.Avg(number).Over(10 * time.Second).Slices(10).Above(80).Until(70), opts: []alert.Option{alert.For(5 * time.Second), alert.NotifyResolved()},
		in:   "a@1=90 a@2=60 a@3=200 a@20=75 a@40=100 a@50=10",
		want: []string{"firing a 116.66666666666667 of 3 in -2-8 since 3 #1 @8", "resolved a 0 of 0 in -2-8 since 3 to 13 #2 @13", "firing a 100 of 1 in 35-45 since 40 #1 @45", "resolved a 0 of 0 in 35-45 since 40 to 50 #2 @50"},
	},
	"fewer than two in the last ten seconds, once the key is that old": {
		rule: alert.Count().Over(10 * time.Second).Slices(10).Below(2), opts: []alert.Option{alert.NotifyResolved()},
		in:   "a@0 a@5 a@8 a@12 a@16 a@40 a@41",
		want: []string{"firing a 1 of 1 in 12-22 since 22 #1 @22", "resolved a 2 of 2 in 12-22 since 22 to 41 #2 @41"},
	},
	"a change between windows": {
		rule: alert.Sum(number).In(minute()).RelativeChange().AtLeast(0.5),
		in:   "a@1=10 a@61=14 a@121=21 a@181=1 b@400",
		want: []string{"firing a 0.5 of 1 in 120-180 since 120 #1 @180"},
	},
	"a fall to nothing": {
		rule: alert.Count().In(minute()).RelativeChange().AtMost(-0.5),
		in:   "a@1 a@2 a@61 b@400",
		want: []string{"firing a -0.5 of 1 in 60-120 since 60 #1 @120", "firing a -1 of 0 in 120-180 since 120 #1 @180"},
	},
	"a change either way, over the last d": {
		rule: alert.Last(number).Over(10 * time.Second).Slices(10).Change().Beyond(5),
		in:   "a@0=20 a@5=21 a@15=22 a@21=28 a@40 b@60",
		want: []string{"firing a 7 of 2 in 11-21 since 21 #1 @21", "firing a -28 of 1 in 30-40 since 40 #1 @40"},
	},
	"absence, and its end": {
		rule: alert.Absent(30 * time.Second), opts: []alert.Option{alert.NotifyResolved()},
		in:   "a@0 b@1 b@20 a@29 b@49.9 a@100 b@140",
		want: []string{"firing a 30 of 0 in 29-59 since 59 #1 @59", "firing b 30 of 0 in 49.9-79.9 since 79.9 #1 @79.9", "resolved a 71 of 0 in 29-59 since 59 to 100 #2 @100", "firing a 30 of 0 in 100-130 since 130 #1 @130", "resolved b 90.1 of 0 in 49.9-79.9 since 79.9 to 140 #2 @140"},
	},
	"absence that is repeated, until the key is forgotten": {
		rule: alert.Absent(30 * time.Second), opts: []alert.Option{alert.NotifyResolved(), alert.Repeat(60 * time.Second), alert.Forget(200 * time.Second)},
		in:   "a@0 b@500",
		want: []string{"firing a 30 of 0 in 0-30 since 30 #1 @30", "firing a 90 of 0 in 0-30 since 30 #2 @90", "firing a 150 of 0 in 0-30 since 30 #3 @150", "resolved a 200 of 0 in 0-30 since 30 to 200 #4 @200"},
	},
	"expected keys, though they never come": {
		rule: alert.Absent(30 * time.Second), opts: []alert.Option{alert.Expect("a", "x"), alert.NotifyResolved()},
		in:   "a@10 b@35 a@45 x@60 a@70",
		want: []string{"firing a 30 of 0 in 10-40 since 40 #1 @40", "resolved a 35 of 0 in 10-40 since 40 to 45 #2 @45", "firing x 30 of 0 in 10-40 since 40 #1 @40", "resolved x 50 of 0 in 10-40 since 40 to 60 #2 @60", "firing b 30 of 0 in 35-65 since 65 #1 @65"},
	},
	"what Collect gathers, per window": {
		rule: alert.Count().In(minute()).AtLeast(3),
		opts: []alert.Option{alert.Collect(func() []float64 { return nil }, func(_ string, v float64, a []float64) []float64 { return append(a, v) })},
		in:   "a@1=1 a@2=2 a@3=3 a@4=4 a@61=5 a@62=6 a@63=7",
		want: []string{"firing a 3 of 3 in 0-60 since 3 [1,2,3] #1 @3", "firing a 3 of 3 in 60-120 since 63 [5,6,7] #1 @63"},
	},
	"what Collect gathers, merged over slices": {
		rule: alert.Count().Over(10 * time.Second).Slices(5).AtLeast(3),
		opts: []alert.Option{
			alert.Collect(func() []float64 { return nil }, func(_ string, v float64, a []float64) []float64 { return append(a, v) }),
			alert.Merge(func(a, b []float64) []float64 { return slices.Concat(a, b) }),
		},
		in:   "a@1=1 a@7=2 a@11=3 a@12=4 a@13=5",
		want: []string{"firing a 3 of 3 in 2-12 since 12 [2,3,4] #1 @12"},
	},
	"groups": {
		rule: alert.Absent(30 * time.Second), opts: []alert.Option{alert.NotifyResolved(), alert.GroupBy(func(k string) string { return k[:1] }, 10*time.Second)},
		in:   "a1@0 a2@5 a3@8 b1@0 b1@20 b1@40 b1@60 b1@70 a1@75 b1@76 a2@77 a3@78 b1@90 b1@100",
		want: []string{"firing a 30 of 0 in 0-38 since 30 a1,a2,a3 #1 @40", "resolved a 0 of 0 in 0-38 since 30 to 78 #2 @85"},
	},
}

func TestConditionsAndModifiers(t *testing.T) {
	for name, c := range toldCases {
		t.Run(name, func(t *testing.T) {
			d := streamstest.New(t, program(t, c.rule, c.opts...), streamstest.Options{Partitions: 1})
			send(t, d, c.in)
			if d.Run(); c.end {
				d.End()
			}
			if got := events(d); !slices.Equal(got, c.want) {
				t.Errorf("%s\n got  %s\n want %s", c.in, strings.Join(got, "\n      "), strings.Join(c.want, "\n      "))
			}
		})
	}
}
