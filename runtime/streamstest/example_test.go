package streamstest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// t is what an example has instead of a test.
var t = new(testing.T)

// A program is driven step by step, crashes, and goes on as if nothing had been.
func ExampleNew() {
	b := streams.NewBuilder("wordcount")
	b.From[string, string]("lines").
		FlatMapValues(func(_, line string, emit func(string)) {
			for word := range strings.FieldsSeq(line) {
				emit(word)
			}
		}).
		GroupBy(func(_, word string) string { return word }).
		Count(streams.Store("counts"), streams.EmitEveryUpdate()).
		ToStream().
		To("counts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	d := streamstest.New(t, topo, streamstest.Options{Partitions: 3})
	lines := streamstest.Input[string, string](d, "lines")
	counts := streamstest.Output[string, int64](d, "counts")

	lines.SendValue("to be or not to be", d.Now())
	d.Run()
	counts.Expect(
		streamstest.KV("to", int64(1)), streamstest.KV("be", int64(1)), streamstest.KV("or", int64(1)),
		streamstest.KV("not", int64(1)), streamstest.KV("to", int64(2)), streamstest.KV("be", int64(2)))

	lines.SendValue("to do", d.Now())
	d.Process() // and does not commit
	d.Crash()
	d.Restart()
	d.Run()
	counts.Expect(streamstest.KV("to", int64(3)), streamstest.KV("do", int64(1)))
	if n, ok := streamstest.Get[string, int64](d, "counts", "to"); !ok || n != 3 {
		t.Errorf("to was counted %d times, expected 3", n)
	}
	// Output:
}

// Windows close by the clock in the test's hand where the input falls silent.
func ExampleDriver_Advance() {
	b := streams.NewBuilder("failures")
	b.From[string, string]("log").
		GroupByKey().
		Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
		Count(streams.Store("per-minute"), streams.EmitOnClose()).
		ToStream(streams.Keyed).
		To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	d := streamstest.New(t, topo, streamstest.Options{IdleAfter: 5 * time.Second})
	log := streamstest.Input[string, string](d, "log")
	alerts := streamstest.Output[streams.Windowed[string], int64](d, "alerts")

	log.Send("host-1", "Invalid user", d.Now())
	d.Advance(time.Minute)
	alerts.ExpectNone() // the grace is not over
	d.Advance(15 * time.Second)
	r, _ := alerts.Read()
	if r.Key.Key != "host-1" || r.Value != 1 {
		t.Errorf("found %v = %d", r.Key, r.Value)
	}
	// Output:
}

// The whole engine, with its log and its timers, in virtual time. It has no
// Output because testing/synctest needs a real test: TestTheExamplesWork runs it in one.
func ExampleRun() {
	streamstest.Run(t, counting(), streamstest.Options{IdleAfter: time.Minute}, func(r *streamstest.Running) {
		in := streamstest.Input[string, string](r, "lines")
		for range 24 {
			in.SendValue("a line", r.Now())
			r.Advance(time.Hour)
		}
		r.Kill() // as kill -9 does
		r.Restart()
		r.Wait() // until everything is processed and delivered
	})
}
