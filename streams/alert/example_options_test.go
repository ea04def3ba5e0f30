package alert_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
)

// The name is the events' kind and the first part of the stores' names.
func ExampleNamed() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Max(itself).Over(time.Minute).Above(90)).To("alerts")
	})
	// Output: operator "unnamed-rule": the alert has no name: give it one with alert.Named
}

// The average must be high for half a minute before anybody is told.
func ExampleFor() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Last(itself).Over(time.Minute).Above(80), alert.Named("hot"), alert.For(30*time.Second)).To("alerts")
	}, reading{0, "oven", 85}, reading{20, "oven", 86}, reading{40, "oven", 87})
	// Output: {"id":"plant/hot/oven/2025-12-31T23:59:30Z","incident":"plant/hot/oven/2025-12-31T23:59:30Z","kind":"hot","status":"firing","key":"oven","window_start":"2025-12-31T23:59:30Z","window_end":"2026-01-01T00:00:30Z","starts_at":"2026-01-01T00:00:00Z","value":86,"count":2,"number":1}
}

// Told again every 30 seconds for as long as it goes on.
func ExampleRepeat() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Last(itself).Over(time.Minute).Above(80), alert.Named("hot"), alert.Repeat(30*time.Second)).To("alerts")
	}, reading{0, "oven", 85}, reading{40, "oven", 86})
	// Output:
	// {"id":"plant/hot/oven/2025-12-31T23:59:00Z","incident":"plant/hot/oven/2025-12-31T23:59:00Z","kind":"hot","status":"firing","key":"oven","window_start":"2025-12-31T23:59:00Z","window_end":"2026-01-01T00:00:00Z","starts_at":"2026-01-01T00:00:00Z","value":85,"count":1,"number":1}
	// {"id":"plant/hot/oven/2025-12-31T23:59:00Z/2","incident":"plant/hot/oven/2025-12-31T23:59:00Z","kind":"hot","status":"firing","key":"oven","window_start":"2025-12-31T23:59:00Z","window_end":"2026-01-01T00:00:00Z","starts_at":"2026-01-01T00:00:00Z","value":85,"count":1,"number":2}
}

func ExampleNotifyResolved() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Last(itself).Over(time.Minute).Above(80), alert.Named("hot"), alert.NotifyResolved()).To("alerts")
	}, reading{0, "oven", 85}, reading{40, "oven", 60})
	// Output:
	// {"id":"plant/hot/oven/2025-12-31T23:59:00Z","incident":"plant/hot/oven/2025-12-31T23:59:00Z","kind":"hot","status":"firing","key":"oven","window_start":"2025-12-31T23:59:00Z","window_end":"2026-01-01T00:00:00Z","starts_at":"2026-01-01T00:00:00Z","value":85,"count":1,"number":1}
	// {"id":"plant/hot/oven/2025-12-31T23:59:00Z/2","incident":"plant/hot/oven/2025-12-31T23:59:00Z","kind":"hot","status":"resolved","key":"oven","window_start":"2025-12-31T23:59:00Z","window_end":"2026-01-01T00:00:00Z","starts_at":"2026-01-01T00:00:00Z","ends_at":"2026-01-01T00:00:40Z","value":60,"count":2,"number":2}
}

// With the final number, where without it the third record would have fired.
func ExampleAtClose() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().In(streams.Tumbling(time.Minute)).AtLeast(3), alert.Named("busy"), alert.AtClose()).To("alerts")
	}, reading{1, "press", 1}, reading{2, "press", 1}, reading{3, "press", 1}, reading{4, "press", 1})
	// Output: {"id":"plant/busy/press/2026-01-01T00:00:00Z","incident":"plant/busy/press/2026-01-01T00:00:00Z","kind":"busy","status":"firing","key":"press","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:00Z","value":4,"count":4,"number":1}
}

// A device that is silent for an hour is forgotten: no reminders for good.
func ExampleForget() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Absent(10*time.Minute), alert.Named("quiet"), alert.Forget(time.Hour), alert.NotifyResolved()).To("alerts")
	}, reading{0, "cellar", 8}, reading{7200, "roof", 20})
	// Output:
	// {"id":"plant/quiet/cellar/2026-01-01T00:00:00Z","incident":"plant/quiet/cellar/2026-01-01T00:00:00Z","kind":"quiet","status":"firing","key":"cellar","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:10:00Z","starts_at":"2026-01-01T00:10:00Z","value":600,"count":0,"number":1}
	// {"id":"plant/quiet/cellar/2026-01-01T00:00:00Z/2","incident":"plant/quiet/cellar/2026-01-01T00:00:00Z","kind":"quiet","status":"resolved","key":"cellar","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:10:00Z","starts_at":"2026-01-01T00:10:00Z","ends_at":"2026-01-01T01:00:00Z","value":3600,"count":0,"number":2}
}

// Devices that are known before they ever said anything.
func ExampleExpect() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Absent(time.Minute), alert.Named("missing"), alert.Expect("cellar", "roof")).To("alerts")
	}, reading{0, "roof", 20}, reading{59, "roof", 20}, reading{61, "roof", 20})
	// Output: {"id":"plant/missing/cellar/2026-01-01T00:00:00Z","incident":"plant/missing/cellar/2026-01-01T00:00:00Z","kind":"missing","status":"firing","key":"cellar","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:01:00Z","value":60,"count":0,"number":1}
}

// A record that comes after its minute has closed is a dead letter.
func ExampleKeepLate() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().In(streams.Tumbling(time.Minute)).AtLeast(2), alert.Named("busy"), alert.KeepLate()).To("alerts")
	}, reading{1, "press", 1}, reading{120, "press", 1}, reading{2, "press", 1}) // two in the first minute, one too late
	fmt.Println("nothing fired")
	// Output: nothing fired
}

func ExampleLabel() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Max(itself).In(streams.Tumbling(time.Minute)).Above(90), alert.Named("peak"),
			alert.Label("severity", "page"), alert.Label("team", "kitchen")).To("alerts")
	}, reading{1, "oven", 95})
	// Output: {"id":"plant/peak/oven/2026-01-01T00:00:00Z","incident":"plant/peak/oven/2026-01-01T00:00:00Z","kind":"peak","status":"firing","key":"oven","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:01Z","value":95,"count":1,"number":1,"labels":{"severity":"page","team":"kitchen"}}
}

func ExampleAnnotate() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Max(itself).In(streams.Tumbling(time.Minute)).Above(90), alert.Named("peak"),
			alert.Annotate(func(device string, e *alert.Event) {
				e.Labels = map[string]string{"site": device[:strings.IndexByte(device, '/')]}
				e.Annotations = map[string]string{"summary": fmt.Sprintf("%s is at %g degrees", device, e.Value)}
			})).To("alerts")
	}, reading{1, "berlin/oven", 95})
	// Output: {"id":"plant/peak/berlin/oven/2026-01-01T00:00:00Z","incident":"plant/peak/berlin/oven/2026-01-01T00:00:00Z","kind":"peak","status":"firing","key":"berlin/oven","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:01Z","value":95,"count":1,"number":1,"labels":{"site":"berlin"},"annotations":{"summary":"berlin/oven is at 95 degrees"}}
}

// What is gathered is in the event's data.
func ExampleCollect() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().In(streams.Tumbling(time.Minute)).AtLeast(2), alert.Named("busy"),
			alert.Collect(func() []float64 { return nil }, func(_ string, v float64, seen []float64) []float64 { return append(seen, v) })).To("alerts")
	}, reading{1, "press", 7}, reading{2, "press", 8})
	// Output: {"id":"plant/busy/press/2026-01-01T00:00:00Z","incident":"plant/busy/press/2026-01-01T00:00:00Z","kind":"busy","status":"firing","key":"press","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","starts_at":"2026-01-01T00:00:02Z","value":2,"count":2,"number":1,"data":[7,8]}
}

// Over keeps what is gathered per slice: Merge makes one of them.
func ExampleMerge() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Count().Over(time.Minute).AtLeast(2), alert.Named("busy"),
			alert.Collect(func() []float64 { return nil }, func(_ string, v float64, seen []float64) []float64 { return append(seen, v) }),
			alert.Merge(func(a, b []float64) []float64 { return append(a[:len(a):len(a)], b...) })).To("alerts")
	}, reading{1, "press", 7}, reading{30, "press", 8})
	// Output: {"id":"plant/busy/press/2025-12-31T23:59:30Z","incident":"plant/busy/press/2025-12-31T23:59:30Z","kind":"busy","status":"firing","key":"press","window_start":"2025-12-31T23:59:30Z","window_end":"2026-01-01T00:00:30Z","starts_at":"2026-01-01T00:00:30Z","value":2,"count":2,"number":1,"data":[7,8]}
}

// One notice for a site, with the devices that are too hot.
func ExampleGroupBy() {
	watch(func(in *streams.Stream[string, float64]) {
		alert.When(in, alert.Last(itself).Over(time.Minute).Above(80), alert.Named("hot"),
			alert.GroupBy(func(device string) string { return strings.Split(device, "/")[0] }, 30*time.Second)).To("alerts")
	}, reading{0, "berlin/1", 85}, reading{5, "berlin/2", 90}, reading{10, "paris/1", 20}, reading{40, "paris/1", 20}, reading{55, "paris/1", 20})
	// Output: {"id":"plant/hot/berlin/2025-12-31T23:59:00Z","incident":"plant/hot/berlin/2025-12-31T23:59:00Z","kind":"hot","status":"firing","key":"berlin","window_start":"2025-12-31T23:59:00Z","window_end":"2026-01-01T00:00:05Z","starts_at":"2026-01-01T00:00:00Z","value":90,"count":2,"number":1,"members":["berlin/1","berlin/2"]}
}

func ExampleDataOf() {
	seen, err := alert.DataOf[[]string](alert.Event{Data: []byte(`["admin","root"]`)})
	fmt.Println(seen, err)
	// Output: [admin root] <nil>
}
