package streams_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
)

// program builds a program over string records and its driver.
func program(build func(in *streams.Stream[string, string])) *driver {
	b := streams.NewBuilder("test")
	build(b.From[string, string]("in"))
	return newDriver(b)
}

func (d *driver) record(key, value []byte, headers ...processor.Header) error {
	return d.feed("in", false, processor.Record{Key: key, Value: value, Headers: headers, StreamTime: processor.NoTime})
}

func TestNullKeysAndValues(t *testing.T) {
	d := program(func(in *streams.Stream[string, string]) {
		in.MapValues(func(_, v string) string { return v + "!" }).To("mapped")
		in.FlatMapValues(func(_, v string, emit func(string)) { emit(v); emit(v) }).To("flat")
		in.Map(func(k, v string) (string, string) { return k + "?", v }).To("made")
		in.GroupByKey().Count(streams.Store("n"), streams.EmitEveryUpdate()).ToStream().To("counted")
	})
	for _, r := range [][2][]byte{{nil, []byte("v")}, {[]byte("k"), nil}, {[]byte(""), []byte("")}} {
		if err := d.record(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	wantLines(t, "MapValues passes null on", lines[string, string](d, "mapped"), "null = v! @0s", "k = null @0s", " = ! @0s")
	wantLines(t, "FlatMapValues passes null on once", lines[string, string](d, "flat"), "null = v @0s", "null = v @0s", "k = null @0s", " =  @0s", " =  @0s")
	wantLines(t, "Map sees zero values", lines[string, string](d, "made"), "? = v @0s", "k? =  @0s", "? =  @0s")
	wantLines(t, "aggregates ignore null", lines[string, int64](d, "counted"), " = 1 @0s")
}

func TestTablesDeleteOnNull(t *testing.T) {
	for _, emit := range []streams.Option{streams.EmitEveryUpdate(), streams.EmitOnCommit()} {
		d := program(func(in *streams.Stream[string, string]) {
			in.ToTable(streams.Store("t"), emit).ToStream().To("out")
		})
		for _, v := range [][]byte{[]byte("1"), nil, nil, []byte("2")} {
			if err := d.record([]byte("k"), v); err != nil {
				t.Fatal(err)
			}
			d.restart()
		}
		wantLines(t, "changes", lines[string, string](d, "out"), "k = 1 @0s", "k = null @0s", "k = 2 @0s")
	}
}

func TestHeadersAreInheritedAndStayInTheirBranch(t *testing.T) {
	d := program(func(in *streams.Stream[string, string]) {
		in.PeekMeta(func(m streams.Meta, _, _ string) { m.SetHeader("a", []byte("set")) }).
			GroupBy(func(_, v string) string { return v }).
			Count(streams.Store("n"), streams.EmitEveryUpdate()).ToStream().To("branch")
		in.FlatMap(func(k, v string, emit func(string, string)) { emit(k, v); emit(k, v) }).To("plain")
		in.FilterMeta(func(m streams.Meta, _, _ string) bool { v, ok := m.Header("a"); return ok && string(v) == "was" }).To("seen")
	})
	if err := d.record([]byte("k"), []byte("v"), processor.Header{Key: "a", Value: []byte("was")}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"branch": "set", "plain": "was", "seen": "was"}
	for _, r := range d.out {
		if len(r.Headers) != 1 || string(r.Headers[0].Value) != want[r.topic] {
			t.Errorf("%s has headers %q, expected a=%s", r.topic, r.Headers, want[r.topic])
		}
	}
	if len(d.out) != 4 {
		t.Errorf("%d records, expected 4", len(d.out))
	}
}

func TestUndecodableRecordsHaveNoEffect(t *testing.T) {
	b := streams.NewBuilder("test")
	ran := 0
	b.From[int64, int32]("in").Peek(func(int64, int32) { ran++ }).To("out")
	d := newDriver(b)
	for field, r := range map[string][2]string{"key": {"short", "1234"}, "value": {"12345678", "long!"}} {
		err := d.record([]byte(r[0]), []byte(r[1]))
		var bad *processor.DecodeError
		if !errors.As(err, &bad) || bad.Field != field || bad.Topic != "in" {
			t.Errorf("%s: %v, expected a DecodeError", field, err)
		}
	}
	if ran != 0 || len(d.out) != 0 {
		t.Errorf("an undecodable record ran %d functions and made %d records", ran, len(d.out))
	}
	if err := d.record([]byte("12345678"), []byte("1234")); err != nil || ran != 1 {
		t.Errorf("the record after it: %v, ran %d", err, ran)
	}
}

func TestTheFirstErrorStopsTheRecord(t *testing.T) {
	emitted, after := 0, 0
	d := program(func(in *streams.Stream[string, string]) {
		s := in.FlatMapValues(func(_, v string, emit func(string)) {
			for range 3 {
				emitted++
				emit(v)
			}
		})
		s.To("out", streams.Partitioner(func(_, v string, n int32) int32 { return int32(len(v)) }), streams.Named("sink"))
		s.ForEach(func(string, string) { after++ })
	})
	err := d.record([]byte("k"), []byte("seven b"))
	if err == nil || err.Error() != `operator "sink": its partitioner chose partition 7, expected 0 to 5` {
		t.Errorf("got %v", err)
	}
	if after != 0 || emitted != 3 {
		t.Errorf("after the error %d records went on", after)
	}
	if err := d.record([]byte("k"), []byte("ok")); err != nil || after != 3 {
		t.Errorf("the record after it: %v, %d", err, after)
	}
}

func TestAPanicCanBeBlamedOnItsOperator(t *testing.T) {
	d := program(func(in *streams.Stream[string, string]) {
		in.Filter(func(string, string) bool { return true }).
			MapValues(func(_, v string) string { panic("boom") }, streams.Named("culprit")).
			GroupByKey().Count(streams.Store("n"))
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = d.record([]byte("k"), []byte("v"))
	}()
	if got := d.subs[0].unit.Running(); got != "culprit" {
		t.Errorf("Running is %q, expected the operator that panicked", got)
	}
}

// Borrowed values are the state's own once a function has returned.
func TestStateOwnsBorrowedBytes(t *testing.T) {
	b := streams.NewBuilder("test")
	b.From[[]byte, []byte]("in").GroupByKey().
		Reduce(func(_, v []byte) []byte { return v }, streams.Store("last")).
		ToStream().To("out")
	d := newDriver(b)
	key, value := []byte("key"), []byte("value")
	if err := d.record(key, value); err != nil {
		t.Fatal(err)
	}
	copy(value, "XXXXX")
	d.commit()
	if len(d.out) != 1 || !bytes.Equal(d.out[0].Value, []byte("value")) || !bytes.Equal(d.out[0].Key, []byte("key")) {
		t.Errorf("got %v, expected key and value as they were", d.out)
	}
}

// A merged node has several parents and one instance: its function sees one count.
func TestAMergedNodeIsBuiltOncePerTask(t *testing.T) {
	d := program(func(in *streams.Stream[string, string]) {
		in.Filter(func(_, v string) bool { return v == "1" }).
			Merge(in.Filter(func(_, v string) bool { return v == "2" })).
			GroupByKey().Count(streams.Store("n")).ToStream().To("out")
	})
	for _, v := range []string{"1", "2", "1", "3"} {
		d.send("in", "k", v, 0)
	}
	d.commit()
	wantLines(t, "one store, one count", lines[string, int64](d, "out"), "k = 3 @0s")
}

// upper is a string serde with another encoding.
type upper struct{ serde.Serde[string] }

func (upper) Name() string { return "upper" }
func (upper) Append(dst []byte, v string) ([]byte, error) {
	return append(dst, strings.ToUpper(v)...), nil
}

func TestARawKeyIsOnlyReusedInItsOwnEncoding(t *testing.T) {
	b := streams.NewBuilder("test")
	in := b.From[string, string]("in")
	in.To("same")
	in.To("other", streams.Keys[string](upper{serde.String()}))
	b.From[string, string]("unused", streams.Keys[string](upper{serde.String()})).Merge(in).To("merged")
	d := newDriver(b)
	d.send("in", "k", "v", 0)
	for topic, want := range map[string]string{"same": "k = v @0s", "other": "K = v @0s", "merged": "K = v @0s"} {
		wantLines(t, topic, lines[string, string](d, topic), want)
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	// Few keys: three on one pair of slots of the table of interned keys, which a
	// hundred keys have in one process of a hundred, push each other out for good.
	rs := benchRecords(1000, 10)
	u, _ := benchUnit(t, func(in *streams.Stream[string, string]) {
		in.Filter(matching).MapValues(same).GroupByKey().
			Windowed(streams.Tumbling(time.Minute)).
			Count(streams.Store("counts")).ToStream(streams.KeyOnly).To("out")
	})
	run := func() {
		for i := range rs {
			if err := u.Process(0, &rs[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		run() // the table of interned keys grows until they have room
	}
	if n := testing.AllocsPerRun(20, run); n > 10 {
		t.Errorf("%v allocations for %d records, expected none", n, len(rs))
	}
}
