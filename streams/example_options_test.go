package streams_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/streams"
)

// The name stands in errors, metrics and the names of internal topics.
func ExampleNamed() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.SelectKey(func(_, v string) string { return v[:1] }, streams.Named("by-letter")).To("out", streams.Named("letters"))
	})
	fmt.Print(d.topo.Describe())
	// Output:
	// Topology example
	//   From-1: From topic in [string, string] -> by-letter
	//   by-letter: SelectKey -> letters
	//   letters: To topic out [string, string]
}

// The store's name is that of its changelog topic, example-per-key-changelog, and
// what queries ask for.
func ExampleStore() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().Count(streams.Store("per-key"))
	})
	s, ok := d.topo.Store("per-key")
	fmt.Println(s.Name, s.SerdeName, s.Changelog, ok)
	// Output: per-key string,int64 true true
}

// The state that was kept as "per-key" is called "visits" now.
func ExampleFormerName() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().Count(streams.Store("visits"), streams.FormerName("per-key"))
	})
	s, _ := d.topo.Store("visits")
	fmt.Println(s.Called(), "is kept as", s.Name)
	// Output: visits is kept as per-key
}

func ExampleKeys() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.SelectKey(func(_, v string) point { return point{len(v), 1} }, streams.Keys(pointsAsText)).To("out")
	})
	for _, r := range d.out {
		fmt.Printf("%s %s\n", r.Key, r.Value)
	}
	// Output:
	// 3/1 one
	// 9/1 two words
	// 5/1 three
}

func ExampleValues() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.MapValues(func(_, v string) point { return point{len(v), 1} }, streams.Values(pointsAsText)).To("out")
	})
	for _, r := range d.out {
		fmt.Printf("%s %s\n", r.Key, r.Value)
	}
	// Output:
	// a 3/1
	// b 9/1
	// a 5/1
}

func ExamplePartitions() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupBy(func(_, v string) int { return len(v) }, streams.Partitions(2)).Count(streams.Store("per-length"))
	})
	n, _ := d.topo.Node("per-length-repartition-sink")
	fmt.Println(n.Topic, n.Partitions)
	// Output: per-length-repartition 2
}

// Without a changelog the state is only on the local disk.
func ExampleNoChangelog() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().Count(streams.Store("scratch"), streams.NoChangelog())
	})
	s, _ := d.topo.Store("scratch")
	fmt.Println(s.Changelog)
	// Output: false
}

// Detail makes what a function does a part of the fingerprint: state that one
// limit has made is refused by a program with another.
func ExampleDetail() {
	d := abc(func(in *streams.Stream[string, string]) {
		const limit = 5
		in.ProcessValues(func(c *streams.ValueContext[string], _, v string) {
			if len(v) > limit {
				c.Forward(v)
			}
		}, streams.Named("long"), streams.Detail(fmt.Sprint("limit ", limit))).To("out")
	})
	n, _ := d.topo.Node("long")
	fmt.Println(n.Detail)
	// Output: limit 5
}

// atLeast is a verb of one's own, which reports its mistakes at Build.
func atLeast(s *streams.Stream[string, string], n int) *streams.Stream[string, string] {
	var mistake error
	if n < 0 {
		mistake = errors.New("atLeast: a length is not negative")
	}
	return s.Filter(func(_, v string) bool { return len(v) >= n }, streams.Named("at-least"), streams.Mistake(mistake))
}

func ExampleMistake() {
	b := streams.NewBuilder("example")
	atLeast(b.From[string, string]("in"), -1).To("out")
	_, err := b.Build()
	fmt.Println(err)
	// Output: operator "at-least": atLeast: a length is not negative
}

func ExampleUses() {
	d := abc(func(in *streams.Stream[string, string]) {
		seen := streams.NewState[string, int]("seen")
		in.ProcessValues(func(c *streams.ValueContext[int], k, _ string) {
			n, _ := seen.Get(c, k)
			seen.Put(c, k, n+1)
			c.Forward(n + 1)
		}, streams.Uses(seen)).To("out")
	})
	show[string, int](d, "out")
	// Output:
	// a = 1 @1s
	// b = 1 @2s
	// a = 2 @3s
}

// Behind a repartition topic WaitForAll fires timers by the slowest upstream task,
// as windows close there.
func ExampleWaitForAll() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.SelectKey(func(_, v string) string { return v[:1] }).
			Process(func(c *streams.Context[string, string], k, _ string) {
				c.SetTimer("due", c.Timestamp().Add(time.Second))
			}, streams.Named("by-letter"), streams.WaitForAll(),
				streams.OnTimer("due", func(c *streams.Context[string, string], k string) { c.Forward(k, "due") })).
			To("out")
	})
	d.advance(10 * time.Second)
	show[string, string](d, "out")
	// Output:
	// o = due @2s
	// t = due @3s
	// t = due @4s
}
