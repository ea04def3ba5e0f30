package metrics_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/runtime/metrics"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

const (
	inputs     = 3000
	partitions = 2
	windowMS   = 5_000
	graceMS    = 1_000
	t0         = int64(1_700_000_000_000)
)

// input is record i: every 19th is refused by the source, every 13th has a value
// that does not decode, every 17th is a minute early.
func input(i int) connectors.Out {
	o := connectors.Out{Partition: record.Partition(i % partitions), Timestamp: t0 + int64(i)*50,
		Key: fmt.Appendf(nil, "key-%d", i%10), Value: binary.BigEndian.AppendUint64(nil, uint64(i))}
	if i%17 == 16 {
		o.Timestamp -= 60_000
	}
	if i%13 == 12 {
		o.Value = []byte("bad")
	}
	if i%19 == 18 {
		o.DeadLetter = "refused"
	}
	return o
}

// counted is what the counters shall say: a fold in nothing of ours.
type counted struct {
	refused, in, bytesIn, bad, late, windows, windowBytes, keys int64
}

func count() (c counted) {
	var latest [partitions]int64
	windows, keys := map[string]bool{}, map[string]bool{}
	for i := range inputs {
		o := input(i)
		if o.DeadLetter != "" {
			c.refused++
			continue
		}
		c.in++
		c.bytesIn += int64(len(o.Key) + len(o.Value))
		p := i % partitions
		latest[p] = max(latest[p], o.Timestamp) // a value that does not decode has a time all the same
		if len(o.Value) != 8 {
			c.bad++
			continue
		}
		keys[string(o.Key)] = true
		start := o.Timestamp - o.Timestamp%windowMS
		if latest[p] >= start+windowMS+graceMS {
			c.late++
			continue
		}
		windows[fmt.Sprintf("%s@%d", o.Key, start)] = true
	}
	for k := range windows {
		c.windowBytes += int64(len(k) + 8)
	}
	c.windows, c.keys = int64(len(windows)), int64(len(keys))
	return c
}

func program(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("metered")
	s := b.From[string, int64]("in").Filter(func(_ string, v int64) bool { return v >= 0 })
	s.GroupByKey().Count(streams.Store("totals"))
	s.GroupByKey().
		Windowed(streams.Tumbling(windowMS*time.Millisecond).Grace(graceMS*time.Millisecond)).
		Count(streams.Store("windows"), streams.EmitOnClose(), streams.KeepLate()).
		ToStream(func(k string, w streams.Window) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// numbers is the source; its position is the number of records read.
type numbers struct{ next int }

func (n *numbers) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	n.next = 0
	if len(position) == 8 {
		n.next = int(binary.BigEndian.Uint64(position))
	}
	return nil
}

func (n *numbers) Read(_ context.Context, out *connectors.Batch) error {
	for range 100 {
		if n.next == inputs {
			return io.EOF
		}
		out.Add(input(n.next))
		n.next++
	}
	return nil
}
func (n *numbers) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(n.next)) }
func (n *numbers) Close() error     { return nil }

// discard is the sink.
type discard struct{}

func (discard) Open(context.Context, connectors.SourceContext) error { return nil }
func (discard) Write(context.Context, []connectors.Record) error     { return nil }
func (discard) Close() error                                         { return nil }

// scrape is what /metrics says: the sum of a metric's samples whose labels hold
// the given ones, and how many samples those are.
type scrape string

func (s scrape) sum(t *testing.T, name string, labels ...string) (sum float64, samples int) {
	t.Helper()
lines:
	for line := range strings.Lines(string(s)) {
		rest, ok := strings.CutPrefix(line, "millstream_"+name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		sum += v
		samples++
	}
	return sum, samples
}

// failing is a log that fails the source's first commit and the first worker's
// second: what is done twice shall count once.
func failing() (log *memlog.Log) {
	var once sync.Once
	log = memlog.New(memlog.Config{BeforeCommit: func(id logclient.TxnID, _ logclient.Positions) error {
		if id == "metered-worker-0" {
			once.Do(func() { log.FailNextCommit(id, memlog.FailBefore) }) // not this one, whose turn it is
		}
		return nil
	}})
	log.FailNextCommit("metered-source-numbers", memlog.FailBefore)
	return log
}

func TestCountersAgreeWithTheFoldOfTheInput(t *testing.T) {
	want := count()
	if want.refused == 0 || want.bad == 0 || want.late == 0 || want.windows == 0 {
		t.Fatalf("the fold lacks something: %+v", want)
	}
	m := metrics.New()
	log := failing()
	e, err := engine.NewOn(program(t), engine.Config{
		Workers: 2, Partitions: partitions, Bounded: true, CommitInterval: time.Millisecond, CheckpointInterval: time.Hour,
		Sources: []engine.Source{{Name: "numbers", Topic: "in", Source: &numbers{}}},
		Sinks:   []engine.Sink{{Name: "discard", Topic: "out", Sink: discard{}}},
		Hooks:   m.Hooks(),
	}, engine.Backing{Log: log, DB: memstore.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Run(ctx); err != nil || ctx.Err() != nil {
		t.Fatalf("Run: %v, %v", err, ctx.Err())
	}
	w := httptest.NewRecorder()
	m.Handler(e).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	got := scrape(w.Body.String())
	totals := e.State().Totals
	for _, c := range []struct {
		name   string
		labels []string
		want   int64
	}{
		{"source_records_total", []string{`source="numbers"`}, want.in},
		{"records_in_total", []string{`topic="in"`}, want.in},
		{"bytes_in_total", []string{`topic="in"`}, want.bytesIn},
		{"records_out_total", []string{`topic="out"`}, want.windows},
		{"bytes_out_total", []string{`topic="out"`}, want.windowBytes},
		{"late_records_total", nil, want.late},
		{"dead_letters_total", []string{`stage="task"`}, want.bad + want.late},
		{"dead_letters_total", []string{`stage="numbers"`}, want.refused},
		{"dead_letters_total", nil, want.bad + want.late + want.refused},
		{"sink_records_total", []string{`sink="discard"`}, want.windows},
		{"lag_records", []string{`topic="in"`}, 0},
		{"connector_errors_total", []string{`connector="numbers"`}, 1},
		{"connector_errors_total", nil, 1},
		{"commit_errors_total", nil, 1},
		{"commit_seconds_count", nil, totals.Commits + 1},
		{"checkpoint_entries_total", nil, want.keys}, // the last checkpoint: closed windows are gone
		{"checkpoint_seconds_count", nil, partitions},
	} {
		sum, samples := got.sum(t, c.name, c.labels...)
		if int64(sum) != c.want || (samples == 0 && c.want != 0) {
			t.Errorf("millstream_%s%v is %v in %d samples, the fold says %d", c.name, c.labels, sum, samples, c.want)
		}
	}
	// A cache holds what was used since the task began anew, never more than there is.
	if n, _ := got.sum(t, "store_entries"); n <= 0 || int64(n) > want.keys {
		t.Errorf("millstream_store_entries is %v, want some of the %d keys", n, want.keys)
	}
	for _, name := range []string{"store_bytes", "cache_hits", "end_to_end_seconds_count", "sink_write_seconds_count"} {
		if sum, _ := got.sum(t, name); sum <= 0 {
			t.Errorf("millstream_%s is %v after a run", name, sum)
		}
	}
	if _, n := got.sum(t, "checkpoint_age_seconds"); n != partitions {
		t.Errorf("%d tasks have a checkpoint's age, want %d", n, partitions)
	}
	if totals.RecordsIn != want.in || totals.Late != want.late || totals.DeadLettered != want.bad+want.late+want.refused {
		t.Errorf("State says %+v, the fold %+v", totals, want)
	}
}
