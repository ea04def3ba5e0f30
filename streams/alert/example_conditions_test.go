package alert_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
)

// reading is a value of a key, so many seconds after midnight.
type reading struct {
	at    int
	key   string
	value float64
}

// itself is what most examples watch: the value itself.
func itself(v float64) float64 { return v }

// watch runs a rule over readings, to the end of their last window, and prints its
// events as JSON.
func watch(rule func(in *streams.Stream[string, float64]), readings ...reading) {
	b := streams.NewBuilder("plant")
	rule(b.From[string, float64]("readings"))
	topo, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	d := streamstest.New(t, topo, streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, float64](d, "readings")
	for _, r := range readings {
		in.Send(r.key, r.value, d.Now().Add(time.Duration(r.at)*time.Second))
	}
	d.End()
	for _, r := range streamstest.Output[string, alert.Event](d, "alerts").ReadAll() {
		text, err := json.Marshal(r.Value)
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(string(text))
	}
}

func ExampleCount() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().In(streams.Tumbling(time.Minute)).AtLeast(3), alert.Named("busy")).To("alerts")
	}, reading{1, "press", 1}, reading{2, "press", 1}, reading{3, "press", 1}, reading{4, "press", 1})
	// Output: {"id":"plant/busy/press/2026-01-01T00:00:00Z","incident":"plant/busy/press/2026-01-01T00:00:00Z","kind":"busy","status":"firing","key":"press","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:03Z","value":3,"count":3,"number":1}
}

func ExampleSum() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Sum(itself).In(streams.Tumbling(time.Minute)).Above(100), alert.Named("overspent")).To("alerts")
	}, reading{1, "press", 60}, reading{2, "press", 50})
	// Output: {"id":"plant/overspent/press/2026-01-01T00:00:00Z","incident":"plant/overspent/press/2026-01-01T00:00:00Z","kind":"overspent","status":"firing","key":"press","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:02Z","value":110,"count":2,"number":1}
}

func ExampleAvg() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Avg(itself).Over(time.Minute).Above(80), alert.Named("hot")).To("alerts")
	}, reading{1, "oven", 70}, reading{11, "oven", 100})
	// Output: {"id":"plant/hot/oven/2025-12-31T23:59:11Z","incident":"plant/hot/oven/2025-12-31T23:59:11Z","kind":"hot","status":"firing","key":"oven","window_start":"2025-12-31T23:59:11Z","window_end":"2026-01-01T00:00:11Z","starts_at":"2026-01-01T00:00:11Z","value":85,"count":2,"number":1}
}

// At most, of a minimum, can only get nearer: it fires with the record.
func ExampleMin() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Min(itself).In(streams.Tumbling(time.Minute)).AtMost(0), alert.Named("frost")).To("alerts")
	}, reading{1, "cellar", 4}, reading{30, "cellar", -1})
	// Output: {"id":"plant/frost/cellar/2026-01-01T00:00:00Z","incident":"plant/frost/cellar/2026-01-01T00:00:00Z","kind":"frost","status":"firing","key":"cellar","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:30Z","value":-1,"count":2,"number":1}
}

func ExampleMax() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Max(itself).In(streams.Tumbling(time.Minute)).AtLeast(90), alert.Named("peak")).To("alerts")
	}, reading{1, "oven", 95}, reading{30, "oven", 99})
	// Output: {"id":"plant/peak/oven/2026-01-01T00:00:00Z","incident":"plant/peak/oven/2026-01-01T00:00:00Z","kind":"peak","status":"firing","key":"oven","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:01Z","value":95,"count":1,"number":1}
}

func ExampleLast() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Last(itself).Over(time.Minute).Below(10), alert.Named("low")).To("alerts")
	}, reading{1, "tank", 50}, reading{2, "tank", 9})
	// Output: {"id":"plant/low/tank/2025-12-31T23:59:02Z","incident":"plant/low/tank/2025-12-31T23:59:02Z","kind":"low","status":"firing","key":"tank","window_start":"2025-12-31T23:59:02Z","window_end":"2026-01-01T00:00:02Z","starts_at":"2026-01-01T00:00:02Z","value":9,"count":2,"number":1}
}

// Too few can only be known at the window's end.
func ExampleMeasure_AtMost() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().In(streams.Tumbling(time.Minute)).AtMost(1), alert.Named("slow")).To("alerts")
	}, reading{1, "press", 1}, reading{61, "press", 1}, reading{62, "press", 1})
	// Output: {"id":"plant/slow/press/2026-01-01T00:00:00Z","incident":"plant/slow/press/2026-01-01T00:00:00Z","kind":"slow","status":"firing","key":"press","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:00Z","value":1,"count":1,"number":1}
}

func ExampleMeasure_Below() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Avg(itself).In(streams.Tumbling(time.Minute)).Below(5), alert.Named("weak")).To("alerts")
	}, reading{1, "pump", 4}, reading{2, "pump", 5})
	// Output: {"id":"plant/weak/pump/2026-01-01T00:00:00Z","incident":"plant/weak/pump/2026-01-01T00:00:00Z","kind":"weak","status":"firing","key":"pump","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:00Z","value":4.5,"count":2,"number":1}
}

// The difference to the window before, either way.
func ExampleMeasure_Change() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Avg(itself).In(streams.Tumbling(time.Minute)).Change().Beyond(10), alert.Named("jump")).To("alerts")
	}, reading{1, "oven", 50}, reading{61, "oven", 35})
	// Output: {"id":"plant/jump/oven/2026-01-01T00:01:00Z","incident":"plant/jump/oven/2026-01-01T00:01:00Z","kind":"jump","status":"firing","key":"oven","window_start":"2026-01-01T00:01:00Z","window_end":"2026-01-01T00:02:00Z","starts_at":"2026-01-01T00:01:00Z","value":-15,"count":1,"number":1}
}

// A drop to less than half of the minute before.
func ExampleMeasure_RelativeChange() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Sum(itself).In(streams.Tumbling(time.Minute)).RelativeChange().Below(-0.5), alert.Named("slump")).To("alerts")
	}, reading{1, "shop", 100}, reading{61, "shop", 40})
	// Output: {"id":"plant/slump/shop/2026-01-01T00:01:00Z","incident":"plant/slump/shop/2026-01-01T00:01:00Z","kind":"slump","status":"firing","key":"shop","window_start":"2026-01-01T00:01:00Z","window_end":"2026-01-01T00:02:00Z","starts_at":"2026-01-01T00:01:00Z","value":-0.6,"count":1,"number":1}
}

// Four slices: what is counted leaves in steps of 15 seconds.
func ExampleMeasure_Slices() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().Over(time.Minute).Slices(4).AtLeast(2), alert.Named("twice")).To("alerts")
	}, reading{1, "door", 1}, reading{50, "door", 1})
	// Output: {"id":"plant/twice/door/2025-12-31T23:59:50Z","incident":"plant/twice/door/2025-12-31T23:59:50Z","kind":"twice","status":"firing","key":"door","window_start":"2025-12-31T23:59:50Z","window_end":"2026-01-01T00:00:50Z","starts_at":"2026-01-01T00:00:50Z","value":2,"count":2,"number":1}
}

func ExampleNumber() {
	fmt.Println(alert.Count().In(streams.Tumbling(time.Minute)).Above(10))
	fmt.Println(alert.Count().Over(5 * time.Minute).Above(10).Until(5))
	// Output:
	// count in tumbling 1m0s > 10
	// count over 5m0s in 60 slices > 10 until 5
}

// The condition's words stand in Describe and in the fingerprint.
func ExampleCondition_String() {
	fmt.Println(alert.Avg(itself).Over(time.Minute).Change().Beyond(20).String())
	fmt.Println(alert.Absent(10 * time.Minute).String())
	// Output:
	// avg over 1m0s in 60 slices change beyond 20
	// absent 10m0s
}
