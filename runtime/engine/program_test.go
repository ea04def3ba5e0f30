package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
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
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// line is one record of the tests' input: "<host> <word>".
type line struct {
	at   int64
	text string
}

const t0 = int64(1_700_000_000_000) // a multiple of 1000, not of a minute

// lines makes n lines in time order, a few per second, from some hosts.
func lines(n int, seed uint64) []line {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]line, n)
	at := t0
	for i := range out {
		at += int64(r.IntN(400))
		word := "fine"
		if r.IntN(3) == 0 {
			word = "bad"
		}
		out[i] = line{at: at, text: fmt.Sprintf("host-%02d %s", r.IntN(17), word)}
	}
	return out
}

const windowMS = 10_000

// fold is what the program shall compute, in a few lines that use nothing of ours.
func fold(in []line) map[string]int64 {
	counts := map[string]int64{}
	for _, l := range in {
		if host, bad := strings.CutSuffix(l.text, " bad"); bad {
			counts[fmt.Sprintf("%s@%d", host, l.at-l.at%windowMS)]++
		}
	}
	return counts
}

// countProgram counts bad lines per host and window, through a repartition topic.
func countProgram(t testing.TB, opts ...func(string)) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	s := b.From[string, string]("lines")
	s.Peek(func(_, v string) {
		for _, f := range opts {
			f(v)
		}
	}).
		Filter(func(_, v string) bool { return strings.HasSuffix(v, " bad") }).
		GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host }).
		Windowed(streams.Tumbling(windowMS*time.Millisecond)).
		Count(streams.Store("counts"), streams.EmitOnClose()).
		ToStream(func(k string, w streams.Window) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// slice is a source of lines whose position is the number of lines read.
type slice struct {
	lines     []line
	next      int
	chunk     int
	partition int // 0: in turn
	limit     int // of the lines that are there so far: Read waits; 0: all are
}

func (s *slice) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	s.next = 0
	if len(position) == 8 {
		s.next = int(binary.BigEndian.Uint64(position))
	}
	return nil
}

func (s *slice) Read(ctx context.Context, out *connectors.Batch) error {
	if s.limit > 0 && s.next >= s.limit {
		<-ctx.Done()
		return ctx.Err()
	}
	for range max(s.chunk, 1) {
		if s.next == len(s.lines) {
			return io.EOF
		}
		l := s.lines[s.next]
		p := record.Partition(-1)
		if s.partition > 0 {
			p = record.Partition(s.partition)
		}
		out.Add(connectors.Out{Value: []byte(l.text), Timestamp: l.at, Partition: p})
		s.next++
	}
	return ctx.Err()
}

func (s *slice) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(s.next)) }
func (s *slice) Close() error     { return nil }

// world is a log and a database that outlive engines.
type world struct {
	log *memlog.Log
	db  *memstore.DB

	mu           sync.Mutex
	beforeCommit func(id logclient.TxnID) error // of the log
}

func newWorld() *world {
	w := &world{db: memstore.New(3)}
	w.log = memlog.New(memlog.Config{BatchBytes: 512, BeforeCommit: func(id logclient.TxnID, _ logclient.Positions) error {
		w.mu.Lock()
		f := w.beforeCommit
		w.mu.Unlock()
		if f == nil {
			return nil
		}
		return f(id)
	}})
	return w
}

func (w *world) onCommit(f func(id logclient.TxnID) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beforeCommit = f
}

func (w *world) backing() engine.Backing { return engine.Backing{Log: w.log, DB: w.db} }

func config(in []line, partitions int32, workers int) engine.Config {
	return engine.Config{
		Workers: workers, Partitions: partitions, Bounded: true, CommitInterval: 2 * time.Millisecond, CheckpointInterval: 10 * time.Millisecond,
		Sources: []engine.Source{{Name: "lines", Topic: "lines", Source: &slice{lines: in, chunk: 50}}},
	}
}

// output reads a topic of counts; a key that occurs twice is reported.
func output(t testing.TB, log *memlog.Log, topic string) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	infos, err := log.Describe(t.Context(), []string{topic})
	if err != nil {
		t.Fatal(err)
	}
	for p := range infos[0].Partitions {
		for _, r := range log.Records(record.TopicPartition{Topic: topic, Partition: record.Partition(p)}) {
			if _, twice := got[string(r.Key)]; twice {
				t.Errorf("%s: window %s was emitted twice", topic, r.Key)
			}
			got[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
		}
	}
	return got
}

func same(t testing.TB, got, want map[string]int64) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	n := 0
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] && n < 10 {
			t.Errorf("%s: %d, want %d", k, got[k], want[k])
			n++
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok && n < 20 {
			t.Errorf("%s: %d, which the fold does not have", k, got[k])
			n++
		}
	}
	t.Errorf("%d windows, want %d", len(got), len(want))
}

func run(t testing.TB, w *world, topo *topology.Topology, cfg engine.Config) *engine.Engine {
	t.Helper()
	e, err := engine.NewOn(topo, cfg, w.backing())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Run(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
	if ctx.Err() != nil {
		t.Fatalf("the run did not end by itself: %+v", e.State())
	}
	return e
}
