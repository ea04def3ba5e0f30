package engine_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// joinProgram enriches orders with the table of customers.
func joinProgram(t testing.TB) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	customers := b.Table[string, string]("customers", streams.Store("customers"))
	b.From[string, string]("orders").
		PeekMeta(func(m streams.Meta, _, _ string) {
			m.SetHeader("from", fmt.Appendf(nil, "%s-%d@%d", m.Topic(), m.Partition(), m.Offset()))
		}).
		MapValues(func(_, v string) string { return strings.ToUpper(v) }).
		LeftJoin(customers, func(_, v, name string, _ bool) string { return v + "/" + name }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func ensure(t testing.TB, w *world, topic string, partitions int32) {
	t.Helper()
	if _, err := w.log.Ensure(t.Context(), []logclient.TopicSpec{{Name: topic, Partitions: partitions}}); err != nil {
		t.Fatal(err)
	}
}

func TestTopicsOfAJoinAreCheckedBeforeAnythingRuns(t *testing.T) {
	w := newWorld()
	ensure(t, w, "orders", 4)
	ensure(t, w, "customers", 6)
	_, err := engine.NewOn(joinProgram(t), engine.Config{}, w.backing())
	want := `operator "LeftJoin-1": topics that meet by key must have the same number of partitions: "customers" has 6 partitions, "orders" has 4 partitions; make one of them anew`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("NewOn: %v\nwant %s", err, want)
	}
	if infos, err := w.log.Describe(t.Context(), []string{"app-customers-changelog"}); err != nil || infos[0].Partitions != 0 {
		t.Errorf("internal topics were made for a program that cannot run: %+v %v", infos, err)
	}
}

func TestAMissingTopicOfAJoinIsMadeLikeItsPartner(t *testing.T) {
	for _, have := range []string{"orders", "customers"} {
		w := newWorld()
		ensure(t, w, have, 7)
		e, err := engine.NewOn(joinProgram(t), engine.Config{Partitions: 2}, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
		infos, err := w.log.Describe(t.Context(), []string{"orders", "customers", "out"})
		if err != nil {
			t.Fatal(err)
		}
		if infos[0].Partitions != 7 || infos[1].Partitions != 7 || infos[2].Partitions != 2 {
			t.Errorf("with %s of 7 partitions the topics were made with %d, %d and %d", have, infos[0].Partitions, infos[1].Partitions, infos[2].Partitions)
		}
	}
}

// keep is a sink that keeps copies.
type keep struct {
	mu      sync.Mutex
	records []connectors.Record
}

func (k *keep) Open(context.Context, connectors.SinkContext) error { return nil }
func (k *keep) Close() error                                       { return nil }
func (k *keep) Write(_ context.Context, rs []connectors.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range rs {
		r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
		r.Headers = slices.Clone(r.Headers)
		for i := range r.Headers {
			r.Headers[i] = record.Header{Key: strings.Clone(r.Headers[i].Key), Value: slices.Clone(r.Headers[i].Value)}
		}
		k.records = append(k.records, r)
	}
	return nil
}

// What a sink gets: the headers of the record that caused it, those that the
// program set, its coordinates in the topic and its event time.
func TestHeadersAndCoordinatesReachASink(t *testing.T) {
	w := newWorld()
	ensure(t, w, "orders", 1)
	ensure(t, w, "customers", 1)
	in := record.TopicPartition{Topic: "orders"}
	w.log.Produce(record.TopicPartition{Topic: "customers"}, record.View{Timestamp: t0, Key: []byte("c"), Value: []byte("Ann")})
	for i := range 3 {
		w.log.Produce(in, record.View{Timestamp: t0 + int64(i), Key: []byte("c"), Value: fmt.Appendf(nil, "v%d", i),
			Headers: []record.Header{{Key: "trace", Value: fmt.Appendf(nil, "t%d", i)}, {Key: "empty"}}})
	}
	sink := &keep{}
	run(t, w, joinProgram(t), engine.Config{Workers: 1, Partitions: 1, Bounded: true, Sinks: []engine.Sink{{Name: "sink", Topic: "out", Sink: sink}}})
	if len(sink.records) != 3 {
		t.Fatalf("%d records, want 3", len(sink.records))
	}
	for i, r := range sink.records {
		got := fmt.Sprintf("%s-%d@%d %d %s=%s", r.Topic, r.Partition, r.Offset, r.Timestamp-t0, r.Key, r.Value)
		for _, h := range r.Headers {
			got += fmt.Sprintf(" %s=%s", h.Key, h.Value)
		}
		if want := fmt.Sprintf("out-0@%d %d c=V%d/Ann trace=t%d empty= from=orders-0@%d", r.Offset, i, i, i, i); got != want || int(r.Offset) < i {
			t.Errorf("the sink got %s\nwant %s", got, want)
		}
	}
}

func TestATableAnswersQueriesAndComesBack(t *testing.T) {
	w := newWorld()
	ensure(t, w, "orders", 3)
	ensure(t, w, "customers", 3)
	want := map[string]string{}
	for i := range 200 {
		k, v := fmt.Sprintf("c%d", i%50), fmt.Appendf(nil, "name%d", i)
		if want[k] = string(v); i%7 == 0 {
			v = nil
			delete(want, k)
		}
		tp := record.TopicPartition{Topic: "customers", Partition: record.Partition(record.PartitionForKey([]byte(k), 3))}
		w.log.Produce(tp, record.View{Timestamp: t0 + int64(i), Key: []byte(k), Value: v})
	}
	w.log.Produce(record.TopicPartition{Topic: "customers"}, record.View{Timestamp: t0, Value: []byte("null key")})
	check := func(e *engine.Engine) {
		t.Helper()
		got := map[string]string{}
		if err := engine.All(e, "customers", func(k, v string) bool { got[k] = v; return true }); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("the table holds %v, want %v", got, want)
		}
		if v, ok, err := engine.Get[string, string](e, "customers", "c1"); !ok || err != nil || v != want["c1"] {
			t.Errorf("Get: %q %v %v, want %q", v, ok, err, want["c1"])
		}
	}
	cfg := engine.Config{Workers: 2, Partitions: 3, Bounded: true}
	e := run(t, w, joinProgram(t), cfg)
	check(e)
	if n := e.State().Totals.Dropped; n != 1 {
		t.Errorf("%d records dropped, want the one with a null key", n)
	}
	// Without the local directory the changelog is all there is: nothing is read again.
	w.db, w.log = newWorld().db, w.log.Reopen()
	w.log.Produce(record.TopicPartition{Topic: "orders", Partition: record.Partition(record.PartitionForKey([]byte("c1"), 3))},
		record.View{Timestamp: t0, Key: []byte("c1"), Value: []byte("again")})
	e = run(t, w, joinProgram(t), cfg)
	check(e)
	if n := e.State().Totals.RecordsIn; n != 1 {
		t.Errorf("%d records read, want the new order", n)
	}
	var out []string
	for p := range record.Partition(3) {
		for _, r := range w.log.Records(record.TopicPartition{Topic: "out", Partition: p}) {
			out = append(out, string(r.Value))
		}
	}
	if !slices.Equal(out, []string{"AGAIN/" + want["c1"]}) {
		t.Errorf("the join made %q of the restored table", out)
	}
}
