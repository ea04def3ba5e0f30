package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

func TestOnPanicPutsOneRecordAsideAndGoesOn(t *testing.T) {
	for _, action := range []string{"dead-letter", "skip"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld()
			in := lines(200, 1)
			poison, bad := "web-0 bad", int64(0)
			for _, l := range in {
				if strings.HasSuffix(l.text, " bad") {
					poison = l.text // the last one that counts
				}
			}
			rest := slices.DeleteFunc(slices.Clone(in), func(l line) bool {
				if l.text == poison {
					bad++
				}
				return l.text == poison
			})
			cfg := config(in, 2, 2)
			cfg.OnPanic = action
			e, err := engine.NewOn(countProgram(t, func(v string) {
				if v == poison {
					panic("boom")
				}
			}), cfg, w.backing())
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Run(t.Context()); err != nil {
				t.Fatalf("Run: %v; the record is to be put aside", err)
			}
			same(t, output(t, w.log, "out"), fold(rest))
			want := map[string]int64{"dead-letter": bad, "skip": 0}[action]
			if got := e.State().Totals.DeadLettered; got != want {
				t.Errorf("%d dead letters, expected %d", got, want)
			}
		})
	}
}

func TestOnPanicRetryProcessesTheRecordAgain(t *testing.T) {
	w := newWorld()
	in := lines(100, 1)
	cfg := config(in, 2, 2)
	cfg.OnPanic = "retry"
	var panics atomic.Int64
	run(t, w, countProgram(t, func(v string) {
		if v == in[30].text && panics.Add(1) <= 2 {
			panic("not yet")
		}
	}), cfg)
	same(t, output(t, w.log, "out"), fold(in))
	if panics.Load() < 3 {
		t.Errorf("the record was processed %d times, expected 3", panics.Load())
	}
}

// Also a record that a task merges with others, behind a repartition topic.
func TestOnPanicPutsARecordOfAMergedInputAside(t *testing.T) {
	w := newWorld()
	ensure(t, w, "customers", 1)
	ensure(t, w, "orders", 1)
	b := streams.NewBuilder("app")
	customers := b.Table[string, string]("customers", streams.Store("customers"))
	var calls atomic.Int64
	b.From[string, string]("orders").
		SelectKey(func(_, v string) string { return v }).
		LeftJoin(customers, func(_, v, _ string, _ bool) string {
			if v == "v1" && calls.Add(1) < 10 {
				panic("boom")
			}
			return v
		}).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w.log.Produce(record.TopicPartition{Topic: "orders"}, record.View{Timestamp: t0 + int64(i), Key: []byte("c"), Value: fmt.Appendf(nil, "v%d", i)})
	}
	e, err := engine.NewOn(topo, engine.Config{Workers: 1, Partitions: 1, Bounded: true, OnPanic: "dead-letter"}, w.backing())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.log.Records(record.TopicPartition{Topic: "out"})
	if len(got) != 2 || e.State().Totals.DeadLettered != 1 || calls.Load() > 3 {
		t.Errorf("%d records, %d dead letters, %d calls; expected 2, 1 and a few", len(got), e.State().Totals.DeadLettered, calls.Load())
	}
}
