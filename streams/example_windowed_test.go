package streams_test

import (
	"fmt"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/serde"
)

func ExampleTumbling() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(2*time.Second).Grace(time.Second).Retention(time.Minute)).
			Count(streams.Store("per-window"), streams.EmitOnClose()).
			ToStream(func(k string, w streams.Window) string { return fmt.Sprint(k, " ", w) }).
			To("out")
	})
	d.advance(4 * time.Second)
	fmt.Println("at 4 s:", lines[string, int64](d, "out"))
	d.advance(5 * time.Second)
	fmt.Println("at 5 s:", lines[string, int64](d, "out"))
	// Output:
	// at 4 s: [a 1970-01-01T00:00:00Z/1970-01-01T00:00:02Z = 1 @1s]
	// at 5 s: [a 1970-01-01T00:00:00Z/1970-01-01T00:00:02Z = 1 @1s a 1970-01-01T00:00:02Z/1970-01-01T00:00:04Z = 1 @3s b 1970-01-01T00:00:02Z/1970-01-01T00:00:04Z = 1 @2s]
}

// A record falls into size/advance windows.
func ExampleHopping() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Filter(func(k, _ string) bool { return k == "b" }).
			GroupByKey().
			Windowed(streams.Hopping(2*time.Second, time.Second)).
			Count(streams.Store("per-window")).
			ToStream(func(k string, w streams.Window) string { return fmt.Sprint(k, " ", w) }).
			To("out")
	})
	show[string, int64](d, "out")
	// Output:
	// b 1970-01-01T00:00:01Z/1970-01-01T00:00:03Z = 1 @2s
	// b 1970-01-01T00:00:02Z/1970-01-01T00:00:04Z = 1 @2s
}

func ExampleWindowedGroup_Count() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(time.Minute)).
			Count(streams.Store("per-minute")).
			ToStream(streams.KeyOnly).
			To("out")
	})
	show[string, int64](d, "out") // at the commit; the window is open
	// Output:
	// a = 2 @3s
	// b = 1 @2s
}

func ExampleWindowedGroup_Reduce() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(time.Minute)).
			Reduce(func(longest, v string) string {
				if len(v) > len(longest) {
					return v
				}
				return longest
			}, streams.Store("longest")).
			ToStream(streams.KeyOnly).
			To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = three @3s
	// b = two words @2s
}

func ExampleWindowedGroup_Aggregate() {
	type stats struct{ Records, Bytes int }
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(time.Minute)).
			Aggregate(func() stats { return stats{} }, func(_, v string, s stats) stats {
				return stats{s.Records + 1, s.Bytes + len(v)}
			}, streams.Store("stats")).
			ToStream(streams.KeyOnly).
			To("out")
	})
	show[string, stats](d, "out")
	// Output:
	// a = {2 8} @3s
	// b = {1 9} @2s
}

// Filter, MapValues and ToStream of a windowed table see the window too.
func ExampleWindowedTable() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(2 * time.Second)).
			Count(streams.Store("per-window")).
			Filter(func(_ string, w streams.Window, _ int64) bool { return w.Start >= 2000 }).
			MapValues(func(k string, w streams.Window, n int64) string {
				return fmt.Sprintf("%d until %s", n, w.EndTime().Format("05"))
			}).
			ToStream(streams.KeyOnly).
			To("out")
	})
	show[string, string](d, "out")
	// Output:
	// b = 1 until 04 @2s
	// a = 1 until 04 @3s
}

// The bytes of a windowed key are the key's, then the window's start: a reader
// says how long the windows are.
func ExampleWindowedKeys() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(2 * time.Second)).
			Count(streams.Store("per-window")).
			ToStream(streams.Keyed).
			To("counts")
	})
	b := streams.NewBuilder("reader")
	b.From[streams.Windowed[string], int64]("counts", streams.Keys(streams.WindowedKeys(serde.String(), 2*time.Second))).
		SelectKey(func(k streams.Windowed[string], _ int64) string { return k.String() }).
		To("out")
	reader := newDriver(b)
	for _, r := range d.out {
		reader.send("counts", string(r.Key), string(r.Value), time.Second)
	}
	show[string, int64](reader, "out")
	// Output:
	// a@1970-01-01T00:00:00Z/1970-01-01T00:00:02Z = 1 @1s
	// b@1970-01-01T00:00:02Z/1970-01-01T00:00:04Z = 1 @1s
	// a@1970-01-01T00:00:02Z/1970-01-01T00:00:04Z = 1 @1s
}

func ExampleKeyed() {
	k := streams.Keyed("host-1", streams.Window{Start: 60_000, End: 120_000})
	fmt.Println(k.Key, k.StartTime().Format(time.TimeOnly), k)
	// Output: host-1 00:01:00 host-1@1970-01-01T00:01:00Z/1970-01-01T00:02:00Z
}

func ExampleKeyOnly() {
	fmt.Println(streams.KeyOnly("host-1", streams.Window{Start: 60_000, End: 120_000}))
	// Output: host-1
}

// At is how engine.Get and streamstest.Get are asked for a window.
func ExampleAt() {
	k := streams.At("host-1", time.Date(2026, 3, 2, 12, 0, 31, 0, time.UTC))
	fmt.Println(k.Key, streams.Tumbling(time.Minute).Window(streams.Tumbling(time.Minute).Last(k.Start)))
	// Output: host-1 2026-03-02T12:00:00Z/2026-03-02T12:01:00Z
}

// Each change of an entry once, at the commit: the first value of a is never seen.
func ExampleEmitOnCommit() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.ToTable(streams.Store("latest"), streams.EmitOnCommit()).ToStream().To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = three @3s
	// b = two words @2s
}

func ExampleEmitEveryUpdate() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.ToTable(streams.Store("latest"), streams.EmitEveryUpdate()).ToStream().To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = one @1s
	// b = two words @2s
	// a = three @3s
}

// A window's one result, when stream time reaches its end plus grace.
func ExampleEmitOnClose() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Tumbling(2*time.Second)).
			Count(streams.Store("per-window"), streams.EmitOnClose()).
			ToStream(streams.KeyOnly).
			To("out")
	})
	fmt.Println("at 3 s:", lines[string, int64](d, "out")) // the window that ended at 2 s
	d.advance(4 * time.Second)
	fmt.Println("at 4 s:", lines[string, int64](d, "out"))
	// Output:
	// at 3 s: [a = 1 @1s]
	// at 4 s: [a = 1 @1s a = 1 @3s b = 1 @2s]
}

// A record for a window that has closed is counted, and kept as a dead letter.
func ExampleKeepLate() {
	b := streams.NewBuilder("example")
	b.From[string, string]("in").
		GroupByKey().
		Windowed(streams.Tumbling(time.Second)).
		Count(streams.Store("per-second"), streams.KeepLate()).
		ToStream(streams.KeyOnly).To("out")

	d := newDriver(b)
	d.send("in", "a", "one", 5*time.Second)
	d.send("in", "a", "late", 1*time.Second)
	d.commit()
	show[string, int64](d, "out")
	fmt.Println(d.late)
	// Output:
	// a = 1 @5s
	// [late per-second keep=true a @1s]
}
