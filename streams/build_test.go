package streams_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// everyVerb holds every verb, so that the compiler sees them in one program: an
// instantiation cycle or a signature that cannot be inferred would stop here. It
// joins the table of names behind itself, which no engine runs; with apart, that
// is another table.
func everyVerb(apart bool) *streams.Builder {
	b := streams.NewBuilder("every-verb")
	b.Register[string](serde.String())
	keep := func(string, string) bool { return true }
	in := b.From[string, string]("in", streams.Named("lines"), streams.EventTime(func(_ string, v string) time.Time { return time.UnixMilli(int64(len(v))) }))
	s := in.Filter(keep).FilterNot(func(string, string) bool { return false }).Peek(func(string, string) {}).
		FilterMeta(func(streams.Meta, string, string) bool { return true }).
		PeekMeta(func(m streams.Meta, _, _ string) { m.SetHeader("k", nil) })
	s.ForEach(func(string, string) {})
	parts := s.Split(streams.Named("by-size"))
	long := parts.Branch(keep, streams.Named("long"))
	short := parts.Default(streams.Named("short"))
	other := b.From[[]byte, []byte]("bytes").
		Map(func(k, v []byte) (string, string) { return string(k), string(v) }).
		MapMeta(func(_ streams.Meta, k, v string) (string, string) { return k, v })
	merged := long.Merge(short, other.Repartition(streams.Partitions(8), streams.Named("again")))

	merged.MapValues(func(_, v string) int { return len(v) }).
		MapValuesMeta(func(_ streams.Meta, _ string, n int) float64 { return float64(n) }).
		FlatMapValues(func(_ string, f float64, emit func(bool)) { emit(f > 1) }).
		FlatMap(func(k string, v bool, emit func(int32, string)) { emit(1, k) }).
		SelectKey(func(k int32, v string) string { return v }).
		To("out", streams.Values(serde.String()), streams.Partitioner(func(_, _ string, n int32) int32 { return n - 1 }))

	groups := merged.GroupByKey()
	groups.Count(streams.Store("count")).ToStream().To("counts")
	groups.Reduce(func(sum, v string) string { return sum + v }, streams.Store("reduce"), streams.EmitEveryUpdate(), streams.NoChangelog())
	groups.Aggregate(func() []string { return nil }, func(_, v string, a []string) []string { return append(a, v) }, streams.Store("aggregate")).
		Filter(func(_ string, a []string) bool { return len(a) > 1 }).
		MapValues(func(_ string, a []string) int { return len(a) }).
		ToStream().To("lists")
	merged.ToTable(streams.Store("table"))

	names := b.Table[string, string]("names", streams.Store("names"), streams.EventTime(func(_ string, v string) time.Time { return time.UnixMilli(int64(len(v))) }))
	texts := names
	if apart {
		texts = b.Table[string, string]("texts", streams.Store("texts"))
	}
	merged.Join(names, func(_, v, name string) string { return v + name }).
		SelectKey(func(_, v string) string { return v }).
		LeftJoin(texts.MapValues(func(_, name string) int { return len(name) }), func(_, v string, n int, ok bool) int { return len(v) + n }, streams.Named("by-text")).
		To("joined")
	names.Filter(func(_, name string) bool { return name != "" }).ToStream().To("named")

	windows := merged.GroupBy(func(_, v string) int64 { return int64(len(v)) }, streams.Partitions(3)).
		Windowed(streams.Hopping(time.Minute, 20*time.Second).Grace(5 * time.Second).Retention(time.Hour))
	windows.Count(streams.Store("window-count"), streams.EmitOnClose(), streams.KeepLate()).
		Filter(func(_ int64, _ streams.Window, n int64) bool { return n > 1 }).
		MapValues(func(k int64, w streams.Window, n int64) string { return w.String() }).
		ToStream(streams.Keyed).To("windowed")
	windows.Reduce(func(sum, v string) string { return v }, streams.Store("window-reduce"), streams.EmitOnCommit()).
		ToStream(streams.KeyOnly).To("last")
	windows.Aggregate(func() map[string]int { return map[string]int{} }, func(_ int64, v string, a map[string]int) map[string]int { a[v]++; return a }, streams.Store("window-aggregate")).
		ToStream(func(k int64, w streams.Window) string { return w.String() }).
		GroupByKey().Windowed(streams.Tumbling(time.Hour)).Count(streams.Store("windows-of-windows"))
	return b
}

func TestGoldenDescriptions(t *testing.T) {
	topo, err := everyVerb(false).Build()
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"describe.txt": topo.Describe(), "mermaid.txt": topo.Mermaid(), "graph.dot": topo.DOT(),
	} {
		file := "testdata/golden/" + name
		if *rewrite {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is another now (-rewrite accepts it):\n%s", file, got)
		}
	}
}

// Every operator of a program that uses all of them can be built and run.
func TestEveryVerbRuns(t *testing.T) {
	d := newDriver(everyVerb(false))
	for i := range 50 {
		d.send("in", string(rune('a'+i%3)), strings.Repeat("x", i), 0)
		if i%10 == 0 {
			d.restart()
		}
	}
	d.advance(time.Hour)
	d.commit()
	if n := len(lines[string, int64](d, "counts")); n < 3 {
		t.Errorf("%d counts, expected at least one per key", n)
	}
	wantLines(t, "windowed", lines[streams.Windowed[int64], string](d, "windowed")) // one record per key and window: none passes
}

func TestBuildReportsEveryMistakeWithTheOperatorsName(t *testing.T) {
	b := streams.NewBuilder("bad name")
	in := b.From[string, string]("in")
	b.From[string, string]("in", streams.Named("twice"))
	b.From[chan int, string]("chan", streams.Named("chan"))
	in.Filter(nil, streams.Named("nothing"))
	in.Filter(func(string, string) bool { return true }, streams.Named("same"))
	in.Peek(func(string, string) {}, streams.Named("same"))
	in.GroupByKey().Count(streams.Named("unnamed"))
	in.GroupByKey().Count(streams.Store("dup"), streams.Named("dup-1"))
	in.GroupByKey().Count(streams.Store("dup"), streams.Named("dup-2"))
	in.GroupByKey().Count(streams.Store("plain"), streams.EmitOnClose())
	in.GroupByKey().Windowed(streams.Hopping(time.Second, time.Minute)).Count(streams.Store("window"))
	in.GroupByKey(streams.Partitions(3)).Count(streams.Store("no-repartition"))
	in.MapValues(func(_, _ string) chan int { return nil }).To("channels", streams.Named("channels"))
	in.To("x", streams.Store("s"), streams.Named("store-on-sink"))
	in.To("y", streams.Keys(serde.Int64()), streams.Named("wrong-type"))
	in.To("z z", streams.Named("bad-topic"))
	in.MapValues(func(_, v string) string { return v }).To("in", streams.Named("loop"))
	three := in.SelectKey(func(k, _ string) string { return k }).Repartition(streams.Partitions(3), streams.Named("three"))
	four := in.SelectKey(func(k, _ string) string { return k }).Repartition(streams.Partitions(4), streams.Named("four"))
	three.Merge(four).GroupByKey().Count(streams.Store("not-co-partitioned"))

	_, err := b.Build()
	if err == nil {
		t.Fatal("it builds")
	}
	for _, want := range []string{
		`application name: name "bad name": expected letters`,
		`operator "twice": topic "in" is read by operator "From-1" already`,
		`operator "chan": keys: no serde for chan int`,
		`operator "nothing": its function is nil`,
		`operator "same": another operator has this name`,
		`operator "unnamed": its state has no name: give it one with streams.Store`,
		`operator "dup-2": store "dup" belongs to operator "dup-1" already`,
		`operator "plain": EmitOnClose needs windows`,
		`operator "window": window advance 1m0s, expected at least 1ms and at most the size 1s`,
		`operator "no-repartition": Partitions and Partitioner have no effect`,
		`operator "channels": values: no serde for chan int`,
		`operator "store-on-sink": option Store does not belong to To`,
		`operator "wrong-type": option Keys is for other types`,
		`operator "bad-topic": topic: name "z z"`,
		`operator "loop": cycle: it writes topic "in", which operator "From-1" reads`,
		`operator "not-co-partitioned": its inputs are not co-partitioned: "three-repartition-source" has 3 partitions, "four-repartition-source" has 4`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 16 {
		t.Errorf("%d mistakes, expected 16:\n%v", n, err)
	}
	var one *streams.OperatorError
	if !errors.As(err, &one) {
		t.Error("the error is no OperatorError")
	}
}

func TestBuildReportsEveryMistakenFormerName(t *testing.T) {
	b := streams.NewBuilder("app")
	in := b.From[string, string]("in")
	count := func(name, former string) {
		in.GroupByKey().Count(streams.Store(name), streams.FormerName(former))
	}
	in.GroupByKey().Count(streams.Store("there"))
	count("a", "there")
	count("b", "old")
	count("c", "old")
	count("d", "d")
	count("e", "f")
	count("f", "e")
	count("g", "no good")
	same := streams.NewState[string, string]("h", streams.FormerName("h"))
	in.Process(func(*streams.Context[string, string], string, string) {}, streams.Uses(same), streams.Named("p"))
	in.To("out", streams.Named("sink"), streams.FormerName("x"))
	_, err := b.Build()
	if err == nil {
		t.Fatal("it builds")
	}
	for _, want := range []string{
		`operator "a": store "there" belongs to operator "there" already: it is the FormerName of "a"`,
		`operator "c": store "old" belongs to operator "b" already: it is the FormerName of "b"`,
		`operator "d": FormerName: "d" is its name now`,
		`operator "e": FormerName: another store, of operator "f", is called "f" now and was "e"`,
		`operator "f": FormerName: another store, of operator "e", is called "e" now and was "f"`,
		`operator "g": FormerName: name "no good": expected letters`,
		`operator "p": FormerName: "h" is its name now`,
		`operator "sink": option FormerName does not belong to To`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; t.Failed() || n != 8 {
		t.Errorf("%d mistakes, expected 8:\n%v", n, err)
	}
}

func TestGroupByKeyRepartitionsOnlyAChangedKey(t *testing.T) {
	topics := func(program func(in *streams.Stream[string, string])) (out []string) {
		b := streams.NewBuilder("app")
		program(b.From[string, string]("in"))
		for _, n := range must(b.Build()).Nodes {
			if n.Kind == topology.Sink && n.Repartition {
				out = append(out, n.Topic)
			}
		}
		return out
	}
	key := func(k, _ string) string { return k }
	wantLines(t, "unchanged key", topics(func(in *streams.Stream[string, string]) {
		in.MapValues(key).GroupByKey().Count(streams.Store("a"))
	}))
	wantLines(t, "changed key", topics(func(in *streams.Stream[string, string]) {
		in.SelectKey(key).MapValues(key).GroupByKey().Count(streams.Store("a"))
	}), "a-repartition")
	wantLines(t, "two aggregates of one group share it", topics(func(in *streams.Stream[string, string]) {
		g := in.GroupBy(key)
		g.Count(streams.Store("a"))
		g.Count(streams.Store("b"))
	}), "a-repartition")
	wantLines(t, "named", topics(func(in *streams.Stream[string, string]) {
		in.GroupBy(key, streams.Named("by-key")).Count(streams.Store("a"))
	}), "by-key-repartition")
	wantLines(t, "repartitioned already", topics(func(in *streams.Stream[string, string]) {
		in.SelectKey(key).Repartition(streams.Named("r")).GroupByKey().Count(streams.Store("a"))
	}), "r-repartition")
}
