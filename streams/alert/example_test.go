package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
)

// t is what an example has instead of a test.
var t = new(testing.T)

func ExampleWhen() {
	b := streams.NewBuilder("logins")
	failures := b.From[string, string]("log").Filter(func(_, line string) bool { return strings.Contains(line, "Invalid user") })
	alert.When(failures, alert.Count().In(streams.Tumbling(time.Minute)).AtLeast(3),
		alert.Named("breach"),
		alert.Collect(func() []string { return nil }, func(_, line string, users []string) []string {
			return append(users, strings.Fields(line)[2])
		})).To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	d := streamstest.New(t, topo, streamstest.Options{})
	log := streamstest.Input[string, string](d, "log")
	for i, user := range []string{"admin", "test", "oracle", "guest"} {
		log.Send("web-01", "Invalid user "+user, d.Now().Add(time.Duration(i)*time.Second))
	}
	d.Run()
	for _, r := range streamstest.Output[string, alert.Event](d, "alerts").ReadAll() {
		users, _ := alert.DataOf[[]string](r.Value)
		fmt.Println(r.Value.ID, r.Value.Status, r.Value.Count, users)
	}
	// Output: logins/breach/web-01/2026-01-01T00:00:00Z firing 3 [admin test oracle]
}

func ExampleAbsent() {
	b := streams.NewBuilder("iot")
	readings := b.From[string, float64]("readings")
	alert.When(readings, alert.Absent(10*time.Minute), alert.Named("quiet"), alert.NotifyResolved()).To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	d := streamstest.New(t, topo, streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, float64](d, "readings")
	in.Send("cellar", 8.5, d.Now())
	in.Send("roof", 21, d.Now().Add(9*time.Minute))
	in.Send("roof", 21, d.Now().Add(18*time.Minute)) // moves time past the cellar's ten minutes
	in.Send("cellar", 8.4, d.Now().Add(19*time.Minute))
	d.Run()
	for _, r := range streamstest.Output[string, alert.Event](d, "alerts").ReadAll() {
		fmt.Println(r.Value.StartsAt.Format(time.TimeOnly), r.Value.Key, r.Value.Status)
	}
	// Output:
	// 00:10:00 cellar firing
	// 00:10:00 cellar resolved
}

func ExampleCondition_Until() {
	b := streams.NewBuilder("iot")
	temperature := func(c float64) float64 { return c }
	alert.When(b.From[string, float64]("readings"), alert.Avg(temperature).Over(time.Minute).Above(80).Until(70),
		alert.Named("hot"), alert.NotifyResolved()).To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	d := streamstest.New(t, topo, streamstest.Options{})
	in := streamstest.Input[string, float64](d, "readings")
	for i, v := range []float64{60, 110, 75, 60, 30} { // averages 60, 85, 81.7, 76.3, 67
		in.Send("oven", v, d.Now().Add(time.Duration(i)*10*time.Second))
	}
	d.Run()
	for _, r := range streamstest.Output[string, alert.Event](d, "alerts").ReadAll() {
		fmt.Println(r.Time.Format(time.TimeOnly), r.Value.Status, r.Value.Value)
	}
	// Output:
	// 00:00:10 firing 85
	// 00:00:40 resolved 67
}
