package streamstest_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// counting is the program of these examples: it counts per key and per minute.
func counting() *topology.Topology {
	b := streams.NewBuilder("counting")
	in := b.From[string, string]("lines", streams.Named("lines"))
	in.GroupByKey().Count(streams.Store("counts")).ToStream().To("counts")
	in.GroupByKey().
		Windowed(streams.Tumbling(time.Minute)).
		Count(streams.Store("per-minute"), streams.EmitOnClose(), streams.KeepLate()).
		ToStream(streams.KeyOnly).
		To("minutes")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	return topo
}

// One step after another, with a crash where it may hurt most.
func ExampleDriver() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	in.Send("a", "one", d.Now())
	for d.Step() {
	}
	in.Send("a", "two", d.Now())
	d.Process() // and does not commit
	d.Commit()
	in.Send("a", "three", d.Now())
	d.Process()
	fmt.Println("crashed in its commit:", d.CrashInCommit(streamstest.Decided), "up:", d.Up())
	d.Restart()
	d.Run()
	n, _ := streamstest.Get[string, int64](d, "counts", "a")
	fmt.Println("counted", n)

	d.Checkpoint()
	in.Send("b", "four", d.Now())
	d.Run()
	fmt.Println("crashed in a checkpoint:", d.CrashInCheckpoint(0))
	d.Restart()
	d.Compact()
	d.Stop()
	d.Restart()
	// Of a commit that was decided in a crash the totals know nothing.
	fmt.Println(d.Totals().RecordsIn, "records,", len(d.Tasks()), "task,", d.Partitions("lines"), "partition")
	fmt.Println(d.Topics())
	// Output:
	// crashed in its commit: true up: false
	// counted 3
	// crashed in a checkpoint: true
	// 3 records, 1 task, 1 partition
	// [counting-counts-changelog counting-per-minute-changelog counting-positions counting.dead-letters counts lines minutes]
}

// What came too late, was of no use, or did not decode.
func ExampleDriver_DeadLetters() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	in.Send("a", "in time", d.Now().Add(5*time.Minute))
	in.Send("a", "late", d.Now())
	in.Delete("a", d.Now().Add(5*time.Minute))
	d.Run()
	at, _ := d.StreamTime("lines", 0)
	fmt.Println("stream time", at.Format(time.TimeOnly), "late", d.Late("per-minute"), "dropped", d.Dropped("counts"), "skipped", d.Skipped())
	for _, l := range d.DeadLetters() {
		fmt.Printf("%s %s: %s\n", l.Stage, l.Value, l.Reason)
	}
	// Output:
	// stream time 00:05:00 late 1 dropped 1 skipped 0
	// per-minute late: late: its window had closed
}

// A program that must fail: Try returns the error, and Last says at which step.
func ExampleDriver_Try() {
	b := streams.NewBuilder("fails")
	b.From[string, string]("in").ProcessValues(func(c *streams.ValueContext[string], _, _ string) {
		c.Fail(errors.New("no disk today"))
	}, streams.Named("write")).To("out")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := streamstest.New(t, topo, streamstest.Options{Partitions: 1})
	streamstest.Input[string, string](d, "in").Send("a", "one", d.Now())
	fmt.Println(d.Try(), d.Last() != "", d.Up())
	// Output: task 0_0, in-0 offset 0: operator "write": no disk today true false
}

func ExampleInput() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 2})
	in := streamstest.Input[string, string](d, "lines")
	in.Send("a", "a line", d.Now(), streamstest.ToPartition(1), streamstest.WithHeader("tenant", "t1"))
	in.SendValue("without a key", d.Now())
	in.SendRaw([]byte("a"), []byte{0xff}, d.Now())
	in.Delete("a", d.Now())
	d.Run()
	lines := streamstest.OutputWith(d, "lines", serde.String(), serde.String())
	r, _ := lines.Read()
	for r.Partition != 1 || r.NullValue || r.NullKey {
		r, _ = lines.Read()
	}
	tenant, ok := r.Header("tenant")
	fmt.Println(r.Key, r.Value, tenant, ok)
	lines.Rewind()
	fmt.Println(len(lines.ReadAll()), "records in all")
	// Output:
	// a a line t1 true
	// 4 records in all
}

func ExampleIn() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.InputWith(d, "lines", serde.Int64(), serde.String()) // keys of another kind
	in.Send(7, "seven", d.Now())
	in.SendValue("no key", d.Now())
	in.SendRaw(nil, []byte("raw"), d.Now())
	in.Delete(7, d.Now())
	d.Run()
	fmt.Println(d.Dropped("counts"), "records were of no use")
	// Output: 3 records were of no use
}

func ExampleOut() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	out := streamstest.Output[string, int64](d, "counts")
	out.ExpectNone()
	in.Send("a", "one", d.Now())
	in.Send("b", "two", d.Now())
	d.Run()
	out.Expect(streamstest.KV("a", int64(1)), streamstest.KV("b", int64(1)))
	in.Send("a", "three", d.Now())
	d.Run()
	fmt.Println(streamstest.Latest(out))
	r, ok := out.Read()
	fmt.Println(r.Key, r.Value, ok)
	out.Rewind()
	fmt.Println(len(out.ReadAll()))
	// Output:
	// map[a:2 b:1]
	// a 2 true
	// 3
}

// Stores are read as engine.Get and its sisters read them: what is committed.
func ExampleGet() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	for _, k := range []string{"a", "b", "a", "c"} {
		in.Send(k, "x", d.Now())
	}
	d.Run()
	n, ok := streamstest.Get[string, int64](d, "counts", "a")
	fmt.Println(n, ok)
	n, ok = streamstest.Get[string, int64](d, "per-minute", streams.At("a", d.Now()))
	fmt.Println(n, ok)
	// Output:
	// 2 true
	// 2 true
}

func ExampleAll() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	for _, k := range []string{"a", "b", "a", "c"} {
		in.Send(k, "x", d.Now())
	}
	d.Run()
	fmt.Println(streamstest.All[string, int64](d, "counts"))
	// Output: [{a 2} {b 1} {c 1}]
}

func ExampleRange() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	for _, k := range []string{"a", "b", "a", "c"} {
		in.Send(k, "x", d.Now())
	}
	d.Run()
	fmt.Println(streamstest.Range[string, int64](d, "counts", "b", "z"))
	// Output: [{b 1} {c 1}]
}

func ExampleFetch() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "lines")
	in.Send("a", "x", d.Now())
	d.Run()
	for _, w := range streamstest.Fetch[string, int64](d, "per-minute", "a", d.Now().Add(-time.Hour), d.Now().Add(time.Hour)) {
		fmt.Println(w)
	}
	for _, w := range streamstest.AllWindows[string, int64](d, "per-minute") {
		fmt.Println(w.Key, w.Start.Format(time.TimeOnly), w.End.Format(time.TimeOnly), w.Value)
	}
	// Output:
	// {2026-01-01 00:00:00 +0000 UTC 2026-01-01 00:01:00 +0000 UTC 1}
	// a 00:00:00 00:01:00 1
}

// The end of all input: every window closes.
func ExampleDriver_End() {
	d := streamstest.New(t, counting(), streamstest.Options{Partitions: 1})
	streamstest.Input[string, string](d, "lines").Send("a", "one", d.Now())
	d.Run()
	out := streamstest.Output[string, int64](d, "minutes")
	out.ExpectNone()
	d.End()
	out.Expect(streamstest.KV("a", int64(1)))
	fmt.Print(d.Plan())
	// Output:
	// application counting
	// sub-topology 0: 1 tasks
	//   reads   lines (1 partitions)
	//   store   counts (key-value), changelog counting-counts-changelog
	//   store   per-minute (window), changelog counting-per-minute-changelog
	//   writes  counts (1 partitions)
	//   writes  minutes (1 partitions)
	// topic counting-counts-changelog: 1 partitions cleanup.policy=compact delete.retention.ms=604800000 segment.bytes=67108864 segment.ms=86400000
	// topic counting-per-minute-changelog: 1 partitions cleanup.policy=compact,delete delete.retention.ms=604800000 retention.bytes=-1 retention.ms=-1 segment.bytes=67108864 segment.ms=86400000
	// topic counting-positions: 1 partitions cleanup.policy=compact segment.bytes=8388608 segment.ms=86400000
	// topic counting.dead-letters: 1 partitions
}

// A whole engine through all that may happen to it. TestTheExamplesWork runs it.
func ExampleRunning() {
	streamstest.Run(t, counting(), streamstest.Options{}, func(r *streamstest.Running) {
		in := streamstest.Input[string, string](r, "lines")
		in.Send("a", "one", r.Now())
		r.Wait() // until it is processed, committed and delivered
		r.PowerCut()
		r.Restart()
		r.Advance(time.Hour)
		if err := r.Engine().Live(); err != nil {
			r.T().Fatal(err, r.Err())
		}
		r.Kill()
		if err := r.RestartWith(counting(), streamstest.Options{}); err != nil {
			r.T().Fatal(err)
		}
		r.T().Log(r.Topics(), r.Partitions("lines"), r.Plan(), r.DeadLetters())
		r.Stop()
	})
}

// A bounded run ends by itself.
func ExampleRunning_Join() {
	streamstest.Run(t, counting(), streamstest.Options{Engine: engine.Config{Bounded: true}}, func(r *streamstest.Running) {
		r.Join()
	})
}
