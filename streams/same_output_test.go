package streams_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
)

// Every topology of testdata gives its golden output wherever the engine's log is:
// embedded, on `millstream serve`, on Apache Kafka. A bounded run of the engine gets
// the inputs; connectors take the outputs.
//
// What is compared: of the window transcripts the lines, in their order, and how many
// records were late; what follows them is what the end of the input closes, and the
// same on every log. Of the programs of testdata/golden, which have more partitions,
// what each key got in its order; of results on commit, where the last one counts,
// the last. Their expected outputs come from the test driver, and, for timers, from a
// few lines of arithmetic.
//
// Time is that of the records: `advance` of a transcript is a record without a key,
// which moves stream time and is counted nowhere. `commit` and `restart` change no
// output; behind a `crash` the same inputs come again, which the log does by itself.

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

func TestIntegrationGoldenTopologiesGiveTheSameOnEveryLog(t *testing.T) {
	peers.NeedIntegration(t)
	goldensOnEveryLog(t, []golden{everyVerbGolden(), timersGolden(), transcriptGolden(t, "testdata/window/hopping.txt")})
}

func TestTortureGoldenTopologiesGiveTheSameOnEveryLog(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	goldens, left := allGoldens(t)
	goldensOnEveryLog(t, goldens)
	t.Logf("%d golden topologies on every log, %d left out", len(goldens), left)
}

// The goldens are found, not listed; on an embedded log they run always.
func TestGoldenTopologiesOnTheEngine(t *testing.T) {
	goldens, _ := allGoldens(t)
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) { g.check(t, g.run(t, "embedded:"+t.TempDir())) })
	}
}

// noGoldenOnALog are the transcripts that no log can carry, and why.
var noGoldenOnALog = map[string]string{
	"late_by_carried_time": "its records carry stream times of an upstream task, which only a repartition topic's writer gives them (downstream.txt has a real one)",
	"negative_times":       "its record of -1 ms is, in Kafka's format, one without a timestamp",
}

func allGoldens(t *testing.T) (goldens []golden, left int) {
	files, err := filepath.Glob("testdata/window/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("found no transcript", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		if why := noGoldenOnALog[name]; why != "" {
			t.Logf("%s is left out: %s", name, why)
			left++
			continue
		}
		goldens = append(goldens, transcriptGolden(t, f))
	}
	return append(goldens, everyVerbGolden(), timersGolden()), left
}

func goldensOnEveryLog(t *testing.T, goldens []golden) {
	kafka, serve := peers.NeedKafkaBroker(t), peers.StartServe(t)
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			want := g.run(t, "embedded:"+t.TempDir())
			g.check(t, want)
			for where, addr := range map[string]string{"Apache Kafka": kafka.Addr(), "millstream serve": serve.Addr()} {
				peers.EmptyCluster(t, addr)
				got := g.run(t, "kafka://"+addr)
				g.check(t, got)
				if a, b := differing(g.shown(got), g.shown(want)); a != b {
					t.Errorf("on %s:\n%s\nand on an embedded log:\n%s", where, a, b)
				}
			}
			t.Logf("%d records, the same on every log", want.records())
		})
	}
}

// golden is a topology of testdata with inputs and what they must give.
type golden struct {
	name       string
	program    func() *streams.Builder
	partitions int32
	topics     map[string]int32 // partitions of single ones
	in         map[string][]connectors.Out
	out        []string
	onCommit   []string // of out: topics of results on commit
	wants      func(t *testing.T, got outputs)
}

func (g *golden) check(t *testing.T, got outputs) {
	t.Helper()
	if got.records() == 0 {
		t.Error("nothing came out")
	}
	g.wants(t, got)
}

// outputs are what a run gave: records by topic, in the order of their partitions.
type outputs struct {
	by   map[string][]sent
	late int64
}

func (o outputs) records() (n int) {
	for _, of := range o.by {
		n += len(of)
	}
	return n
}

// perKey are the values and times that each key of a topic got; the last one only,
// if the topic has results on commit.
func (g *golden) perKey(of []sent, topic string) map[string][]string {
	keys := map[string][]string{}
	for _, r := range of {
		k := fmt.Sprintf("%d %q", r.partition, r.Key)
		if slices.Contains(g.onCommit, topic) {
			keys[k] = nil
		}
		keys[k] = append(keys[k], fmt.Sprintf("%q @%d", r.Value, r.Timestamp))
	}
	return keys
}

// shown are outputs as text.
func (g *golden) shown(o outputs) string {
	var text strings.Builder
	for _, topic := range g.out {
		keys := g.perKey(o.by[topic], topic)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			fmt.Fprintf(&text, "%s-%s: %s\n", topic, k, strings.Join(keys[k], ", "))
		}
	}
	fmt.Fprintf(&text, "late: %d", o.late)
	return text.String()
}

// differing are the lines of each text that are not in the other.
func differing(a, b string) (onlyA, onlyB string) {
	without := func(a, b []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) }), "\n")
	}
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	return without(as, bs), without(bs, as)
}

// run gives the inputs to the engine on a log and returns what comes out.
func (g *golden) run(t *testing.T, log string) outputs {
	t.Helper()
	topo, err := g.program().Build()
	if err != nil {
		t.Fatal(err)
	}
	got := outputs{by: map[string][]sent{}}
	var late atomic.Int64
	cfg := engine.Config{
		Log: log, InMemoryState: true, Partitions: g.partitions, Bounded: true, CommitInterval: 20 * time.Millisecond, Workers: 2,
		Hooks:  engine.Hooks{Late: func(_ string, n int64) { late.Add(n) }},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for topic, in := range g.in {
		cfg.Sources = append(cfg.Sources, engine.Source{Name: topic, Topic: topic, Partitions: g.topics[topic], Source: &allAtOnce{in}})
	}
	var sinks []*kept
	for _, topic := range g.out {
		s := &kept{}
		sinks = append(sinks, s)
		cfg.Sinks = append(cfg.Sinks, engine.Sink{Name: topic, Topic: topic, Sink: s})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := engine.New(topo, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Run(ctx), ctx.Err(), e.Close()); err != nil {
		t.Fatal(err)
	}
	for i, topic := range g.out {
		got.by[topic] = sinks[i].records
	}
	got.late = late.Load()
	return got
}

// allAtOnce is a source whose records are all there; it is never resumed.
type allAtOnce struct{ records []connectors.Out }

func (s *allAtOnce) Open(context.Context, connectors.SourceContext, []byte) error { return nil }
func (s *allAtOnce) Position() []byte                                             { return []byte("read") }
func (s *allAtOnce) Close() error                                                 { return nil }
func (s *allAtOnce) Read(_ context.Context, out *connectors.Batch) error {
	for _, r := range s.records {
		out.Add(r)
	}
	return io.EOF
}

// kept is a sink that keeps what it gets. Its goroutine has ended when it is read.
type kept struct{ records []sent }

func (s *kept) Open(context.Context, connectors.SinkContext) error { return nil }
func (s *kept) Close() error                                       { return nil }
func (s *kept) Write(_ context.Context, records []connectors.Record) error {
	for _, r := range records {
		s.records = append(s.records, sent{
			Record:    processor.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Timestamp: r.Timestamp},
			topic:     r.Topic,
			partition: int32(r.Partition),
		})
	}
	return nil
}

// transcriptGolden makes inputs of a transcript's commands, and an expectation of
// the lines below them.
func transcriptGolden(t *testing.T, file string) golden {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := golden{name: strings.TrimSuffix(filepath.Base(file), ".txt"), partitions: 1, out: []string{"out"}}
	type point struct {
		in   []connectors.Out
		want []string
		late int64
	}
	var program string
	var now, committed point
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "  late "):
			now.late++
		case strings.HasPrefix(line, "  "):
			now.want = append(now.want, line[2:])
		case len(words) == 0 || words[0][0] == '#':
		case words[0] == "program":
			program = strings.TrimPrefix(line, "program ")
		case words[0] == "commit", words[0] == "restart":
			committed = now
		case words[0] == "crash":
			now = committed
		default:
			r := connectors.Out{Value: []byte("x"), Timestamp: must(time.ParseDuration(words[1])).Milliseconds()}
			if words[0] != "advance" {
				r.Key = []byte(words[0])
			}
			now.in = append(slices.Clip(now.in), r)
		}
		now.want = slices.Clip(now.want)
	}
	g.program = func() *streams.Builder { return windowProgram(t, program) }
	g.in = map[string][]connectors.Out{"in": now.in}
	if strings.HasSuffix(program, " commit") {
		g.onCommit = g.out
	}
	g.wants = func(t *testing.T, got outputs) {
		t.Helper()
		given := lines[string, int64](&driver{out: got.by["out"]}, "out")
		if g.onCommit != nil { // how many there are depends on the commits: the last of each key counts
			given, now.want = lastOfEach(given), lastOfEach(now.want)
		}
		if len(given) < len(now.want) || !slices.Equal(given[:len(now.want)], now.want) {
			t.Errorf("got\n%s\nand in %s stands\n%s", strings.Join(given, "\n"), file, strings.Join(now.want, "\n"))
		}
		if got.late != now.late {
			t.Errorf("%d records were late, in %s it is %d", got.late, file, now.late)
		}
	}
	return g
}

// lastOfEach keeps the last line of each key, in the order of the keys.
func lastOfEach(lines []string) (last []string) {
	by := map[string]string{}
	for _, l := range lines {
		key, _, _ := strings.Cut(l, " = ")
		by[key] = l
	}
	return slices.Sorted(maps.Values(by))
}

// timersGolden is the topology of golden/process.txt, with a history of commands.
func timersGolden() golden {
	program := func() *streams.Builder {
		return timersProgram(true, streams.WaitForAll(), streams.EndOfInput(streams.Tumbling(time.Minute)), streams.KeepLate(), streams.Detail("orders"))
	}
	history := commands(rand.New(rand.NewPCG(7, 7)), 300, 10)
	var in []connectors.Out
	for _, c := range history {
		in = append(in, connectors.Out{Key: []byte(c.key), Value: []byte(c.text), Timestamp: c.at, Partition: -1})
	}
	g := golden{name: "process", program: program, partitions: 2, in: map[string][]connectors.Out{"in": in}, out: []string{"out"}}
	g.wants = func(t *testing.T, got outputs) { g.asInTheDriver(t, got) }
	return g
}

// everyVerbGolden is the topology of golden/describe.txt, but for the table that it
// joins last: as it stands there the engine refuses it, because it would wait for
// itself.
func everyVerbGolden() golden {
	rng := rand.New(rand.NewPCG(8, 8))
	in := map[string][]connectors.Out{}
	put := func(topic, key, value string, at int64) {
		in[topic] = append(in[topic], connectors.Out{Key: []byte(key), Value: []byte(value), Timestamp: at, Partition: -1})
	}
	for i := range 40 { // the event time of lines and names is their length; x and y share none, and so no group
		put("in", string(rune('a'+rng.IntN(4))), strings.Repeat("x", 10+3*i+rng.IntN(5)), 0)
		put("bytes", string(rune('p'+rng.IntN(3))), strings.Repeat("y", rng.IntN(5)), int64(3*i))
	}
	for i, name := range []string{"a", "b", "p", "xxxx", "yyy", "a", "yy"} {
		put("names", name, strings.Repeat("n", 10*i+1), 0)
	}
	for i := range 12 { // texts that the first join makes
		put("texts", strings.Repeat("x", 10+i)+"n", strings.Repeat("t", i), int64(5*i))
	}
	g := golden{name: "every-verb", program: func() *streams.Builder { return everyVerb(true) }, partitions: 8, in: in,
		out:      []string{"out", "counts", "lists", "joined", "named", "windowed", "last"},
		onCommit: []string{"counts", "lists", "named", "last"}}
	g.wants = func(t *testing.T, got outputs) { g.asInTheDriver(t, got) }
	return g
}

// asInTheDriver checks that outputs are those of the test driver for the same inputs.
func (g *golden) asInTheDriver(t *testing.T, got outputs) {
	t.Helper()
	d := streamstest.New(t, must(g.program().Build()), streamstest.Options{Partitions: g.partitions, Engine: engine.Config{Bounded: true}})
	for topic, in := range g.in {
		input := streamstest.InputWith[[]byte, []byte](d, topic, serde.Bytes(), serde.Bytes())
		for _, r := range in {
			input.SendRaw(r.Key, r.Value, time.UnixMilli(r.Timestamp))
		}
	}
	d.End()
	want := outputs{by: map[string][]sent{}, late: got.late}
	for _, topic := range g.out {
		for _, r := range streamstest.OutputWith[[]byte, []byte](d, topic, serde.Bytes(), serde.Bytes()).ReadAll() {
			want.by[topic] = append(want.by[topic], sent{Record: processor.Record{Key: r.Key, Value: r.Value, Timestamp: r.Time.UnixMilli()}, topic: topic, partition: r.Partition})
		}
	}
	if a, b := differing(g.shown(got), g.shown(want)); a != b {
		t.Errorf("got\n%s\nand in the test driver\n%s", a, b)
	}
}
