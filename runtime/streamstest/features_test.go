package streamstest_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

func TestTheExamplesWork(tt *testing.T) {
	defer func(was *testing.T) { t = was }(t)
	t = tt
	ExampleNew()
	ExampleDriver_Advance()
	ExampleRun()
	ExampleRunning()
	ExampleRunning_Join()
}

func TestTheSameCallsHaveTheSameResults(t *testing.T) {
	trace := func() (steps []string) {
		d := streamstest.New(t, logins(t), streamstest.Options{CommitEvery: 5})
		send(d, events(80, 30))
		for d.Step() {
			steps = append(steps, d.Last())
		}
		d.End()
		for _, topic := range d.Topics() {
			for _, r := range streamstest.Output[[]byte, []byte](d, topic).ReadAll() {
				steps = append(steps, fmt.Sprintf("%+v", r))
			}
		}
		return steps
	}
	if a, b := trace(), trace(); !slices.Equal(a, b) {
		t.Error("two runs of the same calls differ")
	} else if len(a) < 100 {
		t.Errorf("only %d steps and records", len(a))
	}
}

// copied copies records, with a field of the value decoded.
func copied(t testing.TB) *topology.Topology {
	b := streams.NewBuilder("copied")
	b.From[string, int64]("in").To("out")
	return build(t, b)
}

func TestRecordsArriveAsTheyWereSent(t *testing.T) {
	d := streamstest.New(t, copied(t), streamstest.Options{Partitions: 4, Topics: map[string]int32{"in": 2}})
	in := streamstest.Input[string, int64](d, "in")
	at := t0.Add(time.Millisecond)
	in.Send("a", 1, at, streamstest.WithHeader("h", "1"), streamstest.WithHeader("h", "2"), streamstest.ToPartition(1))
	d.Run()
	in.SendValue(2, at.Add(time.Second))
	if d.Partitions("in") != 2 || d.Partitions("out") != 4 {
		t.Errorf("in has %d partitions and out %d, expected 2 and 4", d.Partitions("in"), d.Partitions("out"))
	}
	d.Run()
	out := streamstest.Output[string, int64](d, "out")
	r, ok := out.Read()
	if h, _ := r.Header("h"); !ok || r.Key != "a" || r.Value != 1 || !r.Time.Equal(at) || h != "2" || len(r.Headers) != 2 || r.Topic != "out" {
		t.Errorf("first record %+v", r)
	}
	if r, ok := out.Read(); !ok || !r.NullKey || r.Value != 2 {
		t.Errorf("second record %+v, %v: expected one without a key", r, ok)
	}
	if r, ok := out.Read(); ok {
		t.Errorf("third record %+v, expected none", r)
	}
	out.Rewind()
	if n := len(out.ReadAll()); n != 2 {
		t.Errorf("%d records after Rewind, expected 2", n)
	}
}

func TestWhatDoesNotDecodeIsADeadLetter(t *testing.T) {
	for _, policy := range []string{"", "skip", "stop"} {
		d := streamstest.New(t, copied(t), streamstest.Options{Engine: engine.Config{OnBadRecord: policy}})
		in := streamstest.Input[string, int64](d, "in")
		in.SendRaw([]byte("k"), []byte("not eight bytes"), t0, streamstest.ToPartition(2))
		in.Send("k", 7, t0)
		err := d.Try()
		if policy == "stop" {
			if err == nil {
				t.Error("stop: the program goes on")
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		streamstest.Output[string, int64](d, "out").Expect(streamstest.KV("k", int64(7)))
		letters := d.DeadLetters()
		if policy == "skip" {
			if len(letters) != 0 || d.Skipped() != 1 {
				t.Errorf("skip: dead letters %v, %d skipped", letters, d.Skipped())
			}
			continue
		}
		if len(letters) != 1 || letters[0].Topic != "in" || letters[0].Partition != 2 || letters[0].Offset != 0 ||
			string(letters[0].Value) != "not eight bytes" || letters[0].Stage != "decode" || letters[0].Reason == "" {
			t.Errorf("dead letters %+v", letters)
		}
		if d.Totals().DeadLettered != 1 {
			t.Errorf("totals %+v", d.Totals())
		}
	}
}

func TestLateRecordsAreCountedAndKept(t *testing.T) {
	d := streamstest.New(t, logins(t), streamstest.Options{Partitions: 1})
	send(d, []event{{"h bad", t0}, {"h bad", t0.Add(5 * time.Minute)}, {"h bad", t0.Add(time.Second)}})
	d.End()
	if n := d.Late("bad-per-minute"); n != 1 || d.Totals().Late != 1 {
		t.Errorf("%d late at the operator, totals %+v, expected 1", n, d.Totals())
	}
	letters := d.DeadLetters()
	if len(letters) != 1 || string(letters[0].Value) != "h bad" || letters[0].Stage != "bad-per-minute" || !letters[0].Time.Equal(t0.Add(time.Second)) {
		t.Errorf("dead letters %+v", letters)
	}
}

func TestInternalTopicsAndStoresCanBeRead(t *testing.T) {
	in := []event{{"b bad", t0}, {"a bad", t0.Add(time.Second)}, {"b bad", t0.Add(time.Minute)}}
	d := streamstest.New(t, logins(t), streamstest.Options{})
	send(d, in)
	d.Run()
	var got []string
	for _, r := range streamstest.Output[string, string](d, "logins-bad-per-minute-repartition").ReadAll() {
		got = append(got, r.Key+"="+r.Value)
	}
	if want := []string{"b=b bad", "a=a bad", "b=b bad"}; !slices.Equal(got, want) {
		t.Errorf("the repartition topic has %q, expected %q and no watermarks", got, want)
	}
	if n := len(streamstest.Output[[]byte, []byte](d, "logins-lines-per-host-changelog").ReadAll()); n == 0 {
		t.Error("the changelog is empty")
	}
	entries := streamstest.All[string, int64](d, "lines-per-host")
	slices.SortFunc(entries, func(a, b streamstest.Entry[string, int64]) int { return strings.Compare(a.Key, b.Key) })
	if want := []streamstest.Entry[string, int64]{{"a", 1}, {"b", 2}}; !slices.Equal(entries, want) {
		t.Errorf("All: %v, expected %v", entries, want)
	}
	if r := streamstest.Range[string, int64](d, "lines-per-host", "a", "b"); len(r) != 1 || r[0].Key != "a" {
		t.Errorf("Range: %v, expected a only", r)
	}
	if v, ok := streamstest.Get[string, int64](d, "bad-per-minute", streams.At("b", t0.Add(70*time.Second))); !ok || v != 1 {
		t.Errorf("Get of a window: %d, %v", v, ok)
	}
	if ws := streamstest.Fetch[string, int64](d, "bad-per-minute", "b", t0, t0.Add(time.Hour)); len(ws) != 2 || ws[0].Value != 1 {
		t.Errorf("Fetch: %v", ws)
	}
	if ws := streamstest.AllWindows[string, int64](d, "bad-per-minute"); len(ws) != 3 {
		t.Errorf("AllWindows: %v", ws)
	}
	if at, ok := d.StreamTime("lines", 2); !ok || !at.Equal(t0.Add(time.Minute)) {
		t.Errorf("stream time of lines-2: %v, %v", at, ok)
	}
	if !strings.Contains(d.Plan(), "store   lines-per-host") {
		t.Errorf("the plan is %s", d.Plan())
	}
}

// Behind a repartition topic windows close by what the upstream tasks tell of
// their time, and late is what was late when it was first read, crash or not.
func TestWindowsCloseByWatermarksAndLatenessSurvivesCrashes(t *testing.T) {
	in := []event{
		{"h bad", t0}, {"h bad", t0.Add(time.Second)}, {"h bad", t0.Add(80 * time.Second)},
		{"h bad", t0.Add(2 * time.Second)}, // late
		{"h bad", t0.Add(90 * time.Second)},
	}
	for stop := range 25 {
		d := streamstest.New(t, logins(t), streamstest.Options{Topics: map[string]int32{"lines": 1}, CommitEvery: 1})
		send(d, in)
		for range stop {
			d.Step()
		}
		d.Crash()
		d.Restart()
		d.Run()
		got := alertsOf(t, d)
		if len(got) != 1 || got[window{"h", t0}] != 2 {
			t.Errorf("crash after %d steps: %v, expected the first window with 2, and the second open", stop, got)
		}
		if n := len(d.DeadLetters()); n != 1 {
			t.Errorf("crash after %d steps: %d dead letters, expected the late record", stop, n)
		}
	}
}

// priced joins orders with the price of their product.
func priced(t testing.TB) *topology.Topology {
	b := streams.NewBuilder("priced")
	prices := b.Table[string, int64]("prices", streams.Store("prices"))
	b.From[string, int64]("orders").
		Join(prices, func(_ string, n, price int64) int64 { return n * price }).
		To("sums")
	return build(t, b)
}

func TestATableIsAsOfTheTimeOfTheRecord(t *testing.T) {
	for _, bounded := range []bool{false, true} {
		d := streamstest.New(t, priced(t), streamstest.Options{Engine: engine.Config{Bounded: bounded}})
		prices, orders := streamstest.Input[string, int64](d, "prices"), streamstest.Input[string, int64](d, "orders")
		orders.Send("tea", 2, t0.Add(time.Second)) // sent before the price, and after it in time
		orders.Send("tea", 2, t0.Add(3*time.Second))
		orders.Send("tea", 2, t0.Add(5*time.Second))
		prices.Send("tea", 10, t0)
		prices.Send("tea", 20, t0.Add(2*time.Second))
		prices.Delete("tea", t0.Add(4*time.Second))
		d.End()
		streamstest.Output[string, int64](d, "sums").Expect(streamstest.KV("tea", int64(20)), streamstest.KV("tea", int64(40)))
		if _, ok := streamstest.Get[string, int64](d, "prices", "tea"); ok {
			t.Error("the tombstone did not delete the price")
		}
	}
}

// quiet tells of devices that were silent for ten minutes, once.
func quiet(t testing.TB) *topology.Topology {
	last := streams.NewState[string, string]("last")
	b := streams.NewBuilder("quiet")
	b.From[string, string]("readings").
		Process(func(c *streams.Context[string, string], device, v string) {
			last.Put(c, device, v)
			c.SetTimer("silent", c.Timestamp().Add(10*time.Minute))
		}, streams.Uses(last), streams.OnTimer("silent", func(c *streams.Context[string, string], device string) {
			v, _ := last.Get(c, device)
			c.Forward(device, "silent since "+v)
		})).
		To("alerts")
	return build(t, b)
}

// A silence that is longer than the time between two crashes is noticed too:
// idle time goes on from where it was committed.
func TestTimersFireByTheHandClockThroughCrashes(t *testing.T) {
	for _, crash := range []bool{false, true} {
		d := streamstest.New(t, quiet(t), streamstest.Options{IdleAfter: 10 * time.Second})
		in := streamstest.Input[string, string](d, "readings")
		out := streamstest.Output[string, string](d, "alerts")
		pass := func(times int) {
			for range times {
				d.Advance(3 * time.Minute)
				if crash {
					d.Crash()
					d.Restart()
				}
			}
		}
		in.Send("pump", "20 bar", d.Now())
		pass(3)
		out.ExpectNone()
		pass(3) // each crash costs IdleAfter and up to a minute
		out.Expect(streamstest.KV("pump", "silent since 20 bar"))
		pass(10)
		out.ExpectNone()
	}
}

// secret is a value with a serde that only the builder knows.
type secret struct{ text string }

func TestTheBuildersSerdesAreUsed(t *testing.T) {
	b := streams.NewBuilder("registered")
	b.Register[secret](backwards{})
	b.From[string, secret]("in").To("out")
	d := streamstest.New(t, build(t, b), streamstest.Options{})
	streamstest.Input[string, secret](d, "in").Send("k", secret{"abc"}, t0)
	d.Run()
	streamstest.Output[string, secret](d, "out").Expect(streamstest.KV("k", secret{"abc"}))
	raw := streamstest.Output[[]byte, []byte](d, "out").ReadAll()
	if len(raw) != 1 || string(raw[0].Value) != "cba" {
		t.Errorf("the bytes are %+v, expected cba", raw)
	}
	other := streamstest.OutputWith(d, "out", serde.Bytes(), serde.String()).ReadAll()
	if len(other) != 1 || !reflect.DeepEqual(other[0].Value, "cba") {
		t.Errorf("with serdes of the test's choice: %+v", other)
	}
}

// backwards writes text from its end.
type backwards struct{}

func (backwards) Append(dst []byte, v secret) ([]byte, error) {
	b := []byte(v.text)
	slices.Reverse(b)
	return append(dst, b...), nil
}

func (backwards) Decode(b []byte) (secret, error) {
	b = slices.Clone(b)
	slices.Reverse(b)
	return secret{string(b)}, nil
}
func (backwards) Aliases() bool       { return false }
func (backwards) Own(v secret) secret { return v }
func (backwards) Name() string        { return "backwards" }
