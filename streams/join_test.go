package streams_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

func enrich(k, v, v2 string) string { return v + "/" + v2 }

func maybe(k, v, v2 string, ok bool) string {
	if !ok {
		return v + "/unknown"
	}
	return v + "/" + v2
}

// joins is a program over the stream topic "in" and the table topic "names".
func joins(program func(in *streams.Stream[string, string], names *streams.Table[string, string])) *driver {
	b := streams.NewBuilder("test")
	names := b.Table[string, string]("names", streams.Store("names"))
	program(b.From[string, string]("in"), names)
	return newDriver(b)
}

func TestJoinsSeeTheTableAsItIs(t *testing.T) {
	d := joins(func(in *streams.Stream[string, string], names *streams.Table[string, string]) {
		in.Join(names, enrich).To("inner")
		in.LeftJoin(names, maybe).To("left")
	})
	d.send("in", "a", "0", 0)
	d.send("names", "a", "Ann", 1*time.Second)
	d.send("in", "a", "1", 2*time.Second)
	d.restart() // the table is read from its store
	d.send("in", "a", "2", 3*time.Second)
	if err := d.feed("names", false, processor.Record{Key: []byte("a"), StreamTime: processor.NoTime}); err != nil {
		t.Fatal(err)
	}
	d.send("in", "a", "3", 4*time.Second)
	wantLines(t, "inner", lines[string, string](d, "inner"), "a = 1/Ann @2s", "a = 2/Ann @3s")
	wantLines(t, "left", lines[string, string](d, "left"), "a = 0/unknown @0s", "a = 1/Ann @2s", "a = 2/Ann @3s", "a = 3/unknown @4s")
}

func TestNullsAtJoins(t *testing.T) {
	d := joins(func(in *streams.Stream[string, string], names *streams.Table[string, string]) {
		in.Join(names, enrich, streams.Named("inner")).To("inner")
		in.LeftJoin(names, maybe, streams.Named("left")).To("left")
	})
	d.send("names", "", "nobody", 0) // an empty key is a key
	feed := func(topic string, key, value []byte) {
		t.Helper()
		if err := d.feed(topic, false, processor.Record{Key: key, Value: value, StreamTime: processor.NoTime}); err != nil {
			t.Fatal(err)
		}
	}
	feed("names", nil, []byte("null key"))
	feed("in", nil, []byte("v"))
	feed("in", []byte("k"), nil)
	feed("in", []byte(""), []byte("w"))
	wantLines(t, "inner", lines[string, string](d, "inner"), " = w/nobody @0s")
	wantLines(t, "left", lines[string, string](d, "left"), "null = v/unknown @0s", " = w/nobody @0s")
	wantLines(t, "dropped", d.dropped, "names", "inner", "inner", "left")
}

func TestAnyTableCanBeJoined(t *testing.T) {
	b := streams.NewBuilder("test")
	in := b.From[string, string]("in")
	counts := in.GroupByKey().Count(streams.Store("counts"))
	latest := in.MapValues(strings0).ToTable(streams.Store("latest"))
	show := func(k, v string, n int64, ok bool) string { return v + strings.Repeat("+", int(n)) }
	in.LeftJoin(counts, show).To("counts")
	in.LeftJoin(counts.Filter(func(_ string, n int64) bool { return n%2 == 0 }), show).To("even")
	in.Join(counts.MapValues(func(k string, n int64) string { return k + "!" }), enrich).To("mapped")
	in.Join(latest, enrich).To("latest")
	// The table's changes can be the stream too: it is built before the table is.
	latest.ToStream().Join(latest, enrich).To("itself")
	d := newDriver(b)
	for range 3 {
		d.send("in", "k", "v", 0)
		d.commit()
	}
	wantLines(t, "counts", lines[string, string](d, "counts"), "k = v+ @0s", "k = v++ @0s", "k = v+++ @0s")
	wantLines(t, "even", lines[string, string](d, "even"), "k = v @0s", "k = v++ @0s", "k = v @0s")
	wantLines(t, "mapped", lines[string, string](d, "mapped"), "k = v/k! @0s", "k = v/k! @0s", "k = v/k! @0s")
	wantLines(t, "latest", lines[string, string](d, "latest"), "k = v/V @0s", "k = v/V @0s", "k = v/V @0s")
	wantLines(t, "itself", lines[string, string](d, "itself"), "k = V/V @0s", "k = V/V @0s", "k = V/V @0s")
}

// One record that reaches both sides of a join changes the table first, whatever
// was defined first.
func TestARecordOnBothSidesOfAJoinChangesTheTableFirst(t *testing.T) {
	b := streams.NewBuilder("test")
	in := b.From[string, string]("in")
	in.To("before")
	stream := in.Filter(func(string, string) bool { return true }).MapValues(func(_, v string) string { return v })
	table := in.Filter(func(string, string) bool { return true }).ToTable(streams.Store("latest"))
	stream.Join(table, enrich).To("out")
	d := newDriver(b)
	d.send("in", "k", "1", 0)
	d.send("in", "k", "2", 0)
	wantLines(t, "out", lines[string, string](d, "out"), "k = 1/1 @0s", "k = 2/2 @0s")
	wantLines(t, "before", lines[string, string](d, "before"), "k = 1 @0s", "k = 2 @0s")
}

func strings0(_, v string) string { return strings.ToUpper(v) }

func TestAChangedKeyIsRepartitionedBeforeAJoin(t *testing.T) {
	b := streams.NewBuilder("test")
	names := b.Table[string, string]("names", streams.Store("names"))
	in := b.From[string, string]("in")
	in.SelectKey(func(_, v string) string { return v }).Join(names, enrich, streams.Named("by-value")).To("out")
	in.Map(func(_, v string) (string, string) { return v, v }).LeftJoin(names, maybe).To("left")
	d := newDriver(b)
	var topics []string
	for _, n := range d.topo.Nodes {
		if n.Kind == topology.Sink && n.Repartition {
			topics = append(topics, n.Topic)
		}
		if n.Kind == topology.Source && n.Table != (n.Topic == "names") {
			t.Errorf("source %s: Table is %v", n.Name, n.Table)
		}
	}
	wantLines(t, "repartition topics", topics, "by-value-repartition", "LeftJoin-1-repartition")
	d.send("names", "x", "Xavier", 0)
	d.send("in", "a", "x", 0)
	wantLines(t, "inner", lines[string, string](d, "out"), "x = x/Xavier @0s")
	wantLines(t, "left", lines[string, string](d, "left"), "x = x/Xavier @0s")
}

func TestJoinMistakes(t *testing.T) {
	b := streams.NewBuilder("app")
	in := b.From[string, string]("in")
	names := b.Table[string, string]("names", streams.Store("names"), streams.Keys[string](upper{serde.String()}))
	in.Join(names, enrich, streams.Named("other-keys")).To("o1")
	in.LeftJoin(names, maybe, streams.Named("looped")).To("names", streams.Named("back"))
	in.Join[string, string](nil, enrich, streams.Named("no-table"))
	in.Join[string, string](names, nil, streams.Named("no-function"))
	b.Table[string, string]("in", streams.Store("again"))
	b.Table[string, string]("t2", streams.Named("unnamed"))
	b.Table[string, string]("t3", streams.Store("closes"), streams.EmitOnClose())
	other := streams.NewBuilder("other").Table[string, string]("names", streams.Store("names"))
	in.Join(other, enrich, streams.Named("foreign"))
	three := in.Repartition(streams.Partitions(3), streams.Named("three"))
	four := in.Repartition(streams.Partitions(4), streams.Named("four")).ToTable(streams.Store("four"))
	three.Join(four, enrich, streams.Named("widths"))
	_, err := b.Build()
	if err == nil {
		t.Fatal("it builds")
	}
	for _, want := range []string{
		`operator "other-keys": the stream's keys are string, those of table "names" are upper: one key has other bytes on either side`,
		`operator "looped": the stream's keys are string`,
		`operator "back": cycle: it writes topic "names", which operator "names-source" reads`,
		`operator "no-table": its table is nil`,
		`operator "no-function": the stream's keys are string`,
		`operator "no-function": its function is nil`,
		`operator "again-source": topic "in" is read by operator "From-1" already: use its stream, with ToTable where a table is wanted`,
		`operator "unnamed": its state has no name`,
		`operator "closes": EmitOnClose needs windows`,
		`operator "foreign": stream and table belong to different builders`,
		`operator "widths": its inputs are not co-partitioned: "three-repartition-source" has 3 partitions, "four-repartition-source" has 4`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	var one *streams.OperatorError
	if n := strings.Count(err.Error(), "\n") + 1; n != 11 || !errors.As(err, &one) {
		t.Errorf("%d mistakes, expected 11:\n%v", n, err)
	}
}
