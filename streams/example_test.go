package streams_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/serde"
)

// The examples run on this package's test driver: one partition, records as they
// are sent, a commit when they say so. Programs use runtime/streamstest.

func Example() {
	b := streams.NewBuilder("syslog-alerts")
	b.From[string, string]("syslog").
		Filter(func(_, line string) bool { return strings.Contains(line, "Invalid user") }).
		GroupBy(func(_, line string) string { return line[strings.LastIndexByte(line, ' ')+1:] }).
		Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
		Count(streams.Store("invalid-logins"), streams.EmitOnClose()).
		ToStream(streams.Keyed).
		Filter(func(_ streams.Windowed[string], n int64) bool { return n >= 2 }).
		To("alerts")

	d := newDriver(b)
	for i, line := range []string{"Invalid user x from 1.1.1.1", "session opened", "Invalid user y from 2.2.2.2", "Invalid user z from 1.1.1.1"} {
		d.send("syslog", "host", line, time.Duration(i)*time.Second)
	}
	d.advance(70 * time.Second)
	for _, r := range d.out {
		k := must(streams.WindowedKeys(serde.String(), time.Minute).Decode(r.Key))
		fmt.Println(k.Key, k.Window, must(serde.Int64().Decode(r.Value)))
	}
	// Output: 1.1.1.1 1970-01-01T00:00:00Z/1970-01-01T00:01:00Z 2
}

// abc is a program on the topic "in", with three records run through it.
func abc(program func(in *streams.Stream[string, string])) *driver {
	b := streams.NewBuilder("example")
	program(b.From[string, string]("in"))
	d := newDriver(b)
	d.send("in", "a", "one", 1*time.Second)
	d.send("in", "b", "two words", 2*time.Second)
	d.send("in", "a", "three", 3*time.Second)
	d.commit()
	return d
}

func ExampleStream_Filter() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Filter(func(k, _ string) bool { return k == "a" }).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = one @1s
	// a = three @3s
}

func ExampleStream_FilterNot() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.FilterNot(func(k, _ string) bool { return k == "a" }).To("out")
	})
	show[string, string](d, "out")
	// Output: b = two words @2s
}

func ExampleStream_Peek() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Peek(func(k, v string) { fmt.Println("saw", k, v) }).To("out")
	})
	fmt.Println(len(d.out), "records")
	// Output:
	// saw a one
	// saw b two words
	// saw a three
	// 3 records
}

func ExampleStream_ForEach() {
	abc(func(in *streams.Stream[string, string]) {
		in.ForEach(func(k, v string) { fmt.Println(k, v) })
	})
	// Output:
	// a one
	// b two words
	// a three
}

func ExampleStream_Merge() {
	d := abc(func(in *streams.Stream[string, string]) {
		long := in.Filter(func(_, v string) bool { return len(v) > 3 })
		short := in.FilterNot(func(_, v string) bool { return len(v) > 3 }).MapValues(func(_, v string) string { return strings.ToUpper(v) })
		long.Merge(short).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = ONE @1s
	// b = two words @2s
	// a = three @3s
}

func ExampleStream_Split() {
	d := abc(func(in *streams.Stream[string, string]) {
		parts := in.Split()
		parts.Branch(func(k, _ string) bool { return k == "b" }).To("bs")
		parts.Branch(func(_, v string) bool { return strings.Contains(v, "w") }).To("ws")
		parts.Default().To("rest")
	})
	for _, topic := range []string{"bs", "ws", "rest"} {
		fmt.Println(topic, lines[string, string](d, topic))
	}
	// Output:
	// bs [b = two words @2s]
	// ws []
	// rest [a = one @1s a = three @3s]
}

func ExampleStream_SelectKey() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.SelectKey(func(_, v string) int64 { return int64(len(v)) }).To("out")
	})
	show[int64, string](d, "out")
	// Output:
	// 3 = one @1s
	// 9 = two words @2s
	// 5 = three @3s
}

func ExampleStream_Map() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Map(func(k, v string) (string, int64) { return v, int64(k[0]) }).To("out")
	})
	show[string, int64](d, "out")
	// Output:
	// one = 97 @1s
	// two words = 98 @2s
	// three = 97 @3s
}

func ExampleStream_MapValues() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.MapValues(func(_, v string) int { return len(v) }).To("out")
	})
	show[string, int](d, "out")
	// Output:
	// a = 3 @1s
	// b = 9 @2s
	// a = 5 @3s
}

func ExampleStream_FlatMap() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.FlatMap(func(k, v string, emit func(string, int64)) {
			for _, word := range strings.Fields(v) {
				emit(word, int64(len(word)))
			}
		}).To("out")
	})
	show[string, int64](d, "out")
	// Output:
	// one = 3 @1s
	// two = 3 @2s
	// words = 5 @2s
	// three = 5 @3s
}

func ExampleStream_FlatMapValues() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.FlatMapValues(func(_, v string, emit func(string)) {
			for _, word := range strings.Fields(v) {
				emit(word)
			}
		}).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = one @1s
	// b = two @2s
	// b = words @2s
	// a = three @3s
}

func ExampleStream_GroupByKey() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().Count(streams.Store("per-key")).ToStream().To("out")
	})
	show[string, int64](d, "out") // at the commit
	// Output:
	// a = 2 @3s
	// b = 1 @2s
}

func ExampleStream_GroupBy() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupBy(func(_, v string) int { return len(v) % 2 }).
			Count(streams.Store("odd-or-even"), streams.EmitEveryUpdate()).
			ToStream().To("out")
	})
	show[int, int64](d, "out")
	// Output:
	// 1 = 1 @1s
	// 1 = 2 @2s
	// 1 = 3 @3s
}

func ExampleGrouped_Reduce() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Reduce(func(sum, v string) string { return sum + "+" + v }, streams.Store("joined")).
			ToStream().To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = one+three @3s
	// b = two words @2s
}

func ExampleGrouped_Aggregate() {
	type stats struct{ Records, Bytes int }
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Aggregate(func() stats { return stats{} }, func(_, v string, s stats) stats {
				return stats{s.Records + 1, s.Bytes + len(v)}
			}, streams.Store("stats")).
			ToStream().To("out")
	})
	show[string, stats](d, "out")
	// Output:
	// a = {2 8} @3s
	// b = {1 9} @2s
}

func ExampleGrouped_Windowed() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().
			Windowed(streams.Hopping(2*time.Second, time.Second)).
			Count(streams.Store("per-window"), streams.EmitOnClose()).
			ToStream(func(k string, w streams.Window) string { return k + " from " + w.StartTime().Format("05") }).
			To("out")
	})
	d.advance(10 * time.Second)
	show[string, int64](d, "out")
	// Output:
	// a from 00 = 1 @1s
	// a from 01 = 1 @1s
	// b from 01 = 1 @2s
	// a from 02 = 1 @3s
	// b from 02 = 1 @2s
	// a from 03 = 1 @3s
}

func ExampleStream_ToTable() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.ToTable(streams.Store("latest")).
			MapValues(func(_, v string) int { return len(v) }).
			Filter(func(_ string, n int) bool { return n < 9 }).
			ToStream().To("out")
	})
	show[string, int](d, "out")
	d.send("in", "a", "too long a value", 4*time.Second)
	d.out = nil
	d.commit()
	show[string, int](d, "out")
	// Output:
	// a = 5 @3s
	// a = null @4s
}

func ExampleStream_Repartition() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.SelectKey(func(_, v string) string { return v[:1] }).
			Repartition(streams.Named("by-letter"), streams.Partitions(12)).
			To("out")
	})
	show[string, string](d, "out")
	fmt.Print(d.topo.Describe())
	// Output:
	// o = one @1s
	// t = two words @2s
	// t = three @3s
	// Topology example
	//   From-1: From topic in [string, string] -> SelectKey-1
	//   SelectKey-1: SelectKey -> by-letter-repartition-sink
	//   by-letter-repartition-sink: RepartitionSink topic by-letter-repartition (12 partitions) [string, string] -> by-letter-repartition-source
	//   by-letter-repartition-source: RepartitionSource topic by-letter-repartition (12 partitions) [string, string] -> To-1
	//   To-1: To topic out [string, string]
}

func ExamplePartitioner() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.To("out", streams.Partitioner(func(_, v string, partitions int32) int32 {
			return int32(len(v)) % partitions // records of one length stay in order
		}))
	})
	for _, r := range d.out {
		fmt.Printf("%s goes to %d\n", r.Value, r.partition)
	}
	// Output:
	// one goes to 3
	// two words goes to 3
	// three goes to 5
}

func ExampleMeta() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.PeekMeta(func(m streams.Meta, _, _ string) {
			m.SetHeader("from", []byte(m.Topic()+"@"+strconv.FormatInt(m.Offset(), 10)))
			m.SetTimestamp(m.Timestamp().Add(time.Hour))
		}).MapValues(func(_, v string) string { return strings.ToUpper(v) }).To("out")
	})
	for _, r := range d.out {
		fmt.Printf("%s %s=%s %s\n", r.Value, r.Headers[0].Key, r.Headers[0].Value, ms(r.Timestamp))
	}
	// Output:
	// ONE from=in@0 1h0m1s
	// TWO WORDS from=in@1 1h0m2s
	// THREE from=in@2 1h0m3s
}

func ExampleEventTime() {
	b := streams.NewBuilder("example")
	b.From[string, int64]("in", streams.EventTime(func(_ string, v int64) time.Time { return time.UnixMilli(v) })).To("out")
	d := newDriver(b)
	d.send("in", "a", "\x00\x00\x00\x00\x00\x00\x27\x10", 0)
	show[string, int64](d, "out")
	// Output: a = 10000 @10s
}

// A table is the latest value of each key of a topic.
func ExampleBuilder_Table() {
	b := streams.NewBuilder("example")
	b.Table[string, string]("customers", streams.Store("customers"), streams.EmitEveryUpdate()).
		Filter(func(_, name string) bool { return name != "guest" }).
		ToStream().To("known")

	d := newDriver(b)
	d.send("customers", "c1", "Ann", 1*time.Second)
	d.send("customers", "c2", "guest", 2*time.Second)
	d.send("customers", "c1", "guest", 3*time.Second)
	show[string, string](d, "known")
	// Output:
	// c1 = Ann @1s
	// c1 = null @3s
}

// Each order meets what the table holds of its customer at that time.
func ExampleStream_Join() {
	b := streams.NewBuilder("example")
	customers := b.Table[string, string]("customers", streams.Store("customers"))
	b.From[string, int64]("orders").
		Join(customers, func(_ string, cents int64, name string) string { return fmt.Sprintf("%s owes %d", name, cents) }).
		To("debts")

	d := newDriver(b)
	d.send("customers", "c1", "Ann", 1*time.Second)
	d.send("orders", "c1", "\x00\x00\x00\x00\x00\x00\x00\x05", 2*time.Second)
	d.send("orders", "c2", "\x00\x00\x00\x00\x00\x00\x00\x06", 3*time.Second) // nobody: left out
	d.send("customers", "c1", "Ann Lee", 4*time.Second)
	d.send("orders", "c1", "\x00\x00\x00\x00\x00\x00\x00\x07", 5*time.Second)
	show[string, string](d, "debts")
	// Output:
	// c1 = Ann owes 5 @2s
	// c1 = Ann Lee owes 7 @5s
}

// The stream's key is made anew, so it goes through a repartition topic, with as
// many partitions as the table has.
func ExampleStream_LeftJoin() {
	b := streams.NewBuilder("example")
	names := b.Table[string, string]("names", streams.Store("names"))
	b.From[string, string]("lines").
		SelectKey(func(_, line string) string { user, _, _ := strings.Cut(line, " "); return user }).
		LeftJoin(names, func(user, line, name string, ok bool) string {
			if !ok {
				name = "somebody"
			}
			return strings.Replace(line, user, name, 1)
		}, streams.Named("by-user")).
		To("out")

	d := newDriver(b)
	d.send("names", "u1", "Ann", 0)
	d.send("lines", "host", "u1 logged in", 1*time.Second)
	d.send("lines", "host", "u2 logged in", 2*time.Second)
	show[string, string](d, "out")
	// Output:
	// u1 = Ann logged in @1s
	// u2 = somebody logged in @2s
}
