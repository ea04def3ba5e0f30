package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// A bounded join against a fold that merges the input in a few lines that use
// nothing of ours: random times, in order or not, many equal; random partitions,
// workers, sources, faults and crashes.

// joinCase is one random program and its input.
type joinCase struct {
	seed                   uint64
	partitions             int32
	shuffled               bool // orders are not keyed by customer: they go through a repartition topic
	tableShuffled          bool // customers neither
	left                   bool
	sources                bool    // connectors bring the input while the program runs
	orders, customers      [][]rec // by partition
	workers, chunk, faults int
}

// rec is a record of the input. id is the customer; an order's value is its
// number, a customer's its name, "" for a tombstone.
type rec struct {
	at    int64
	id    string
	value string
}

func newJoinCase(seed uint64) *joinCase {
	r := rand.New(rand.NewPCG(seed, 77))
	c := &joinCase{
		seed: seed, partitions: 1 + r.Int32N(4), workers: 1 + r.IntN(3), chunk: 1 + r.IntN(40),
		shuffled: r.IntN(3) > 0, left: r.IntN(2) == 0, sources: r.IntN(2) == 0, faults: r.IntN(3),
	}
	c.tableShuffled = c.shuffled && r.IntN(3) == 0
	back := r.IntN(3) * 40 // how far times go back
	part := func(id string, shuffled bool) int32 {
		if shuffled {
			return r.Int32N(max(c.partitions-r.Int32N(2), 1)) // a partition may stay empty
		}
		return int32(record.PartitionForKey([]byte(id), c.partitions))
	}
	make := func(n, step int, shuffled bool, value func(i int) string) [][]rec {
		out, at := make([][]rec, c.partitions), t0
		for i := range n {
			at += int64(r.IntN(step))
			x := rec{at: at - int64(r.IntN(1+back)), id: fmt.Sprintf("c%d", r.IntN(12)), value: value(i)}
			p := part(x.id, shuffled)
			out[p] = append(out[p], x)
		}
		return out
	}
	pad := "" // so that what waits in a merge is more than may be held
	if seed%5 == 0 {
		pad = strings.Repeat("x", 12_000)
	}
	c.orders = make(300, 4, c.shuffled, func(i int) string { return fmt.Sprint(i) + pad })
	c.customers = make(60, 20, c.tableShuffled, func(i int) string {
		if r.IntN(5) == 0 {
			return ""
		}
		return fmt.Sprintf("name%d", i)
	})
	return c
}

func (c *joinCase) String() string {
	return fmt.Sprintf("seed %d: %d partitions, %d workers, shuffled %v %v, left %v, sources %v", c.seed, c.partitions, c.workers, c.shuffled, c.tableShuffled, c.left, c.sources)
}

func (c *joinCase) program(t testing.TB) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	orders := b.From[string, string]("orders")
	if c.shuffled {
		orders = orders.Map(func(_, v string) (string, string) { id, n, _ := strings.Cut(v, "="); return id, n })
	}
	var customers *streams.Table[string, string]
	if c.tableShuffled {
		// A tombstone goes through as a value that the table's filter hides.
		customers = b.From[string, string]("customers").
			Map(func(_, v string) (string, string) { id, name, _ := strings.Cut(v, "="); return id, name }).
			ToTable(streams.Store("customers")).Filter(func(_, name string) bool { return name != "" })
	} else {
		customers = b.Table[string, string]("customers", streams.Store("customers"))
	}
	var out *streams.Stream[string, string]
	if c.left {
		out = orders.LeftJoin(customers, func(_, n, name string, ok bool) string {
			if !ok {
				name = "unknown"
			}
			return n + " " + name
		})
	} else {
		out = orders.Join(customers, func(_, n, name string) string { return n + " " + name })
	}
	out.To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// encode makes a record of the input: keyed by customer, or not.
func (x rec) encode(shuffled, table bool) record.View {
	v := record.View{Timestamp: x.at, Key: []byte(x.id), Value: []byte(x.value), Headers: []record.Header{{Key: "of-" + x.id, Value: []byte(x.value)}}}
	switch {
	case shuffled:
		v.Key, v.Value = nil, []byte(x.id+"="+x.value)
	case table && x.value == "":
		v.Value = nil
	}
	return v
}

// item is a record in one of the sequences that the fold merges.
type item struct {
	rec
	order int64 // its time in the merge
}

// want is the fold: per partition of the output, its values in order.
func (c *joinCase) want() [][]string {
	out := make([][]string, c.partitions)
	for p := range c.partitions {
		var seqs [][]item // in the order in which they go first at equal times
		seqs = append(seqs, c.sequences(c.customers, p, c.tableShuffled)...)
		tables := len(seqs)
		seqs = append(seqs, c.sequences(c.orders, p, c.shuffled)...)
		names := map[string]string{}
		for {
			first := -1
			for i, s := range seqs {
				if len(s) > 0 && (first < 0 || s[0].order < seqs[first][0].order) {
					first = i
				}
			}
			if first < 0 {
				break
			}
			x := seqs[first][0]
			seqs[first] = seqs[first][1:]
			switch name, ok := names[x.id], names[x.id] != ""; {
			case first < tables:
				names[x.id] = x.value
			case ok:
				out[p] = append(out[p], fmt.Sprintf("%s: %s %s of-%[1]s=%[2]s", x.id, x.value, name))
			case c.left:
				out[p] = append(out[p], fmt.Sprintf("%s: %s unknown of-%[1]s=%[2]s", x.id, x.value))
			}
		}
	}
	return out
}

// sequences are what partition p of a join gets: one topic partition, or what each
// partition upstream sends there, at the stream time at which that was read.
func (c *joinCase) sequences(topic [][]rec, p int32, shuffled bool) (seqs [][]item) {
	if !shuffled {
		var s []item
		for _, x := range topic[p] {
			s = append(s, item{x, x.at})
		}
		return [][]item{s}
	}
	for _, from := range topic {
		var s []item
		latest := int64(0)
		for _, x := range from {
			latest = max(latest, x.at)
			if int32(record.PartitionForKey([]byte(x.id), c.partitions)) == p {
				s = append(s, item{x, latest})
			}
		}
		seqs = append(seqs, s)
	}
	return seqs
}

// recs is a source of records in turns of the partitions, at random.
type recs struct {
	all   []connectors.Out
	next  int
	chunk int
}

func (s *recs) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	s.next = 0
	if len(position) == 8 {
		s.next = int(binary.BigEndian.Uint64(position))
	}
	return nil
}

func (s *recs) Read(ctx context.Context, out *connectors.Batch) error {
	for range s.chunk {
		if s.next == len(s.all) {
			return io.EOF
		}
		out.Add(s.all[s.next])
		s.next++
	}
	return ctx.Err()
}

func (s *recs) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(s.next)) }
func (s *recs) Close() error     { return nil }

func (c *joinCase) source(topic [][]rec, shuffled, table bool) *recs {
	r := rand.New(rand.NewPCG(c.seed, 3))
	s, at := &recs{chunk: c.chunk}, make([]int, len(topic))
	for {
		var left []int
		for p := range topic {
			if at[p] < len(topic[p]) {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return s
		}
		p := left[r.IntN(len(left))]
		for range min(1+r.IntN(60), len(topic[p])-at[p]) { // one partition may be far ahead of the others
			v := topic[p][at[p]].encode(shuffled, table)
			s.all = append(s.all, connectors.Out{Key: v.Key, Value: v.Value, Headers: v.Headers, Timestamp: v.Timestamp, Partition: record.Partition(p)})
			at[p]++
		}
	}
}

func (c *joinCase) config() engine.Config {
	cfg := engine.Config{Workers: c.workers, Partitions: c.partitions, Bounded: true,
		CommitInterval:     []time.Duration{1, time.Millisecond}[c.seed%2], // after each step, or seldom
		CheckpointInterval: 4 * time.Millisecond, CacheBytes: 1 << 12}
	if c.sources {
		cfg.Sources = []engine.Source{
			{Name: "orders", Topic: "orders", Source: c.source(c.orders, c.shuffled, false)},
			{Name: "customers", Topic: "customers", Source: c.source(c.customers, c.tableShuffled, true)},
		}
	}
	return cfg
}

// load makes the topics and, without sources, fills them.
func (c *joinCase) load(t testing.TB, l *memlog.Log) {
	t.Helper()
	for name, topic := range map[string][][]rec{"orders": c.orders, "customers": c.customers, "out": nil} {
		if _, err := l.Ensure(t.Context(), []logclient.TopicSpec{{Name: name, Partitions: c.partitions}}); err != nil {
			t.Fatal(err)
		}
		if c.sources {
			continue
		}
		for p, rs := range topic {
			for _, x := range rs {
				shuffled := name == "orders" && c.shuffled || name == "customers" && c.tableShuffled
				l.Produce(record.TopicPartition{Topic: name, Partition: record.Partition(p)}, x.encode(shuffled, name == "customers"))
			}
		}
	}
}

func (c *joinCase) got(l *memlog.Log) [][]string {
	out := make([][]string, c.partitions)
	for p := range out {
		for _, r := range l.Records(record.TopicPartition{Topic: "out", Partition: record.Partition(p)}) {
			line := string(r.Key) + ": " + string(r.Value)
			for _, h := range r.Headers {
				line += " " + h.Key + "=" + string(h.Value)
			}
			out[p] = append(out[p], line)
		}
	}
	return out
}

func (c *joinCase) compare(t *testing.T, l *memlog.Log) {
	t.Helper()
	got, want := c.got(l), c.want()
	for p := range want {
		if slices.Equal(got[p], want[p]) {
			continue
		}
		at := 0
		for at < min(len(got[p]), len(want[p])) && got[p][at] == want[p][at] {
			at++
		}
		t.Errorf("%v: partition %d has %d results, want %d; from the %dth on they are\n%q\nwant\n%q", c, p, len(got[p]), len(want[p]), at,
			short(got[p][at:]), short(want[p][at:]))
	}
}

// short is the first lines without padding.
func short(lines []string) []string {
	lines = slices.Clone(lines[:min(5, len(lines))])
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "xxx", "")
	}
	return lines
}

func TestABoundedJoinIsTheMergeByTime(t *testing.T) {
	for seed := range uint64(30) {
		c := newJoinCase(seed)
		w := newWorld()
		c.load(t, w.log)
		for i := range c.faults {
			w.log.FailNextCommit(logclient.TxnID(fmt.Sprintf("app-worker-%d", i%c.workers)), []memlog.CommitFault{memlog.FailBefore, memlog.FailUnavailable, memlog.FailAfter}[(i+int(seed))%3])
		}
		run(t, w, c.program(t), c.config())
		c.compare(t, w.log)
		if t.Failed() {
			return
		}
	}
}

func TestABoundedJoinOverCrashes(t *testing.T) {
	for seed := range uint64(20) {
		c := newJoinCase(1000 + seed)
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld()
		c.load(t, w.log)
		for range 3 {
			c.crash(t, w, 1+r.IntN(8), r)
		}
		run(t, w, c.program(t), c.config())
		c.compare(t, w.log)
		if t.Failed() {
			return
		}
	}
}

// crash runs an engine that dies at its nth commit, if it gets there.
func (c *joinCase) crash(t *testing.T, w *world, nth int, r *rand.Rand) {
	t.Helper()
	reached, dead := make(chan struct{}), make(chan struct{})
	var n atomic.Int64
	e, err := engine.NewOn(c.program(t), c.config(), w.backing())
	if err != nil {
		t.Fatal(err)
	}
	w.onCommit(func(logclient.TxnID) error {
		if k := n.Add(1); k < int64(nth) {
			return nil
		} else if k == int64(nth) {
			close(reached)
		}
		<-dead
		return errors.New("the process died here")
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx); close(ended) })
	select {
	case <-reached:
	case <-ended: // it had nothing left to do
	}
	w.onCommit(nil)
	w.db = w.db.CrashClone(r.IntN(w.db.Pending() + 1))
	switch r.IntN(3) {
	case 0:
		w.log = w.log.Crash(nil)
	case 1:
		w.log, w.db = w.log.Reopen(), memstore.New(0) // the local directory is lost
	default:
		w.log = w.log.Reopen()
	}
	close(dead)
	cancel()
	wg.Wait()
}
