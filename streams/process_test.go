package streams_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

type strContext = *streams.Context[string, string]

func ExampleStream_Process() {
	d := abc(func(in *streams.Stream[string, string]) {
		last := streams.NewState[string, string]("last")
		in.Process(func(c *streams.Context[string, string], k, v string) {
			before, ok := last.Get(c, k)
			last.Put(c, k, v)
			if ok {
				c.Forward(k, before+", then "+v)
			}
		}, streams.Uses(last)).To("out")
	})
	show[string, string](d, "out")
	// Output: a = one, then three @3s
}

func ExampleStream_ProcessValues() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.ProcessValues(func(c *streams.ValueContext[int], _, v string) {
			c.ForwardAt(c.Timestamp().Add(time.Minute), len(v))
		}).To("out")
	})
	show[string, int](d, "out")
	// Output:
	// a = 3 @1m1s
	// b = 9 @1m2s
	// a = 5 @1m3s
}

func ExampleOnTimer() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Process(func(c *streams.Context[string, string], k, v string) {
			c.SetTimer("quiet", c.Timestamp().Add(1500*time.Millisecond)) // put off by every record
		}, streams.Named("watch"), streams.OnTimer("quiet", func(c *streams.Context[string, string], k string) {
			c.Forward(k, "nothing for 1.5 s")
		})).To("out")
	})
	d.advance(4 * time.Second)
	show[string, string](d, "out")
	// Output:
	// a = nothing for 1.5 s @2.5s
	// b = nothing for 1.5 s @3.5s
}

func ExampleEvery() {
	d := abc(func(in *streams.Stream[string, string]) {
		counts := streams.NewState[string, int]("counts")
		in.Process(func(c *streams.Context[string, int], k, v string) {
			n, _ := counts.Get(c, k)
			counts.Put(c, k, n+1)
		}, streams.Uses(counts), streams.Every(10*time.Second, func(c *streams.Context[string, int]) {
			for k, n := range counts.All(c) {
				c.Forward(k, n)
				counts.Delete(c, k)
			}
		})).To("out")
	})
	d.advance(25 * time.Second)
	show[string, int](d, "out")
	// Output:
	// a = 2 @20s
	// b = 1 @20s
}

func ExampleState_Range() {
	d := abc(func(in *streams.Stream[string, string]) {
		seen := streams.NewState[string, string]("seen")
		in.Process(func(c *streams.Context[string, string], k, v string) {
			seen.Put(c, k, v)
			for k, v := range seen.Range(c, "b", "z") {
				c.Forward(k, v)
			}
		}, streams.Uses(seen)).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// b = two words @2s
	// b = two words @3s
}

// A null key is dropped and counted where the function has state; a null value
// is the function's to see.
func TestProcessOfNullKeysAndValues(t *testing.T) {
	program := func(opts ...streams.Option) *streams.Builder {
		b := streams.NewBuilder("app")
		b.From[string, string]("in").Process(func(c strContext, k, v string) {
			c.Forward(k, fmt.Sprintf("%q null %v", v, c.Null()))
			c.ForwardNull(k)
		}, append(opts, streams.Named("p"))...).To("out")
		return b
	}
	for keyed, opts := range map[bool][]streams.Option{true: {streams.Uses(streams.NewState[string, int]("s"))}, false: nil} {
		d := streamstest.New(t, must(program(opts...).Build()), streamstest.Options{Partitions: 1})
		in := streamstest.Input[string, string](d, "in")
		in.Send("a", "x", d.Now())
		in.Delete("a", d.Now())
		in.SendRaw(nil, []byte("y"), d.Now())
		d.Run()
		var got []string
		for _, r := range streamstest.Output[string, string](d, "out").ReadAll() {
			got = append(got, fmt.Sprintf("%s %s %v", r.Key, r.Value, r.NullValue))
		}
		want := []string{`a "x" null false false`, "a  true", `a "" null true false`, "a  true"}
		dropped := int64(1)
		if !keyed {
			want, dropped = append(want, ` "y" null false false`, "  true"), 0
		}
		wantLines(t, fmt.Sprintf("keyed %v", keyed), got, want...)
		if n := d.Dropped("p"); n != dropped {
			t.Errorf("keyed %v: %d dropped, expected %d", keyed, n, dropped)
		}
	}
}

// What the function did before it failed or panicked does not hold, and the error
// names the operator.
func TestAFailedFunctionLeavesNothing(t *testing.T) {
	broken := errors.New("broken")
	for how, want := range map[string]string{"fail": `operator "p": broken`, "panic": "p"} {
		n := streams.NewState[string, int]("n")
		b := streams.NewBuilder("app")
		heal := false
		b.From[string, string]("in").Process(func(c strContext, k, v string) {
			i, _ := n.Get(c, k)
			n.Put(c, k, i+1)
			c.Forward(k, strconv.Itoa(i+1))
			c.SetTimer("t", c.Timestamp())
			switch {
			case heal || v != how:
			case how == "fail":
				c.Fail(broken)
				c.Forward(k, "after the error")
			default:
				panic(broken)
			}
		}, streams.Named("p"), streams.Uses(n), streams.OnTimer("t", func(c strContext, k string) { c.Forward(k, "timer") })).To("out")
		d := streamstest.New(t, must(b.Build()), streamstest.Options{Partitions: 1})
		in := streamstest.Input[string, string](d, "in")
		in.Send("a", "fine", d.Now())
		d.Run()
		in.Send("a", how, d.Now())
		if err := d.Try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected it to say %s", how, err, want)
		}
		heal = true
		if d.Up() {
			d.Crash()
		}
		d.Restart()
		d.Run()
		var got []string
		for _, r := range streamstest.Output[string, string](d, "out").ReadAll() {
			got = append(got, r.Value)
		}
		wantLines(t, how, got, "1", "timer", "2", "timer")
		if v, ok := streamstest.Get[string, int](d, "n", "a"); !ok || v != 2 {
			t.Errorf("%s: the store has %d, expected 2", how, v)
		}
	}
}

// A timer that sets itself again sees how far time goes at once; Every is called
// once for each jump. Neither runs for ever at the ends of time.
func TestAJumpOfTimeForTimersAndEvery(t *testing.T) {
	for far, want := range map[time.Time][]string{
		time.Date(9998, 1, 1, 0, 0, 0, 0, time.UTC): {"a timer 1s of 251603539200s", "a every 253339228800"},
		time.UnixMilli(1<<63 - 1):                   nil,
		time.Unix(1<<63-1, 0):                       nil,
		time.Unix(-1<<63, 0):                        nil,
		time.UnixMilli(-1 << 63):                    nil,
	} {
		began := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		b := streams.NewBuilder("app")
		b.From[string, string]("in").ProcessValues(func(c *streams.ValueContext[string], k, v string) {
			if v == "far" {
				c.ForwardAt(far, v)
				return
			}
			c.Forward(v)
		}, streams.Named("move")).To("moved")
		b.From[string, string]("moved").Process(func(c strContext, k, v string) {
			if v != "far" {
				c.SetTimer("t", c.Timestamp().Add(time.Second))
			}
		}, streams.Named("p"), streams.OnTimer("t", func(c strContext, k string) {
			c.Forward(k, fmt.Sprintf("timer %v of %ds", c.Timestamp().Sub(began), c.Reached().Unix()-began.Unix()))
			c.SetTimer("t", c.Reached().Add(time.Second))
		}), streams.Every(time.Second, func(c strContext) { c.Forward("a", fmt.Sprintf("every %d", c.Timestamp().Unix())) })).To("out")
		d := streamstest.New(t, must(b.Build()), streamstest.Options{Partitions: 1})
		in := streamstest.Input[string, string](d, "in")
		in.Send("a", "near", began)
		in.Send("b", "far", began)
		d.Run()
		var got []string
		for _, r := range streamstest.Output[string, string](d, "out").ReadAll() {
			got = append(got, r.Key+" "+r.Value)
		}
		if want != nil {
			wantLines(t, far.String(), got, want...)
		} else if len(got) > 4 {
			t.Errorf("%v: %d calls", far, len(got))
		}
	}
}

// A timer can be set for another key of the task.
func TestSetTimerOfAnotherKey(t *testing.T) {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Process(func(c strContext, k, v string) {
			if k == "b" {
				c.SetTimerOf("z", "t", c.Timestamp().Add(2*time.Second))
				c.SetTimerOf("b", "t", c.Timestamp().Add(-time.Hour)) // reached: the next millisecond
			}
		}, streams.Named("p"), streams.OnTimer("t", func(c strContext, k string) {
			at, set := c.Timer("t")
			c.Forward(k, fmt.Sprintf("%v %v", at.IsZero(), set))
		})).To("out")
	})
	d.advance(time.Minute)
	wantLines(t, "timers", lines[string, string](d, "out"), "b = true false @2.001s", "z = true false @4s")
}

func TestBuildReportsMistakesOfProcess(t *testing.T) {
	b := streams.NewBuilder("app")
	in := b.From[string, string]("in")
	type ctx = *streams.Context[string, string]
	process := func(c ctx, k, v string) {}
	timer := func(c ctx, k string) {}
	shared := streams.NewState[string, int]("shared")
	in.Process(process, streams.Named("one"), streams.Uses(shared))
	in.Process(process, streams.Named("two"), streams.Uses(shared, nil))
	in.Process(process, streams.Named("nils"), streams.Uses((*streams.State[string, int])(nil)),
		streams.OnTimer[string, ctx]("nil", nil), streams.Every[ctx](time.Second, nil))
	in.Process(process, streams.OnTimer("t", timer))
	in.Process(process, streams.Named("types"), streams.OnTimer("t", func(c ctx, k int) {}), streams.OnTimer("", timer), streams.OnTimer("t", timer))
	in.Process(process, streams.Named("many"), streams.OnTimer("a", timer), streams.OnTimer("b", timer), streams.OnTimer("c", timer), streams.OnTimer("d", timer), streams.OnTimer("e", timer))
	in.Process(process, streams.Named("every"), streams.Every(time.Microsecond, func(ctx) {}), streams.WaitForAll())
	in.ProcessValues(func(c *streams.ValueContext[int], k, v string) {}, streams.Named("values"), streams.Every(time.Second, func(ctx) {}))
	in.Process(process, streams.Named("stateless"), streams.FormerName("old"))
	in.Process(process, streams.Named("mistaken"), streams.Mistake(errors.New("a mistake of a package")), streams.Mistake(nil))
	in.Process(process, streams.Named("serde"), streams.Uses(streams.NewState[string, chan int]("channels")))
	_, err := b.Build()
	for _, want := range []string{
		`operator "two": Uses: a store is nil`,
		`operator "nils": Uses: a store is nil`,
		`operator "nils": timer "nil": its function is nil`,
		`operator "nils": Every: its function is nil`,
		`operator "two": store "shared" belongs to operator "one" already`,
		`its timers are state and have no name`,
		`operator "types": timer "t" is for other types: its function is a func(*streams.Context[string,string], int)`,
		`operator "types": a timer's name is empty`,
		`operator "types": timer "t" is given twice`,
		`operator "many": it has 5 timers, at most 4`,
		`operator "every": Every 1µs, expected whole milliseconds`,
		`operator "every": WaitForAll, EndOfInput and NoChangelog are of timers`,
		`operator "values": option Every does not belong to ProcessValues`,
		`operator "mistaken": a mistake of a package`,
		`operator "stateless": FormerName is of state or timers: it has neither`,
		`operator "serde": values of store channels: no serde for chan int`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestGoldenDescriptionOfProcess(t *testing.T) {
	topo := must(timersProgram(true, streams.WaitForAll(), streams.EndOfInput(streams.Tumbling(time.Minute)), streams.KeepLate(), streams.Detail("orders")).Build())
	got := topo.Describe()
	const file = "testdata/golden/process.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(must(os.ReadFile(file))); got != want {
		t.Errorf("%s is another now (-rewrite accepts it):\n%s", file, got)
	}
}

// BenchmarkProcess is a state of 10,000 keys and a timer that every record puts off.
func BenchmarkProcess(b *testing.B) {
	for _, timers := range []bool{false, true} {
		b.Run(fmt.Sprintf("timers=%v", timers), func(b *testing.B) {
			runBench(b, 10_000, func(in *streams.Stream[string, string]) {
				n := streams.NewState[string, int64]("n")
				opts := []streams.Option{streams.Uses(n)}
				if timers {
					opts = append(opts, streams.OnTimer("t", func(c strContext, k string) { c.Forward(k, "quiet") }))
				}
				in.Process(func(c strContext, k, v string) {
					i, _ := n.Get(c, k)
					n.Put(c, k, i+1)
					if timers {
						c.SetTimer("t", c.Timestamp().Add(time.Second))
					}
				}, opts...).To("out")
			})
		})
	}
}
