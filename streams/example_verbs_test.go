package streams_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
)

// A program is built, and then it is a value: Describe says what it is.
func ExampleNewBuilder() {
	b := streams.NewBuilder("shouts")
	b.From[string, string]("lines").
		MapValues(func(_, line string) string { return strings.ToUpper(line) }).
		To("shouts")
	topo, err := b.Build()
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(topo.Describe())
	// Output:
	// Topology shouts
	//   From-1: From topic lines [string, string] -> MapValues-1
	//   MapValues-1: MapValues -> To-1
	//   To-1: To topic shouts [string, string]
}

// Build reports every mistake at once, each with the name of its operator.
func ExampleBuilder_Build() {
	b := streams.NewBuilder("example")
	lines := b.From[string, string]("lines")
	lines.Filter(nil, streams.Named("errors-only")).To("no blanks in topics")
	lines.GroupByKey().Count()
	_, err := b.Build()
	fmt.Println(err)
	// Output:
	// operator "errors-only": its function is nil
	// operator "To-1": topic: name "no blanks in topics": expected letters, digits, '.', '_' and '-'
	// operator "Count-1": its state has no name: give it one with streams.Store
}

// The mistakes are joined; errors.As finds the first.
func ExampleOperatorError() {
	b := streams.NewBuilder("example")
	b.From[string, string]("lines").Filter(nil, streams.Named("errors-only"))
	_, err := b.Build()
	var mistake *streams.OperatorError
	if errors.As(err, &mistake) {
		fmt.Println(mistake.Operator, "-", mistake.Unwrap(), "-", mistake.Error())
	}
	// Output: errors-only - its function is nil - operator "errors-only": its function is nil
}

func ExampleBuilder_From() {
	b := streams.NewBuilder("example")
	b.From[string, string]("in").To("out")

	d := newDriver(b)
	d.send("in", "host-1", "a line", 1*time.Second)
	show[string, string](d, "out")
	// Output: host-1 = a line @1s
}

// point is written as two numbers, not as JSON.
type point struct{ X, Y int }

// pointSerde is a serde of one's own; its name is part of the fingerprint.
type pointSerde struct{}

func (pointSerde) Name() string      { return "point" }
func (pointSerde) Aliases() bool     { return false }
func (pointSerde) Own(p point) point { return p }

func (pointSerde) Append(dst []byte, p point) ([]byte, error) {
	return fmt.Appendf(dst, "%d/%d", p.X, p.Y), nil
}

func (pointSerde) Decode(b []byte) (p point, err error) {
	_, err = fmt.Sscanf(string(b), "%d/%d", &p.X, &p.Y)
	return p, err
}

var pointsAsText serde.Serde[point] = pointSerde{}

func ExampleBuilder_Register() {
	b := streams.NewBuilder("example")
	b.Register(pointsAsText) // for all verbs that follow
	b.From[string, point]("in").
		MapValues(func(_ string, p point) point { return point{p.Y, p.X} }).
		To("out")

	d := newDriver(b)
	d.send("in", "a", "1/2", 1*time.Second)
	fmt.Printf("%s\n", d.out[0].Value)
	// Output: 2/1
}

func ExampleStream_To() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Filter(func(k, _ string) bool { return k == "a" }).To("only-a")
		in.To("all")
	})
	fmt.Println(lines[string, string](d, "only-a"))
	fmt.Println(lines[string, string](d, "all"))
	// Output:
	// [a = one @1s a = three @3s]
	// [a = one @1s b = two words @2s a = three @3s]
}

// Branches are tried in the order in which they were made.
func ExampleSplitter() {
	d := abc(func(in *streams.Stream[string, string]) {
		parts := in.Split(streams.Named("by-length"))
		parts.Branch(func(_, v string) bool { return len(v) > 5 }, streams.Named("long")).To("long")
		parts.Branch(func(_, v string) bool { return len(v) > 3 }, streams.Named("medium")).To("medium")
		parts.Default(streams.Named("short")).To("short")
	})
	for _, topic := range []string{"long", "medium", "short"} {
		fmt.Println(topic, lines[string, string](d, topic))
	}
	// Output:
	// long [b = two words @2s]
	// medium [a = three @3s]
	// short [a = one @1s]
}

func ExampleStream_FilterMeta() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.FilterMeta(func(m streams.Meta, _, _ string) bool { return m.Offset() > 0 }).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// b = two words @2s
	// a = three @3s
}

func ExampleStream_PeekMeta() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.PeekMeta(func(m streams.Meta, _, v string) { m.SetHeader("length", fmt.Append(nil, len(v))) }).To("out")
	})
	for _, r := range d.out {
		fmt.Printf("%s %s=%s\n", r.Value, r.Headers[0].Key, r.Headers[0].Value)
	}
	// Output:
	// one length=3
	// two words length=9
	// three length=5
}

func ExampleStream_MapMeta() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.MapMeta(func(m streams.Meta, k, v string) (string, string) {
			return fmt.Sprintf("%s/%d", m.Topic(), m.Partition()), v
		}).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// in/0 = one @1s
	// in/0 = two words @2s
	// in/0 = three @3s
}

// It is the one verb on values that is also called for null.
func ExampleStream_MapValuesMeta() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.MapValuesMeta(func(m streams.Meta, _, v string) string {
			if m.Null() {
				return "deleted"
			}
			return m.Timestamp().Format("05") + " " + v
		}).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = 01 one @1s
	// b = 02 two words @2s
	// a = 03 three @3s
}

func ExampleMeta_Header() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.PeekMeta(func(m streams.Meta, k, _ string) { m.SetHeader("tenant", []byte("t-"+k)) }).
			MapValuesMeta(func(m streams.Meta, _, v string) string {
				tenant, ok := m.Header("tenant")
				return fmt.Sprintf("%s %v of %d headers, at %s", tenant, ok, len(m.Headers()), m.StreamTime().Format("05"))
			}).To("out")
	})
	show[string, string](d, "out")
	// Output:
	// a = t-a true of 1 headers, at 01 @1s
	// b = t-b true of 1 headers, at 02 @2s
	// a = t-a true of 1 headers, at 03 @3s
}

func ExampleTable_ToStream() {
	b := streams.NewBuilder("example")
	b.Table[string, string]("names", streams.Store("names"), streams.EmitEveryUpdate()).ToStream().To("changes")

	d := newDriver(b)
	d.send("names", "u1", "Ann", 1*time.Second)
	d.delete("names", "u1", 2*time.Second)
	show[string, string](d, "changes")
	// Output:
	// u1 = Ann @1s
	// u1 = null @2s
}

func ExampleTable_Filter() {
	b := streams.NewBuilder("example")
	b.Table[string, string]("levels", streams.Store("levels"), streams.EmitEveryUpdate()).
		Filter(func(_, level string) bool { return level == "high" }).
		ToStream().To("high")

	d := newDriver(b)
	d.send("levels", "tank", "low", 1*time.Second) // never was kept: nothing to delete
	d.send("levels", "tank", "high", 2*time.Second)
	d.send("levels", "tank", "low", 3*time.Second)
	show[string, string](d, "high")
	// Output:
	// tank = high @2s
	// tank = null @3s
}

func ExampleTable_MapValues() {
	b := streams.NewBuilder("example")
	b.Table[string, string]("names", streams.Store("names"), streams.EmitEveryUpdate()).
		MapValues(func(_, name string) int { return len(name) }).
		ToStream().To("lengths")

	d := newDriver(b)
	d.send("names", "u1", "Ann", 1*time.Second)
	d.send("names", "u1", "Ann Lee", 2*time.Second)
	show[string, int](d, "lengths")
	// Output:
	// u1 = 3 @1s
	// u1 = 7 @2s
}

func ExampleGrouped_Count() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.GroupByKey().Count(streams.Store("per-key")).ToStream().To("out")
	})
	show[string, int64](d, "out")
	// Output:
	// a = 2 @3s
	// b = 1 @2s
}

// delete feeds a null value.
func (d *driver) delete(topic, key string, at time.Duration) {
	r := processor.Record{Key: []byte(key), Timestamp: at.Milliseconds(), StreamTime: processor.NoTime}
	if err := d.feed(topic, false, r); err != nil {
		panic(err)
	}
}

func ExampleMeta_Null() {
	b := streams.NewBuilder("example")
	b.From[string, string]("in").
		MapValuesMeta(func(m streams.Meta, _, v string) string {
			return fmt.Sprintf("%q null=%v partition %d", v, m.Null(), m.Partition())
		}).
		To("out")

	d := newDriver(b)
	d.delete("in", "a", time.Second)
	show[string, string](d, "out")
	// Output: a = "" null=true partition 0 @1s
}
