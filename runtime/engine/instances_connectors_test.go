package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams/topology"
)

// shelf is what sources of several instances read: values that a test puts there,
// with positions by their number.
type shelf struct {
	mu     sync.Mutex
	values []string
	more   chan struct{}
	open   int // sources that are open
	most   int
}

func newShelf() *shelf { return &shelf{more: make(chan struct{})} }

func (s *shelf) put(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.values = append(s.values, fmt.Sprintf("value-%04d", len(s.values)))
	}
	close(s.more)
	s.more = make(chan struct{})
}

func (s *shelf) opened(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	s.most = max(s.most, s.open)
}

// shelfSource is a source of a shelf.
type shelfSource struct {
	shelf *shelf
	next  int
	in    bool
}

func (r *shelfSource) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	r.next = 0
	if len(position) == 8 {
		r.next = int(binary.BigEndian.Uint64(position))
	}
	r.in = true
	r.shelf.opened(1)
	return nil
}

func (r *shelfSource) Read(ctx context.Context, out *connectors.Batch) error {
	for {
		r.shelf.mu.Lock()
		left, more := r.shelf.values[r.next:], r.shelf.more
		r.shelf.mu.Unlock()
		if len(left) > 0 {
			for _, v := range left[:min(7, len(left))] {
				out.Add(connectors.Out{Key: []byte(v), Value: []byte(v), Timestamp: t0, Partition: -1})
				r.next++
			}
			return ctx.Err()
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *shelfSource) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(r.next)) }

func (r *shelfSource) Close() error {
	if r.in {
		r.in = false
		r.shelf.opened(-1)
	}
	return nil
}

// everywhere makes a source one that runs in every instance.
type everywhere struct{ *shelfSource }

func (everywhere) Ephemeral() {}

func sharedConfig() engine.Config {
	return engine.Config{
		Workers: 1, Partitions: 4, CommitInterval: 5 * time.Millisecond, CheckpointInterval: 20 * time.Millisecond, InMemoryState: true,
		Cluster: engine.Cluster{SessionTimeout: 2 * time.Second},
	}
}

// valuesOnce checks that a topic holds each value once.
func valuesOnce(t *testing.T, addr, topic string, want int) {
	t.Helper()
	got := map[string]int{}
	clusterRead(t, addr, topic, func(_, v []byte) { got[string(v)]++ })
	for v, n := range got {
		if n != 1 {
			t.Errorf("%s is %d times in %s", v, n, topic)
		}
	}
	if len(got) != want {
		t.Errorf("%s holds %d values, expected %d", topic, len(got), want)
	}
}

// A source with a position runs in one instance; when that stops, or is cut off
// until it is a zombie, another goes on where it stood.
func TestASourceMovesAndNothingIsLostOrRepeated(t *testing.T) {
	all := newShelf()
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(int) engine.Config {
		cfg := sharedConfig()
		cfg.Sources = []engine.Source{{Name: "shelf", Topic: "in", Source: &shelfSource{shelf: all}}}
		return cfg
	})
	topicOn(t, f.log(), "in", 4)
	read := func() (n int64, owner int) {
		owner = -1
		for i, in := range f.running {
			if s := in.State().Sources[0]; s.State == "running" {
				owner = i
				n = s.Records
			}
		}
		return n, owner
	}
	total := 0
	step := func(what string) int {
		f.t.Helper()
		before, at := read()
		all.put(100)
		total += 100
		f.eventually(what, func() bool {
			n, owner := read()
			return owner >= 0 && (owner != at && n > 0 || owner == at && n >= before+100)
		})
		_, owner := read()
		return owner
	}
	f.start(0)
	f.start(1)
	owner := step("the source runs")
	f.eventually("the instance that does not run the source is ready", func() bool { return f.running[1-owner].Ready() == nil })
	f.stop(owner)
	owner = step("the source runs in the other instance")
	f.start(1 - owner)
	step("the source runs on, in either")
	_, owner = read()
	f.start(2)
	f.kill(owner)
	step("the source runs after its owner was killed")
	f.stopAll()
	if all.most > 2 { // one that was killed may hold on for a moment
		t.Errorf("%d sources were open at once", all.most)
	}
	valuesOnce(t, f.addr, "in", total)
}

// An ephemeral source runs in every instance, each with a position of its own.
func TestAnEphemeralSourceRunsInEveryInstance(t *testing.T) {
	shelves := []*shelf{newShelf(), newShelf()}
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(n int) engine.Config {
		cfg := sharedConfig()
		cfg.Sources = []engine.Source{{Name: "socket", Topic: "in", Source: everywhere{&shelfSource{shelf: shelves[n]}}}}
		return cfg
	})
	topicOn(t, f.log(), "in", 4)
	for n, s := range shelves {
		f.start(n)
		s.put(50 * (n + 1))
	}
	f.eventually("both have read what is theirs", func() bool {
		return f.running[0].State().Sources[0].Records == 50 && f.running[1].State().Sources[0].Records == 100
	})
	f.stopAll()
	got := 0
	clusterRead(t, f.addr, "in", func(_, _ []byte) { got++ })
	if got != 150 {
		t.Errorf("%d records, expected 150", got)
	}
}

// tally is where the sinks of all instances write.
type tally struct {
	mu  sync.Mutex
	got map[string]int
	by  map[int]int
}

type tallySink struct {
	*tally
	n int
}

func (s tallySink) Open(context.Context, connectors.SinkContext) error { return nil }
func (s tallySink) Close() error                                       { return nil }

func (s tallySink) Write(_ context.Context, records []connectors.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.got[string(r.Value)]++
		s.by[s.n]++
	}
	return nil
}

func (y *tally) count() (all, both int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.got), len(y.by)
}

// Instances share the partitions of a sink's topic. They come and go under load,
// and without faults every record is written once.
func TestASinksPartitionsAreSharedAndMoveUnderLoad(t *testing.T) {
	y := &tally{got: map[string]int{}, by: map[int]int{}}
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(n int) engine.Config {
		cfg := sharedConfig()
		cfg.Sinks = []engine.Sink{{Name: "out", Topic: "in", Sink: tallySink{y, n}}}
		return cfg
	})
	log := f.log()
	topicOn(t, log, "in", 4)
	total := 0
	feed := func() {
		w, err := log.Writer(t.Context(), "feeder", logclient.WriterConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for range 200 {
			v := fmt.Appendf(nil, "value-%05d", total)
			if err := w.Append(record.TopicPartition{Topic: "in", Partition: record.Partition(total % 4)}, &record.View{Key: v, Value: v, Timestamp: t0}); err != nil {
				t.Fatal(err)
			}
			total++
		}
		if _, err := w.Commit(t.Context(), nil, logclient.Generation{}); err != nil {
			t.Fatal(err)
		}
	}
	written := func() {
		t.Helper()
		f.eventually("everything is written", func() bool { all, _ := y.count(); return all == total })
	}
	feed()
	f.start(0)
	feed()
	written()
	f.start(1)
	f.eventually("both write", func() bool {
		feed()
		_, both := y.count()
		return both == 2
	})
	feed()
	f.stop(0)
	feed()
	written()
	f.start(2)
	f.eventually("the third writes too", func() bool {
		feed()
		_, both := y.count()
		return both == 3
	})
	written()
	f.stopAll()
	y.mu.Lock()
	defer y.mu.Unlock()
	for v, n := range y.got {
		if n != 1 {
			t.Errorf("%s was written %d times, without any fault", v, n)
		}
	}
	t.Logf("%d records, by instance %v", total, y.by)
}

// What PurgeSources deletes is written by every sink of the topic: also by one that
// could not begin yet, which has no positions of its own.
func TestNothingIsDeletedThatASinkHasNotWritten(t *testing.T) {
	down := connectors.Transient(errors.New("connection refused"))
	var isUp atomic.Bool
	var written atomic.Int64
	s := &scripted{open: func(int) error {
		if !isUp.Load() {
			return down
		}
		return nil
	}}
	s.write = func(_ context.Context, records []connectors.Record) error {
		written.Add(int64(len(records)))
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var outs []connectors.Out
		for i := range 10 {
			outs = append(outs, out(fmt.Sprint(i), 0))
		}
		e, err := engine.NewOn(passing(t, "in"), engine.Config{Partitions: 1, Workers: 1, PurgeSources: true, OnBadRecord: "skip",
			Sources: []engine.Source{{Name: "given", Topic: "in", Source: &outSource{outs: outs, stay: true}}},
			Sinks:   []engine.Sink{{Name: "sink", Topic: "in", Sink: s}}}, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		start := func() int64 {
			found, err := w.log.Offsets(t.Context(), []record.TopicPartition{{Topic: "in"}}, logclient.At{Kind: logclient.AtStart})
			if err != nil {
				t.Fatal(err)
			}
			return int64(found[0].Offset)
		}
		advance(time.Minute)
		if at := start(); at != 0 {
			t.Errorf("the topic begins at %d while its sink has written nothing", at)
		}
		isUp.Store(true)
		advance(time.Minute)
		if at := start(); at < 10 || written.Load() != 10 {
			t.Errorf("%d of 10 records are written, and the topic begins at %d", written.Load(), at)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
