package engine_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams/topology"
)

// table is where idempotent sinks of all instances write: of each key the value of
// the greatest offset stays, as with Cassandra's write timestamps.
type table struct {
	mu     sync.Mutex
	rows   map[string]row
	times  map[string]int // how often each value was written
	next   map[record.Partition]int64
	stuck  map[int]chan struct{} // instances whose writes wait
	writes map[int]int           // by instance
}

type row struct {
	offset int64
	value  string
}

func newTable() *table {
	return &table{rows: map[string]row{}, times: map[string]int{}, next: map[record.Partition]int64{}, stuck: map[int]chan struct{}{}, writes: map[int]int{}}
}

type tableSink struct {
	*table
	n int
}

func (s tableSink) Open(context.Context, connectors.SinkContext) error { return nil }
func (s tableSink) Close() error                                       { return nil }

func (s tableSink) Write(ctx context.Context, records []connectors.Record) error {
	s.mu.Lock()
	wait := s.stuck[s.n]
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes[s.n] += len(records)
	for _, r := range records {
		s.times[string(r.Value)]++
		if old, is := s.rows[string(r.Key)]; !is || int64(r.Offset) > old.offset {
			s.rows[string(r.Key)] = row{int64(r.Offset), string(r.Value)}
		}
		s.next[r.Partition] = max(s.next[r.Partition], int64(r.Offset)+1)
	}
	return nil
}

func (y *table) distinct() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.times)
}

func (y *table) wrote(n int) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.writes[n]
}

// keyed writes values of few keys, each key in one partition.
type keyed struct {
	t    *testing.T
	log  logclient.Log
	sent int
	last map[string]string
}

func (k *keyed) feed(n int) {
	k.t.Helper()
	w, err := k.log.Writer(k.t.Context(), "feeder", logclient.WriterConfig{})
	if err != nil {
		k.t.Fatal(err)
	}
	defer w.Close()
	for range n {
		key, v := fmt.Sprintf("key-%02d", k.sent%29), fmt.Sprintf("value-%06d", k.sent)
		tp := record.TopicPartition{Topic: "in", Partition: record.Partition(k.sent % 29 % 4)}
		if err := w.Append(tp, &record.View{Key: []byte(key), Value: []byte(v), Timestamp: t0}); err != nil {
			k.t.Fatal(err)
		}
		k.last[key] = v
		k.sent++
	}
	if _, err := w.Commit(k.t.Context(), nil, logclient.Generation{}); err != nil {
		k.t.Fatal(err)
	}
}

// Instances with sinks are killed, and cut off until they are zombies: every record
// is written at least once, and what idempotent writes leave is exact.
func TestSinksWriteEverythingThroughKillsAndZombies(t *testing.T) {
	t.Parallel() // it waits most of the time
	y := newTable()
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(n int) engine.Config {
		cfg := sharedConfig()
		cfg.Sinks = []engine.Sink{{Name: "table", Topic: "in", Sink: tableSink{y, n}}}
		return cfg
	})
	k := &keyed{t: t, log: f.log(), last: map[string]string{}}
	topicOn(t, k.log, "in", 4)
	written := func(when string) {
		t.Helper()
		f.eventually("everything is written "+when, func() bool { return y.distinct() == k.sent })
	}
	bothWrite := func(a, b int) {
		t.Helper()
		atA, atB := y.wrote(a), y.wrote(b)
		f.eventually(fmt.Sprint("instances ", a, " and ", b, " write"), func() bool {
			k.feed(40)
			return y.wrote(a) > atA && y.wrote(b) > atB
		})
	}
	f.start(0)
	f.start(1)
	bothWrite(0, 1)
	dead := f.running[0]
	delete(f.running, 0)
	dead.network.cut()
	dead.Crash()
	k.feed(300)
	written("after a kill")
	f.start(2)
	bothWrite(1, 2)
	// A zombie: it holds what it has read, is silent past its session, and comes back.
	y.mu.Lock()
	hold := make(chan struct{})
	y.stuck[1] = hold
	y.mu.Unlock()
	k.feed(300)
	f.running[1].network.cut()
	k.feed(300)
	y.mu.Lock()
	delete(y.stuck, 1)
	y.mu.Unlock()
	f.eventually("the other instance has all partitions", func() bool {
		k.feed(4)
		return len(f.running[2].State().Sinks) == 1 && y.distinct() == k.sent
	})
	close(hold) // what it had read before is written now, behind the other's
	f.running[1].network.mend()
	k.feed(300)
	written("with the zombie back")
	bothWrite(1, 2)
	written("at the end")
	f.stopAll()
	<-dead.done
	if err := dead.Close(); err != nil {
		t.Error(err)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	got := map[string]string{}
	for key, r := range y.rows {
		got[key] = r.value
	}
	if !maps.Equal(got, k.last) {
		t.Errorf("the table is %v, expected %v", got, k.last)
	}
	again := 0
	for _, n := range y.times {
		again += n - 1
	}
	t.Logf("%d records, %d of them written again, by instance %v", k.sent, again, y.writes)
}

// What one instance's trimmer deletes has been written by the sinks of all: also by
// that of an instance that hangs.
func TestATrimmerKeepsWhatTheSinkOfAnotherInstanceHasNotWritten(t *testing.T) {
	y, all := newTable(), newShelf()
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "in") }, func(n int) engine.Config {
		cfg := sharedConfig()
		cfg.PurgeSources, cfg.OnBadRecord = true, "skip"
		cfg.Cluster.SessionTimeout = 0
		cfg.Sources = []engine.Source{{Name: "shelf", Topic: "in", Source: &shelfSource{shelf: all}}}
		cfg.Sinks = []engine.Sink{{Name: "table", Topic: "in", Sink: tableSink{y, n}}}
		return cfg
	})
	log := f.log()
	topicOn(t, log, "in", 4)
	var tps []record.TopicPartition
	for p := range 4 {
		tps = append(tps, record.TopicPartition{Topic: "in", Partition: record.Partition(p)})
	}
	// trimmed are the partitions that begin behind what was there; each begins at or
	// below what is written of it.
	trimmed := func(since map[record.Partition]int64) (n int) {
		t.Helper()
		found, err := log.Offsets(t.Context(), tps, logclient.At{Kind: logclient.AtStart})
		if err != nil {
			t.Fatal(err)
		}
		y.mu.Lock()
		defer y.mu.Unlock()
		for i, tp := range tps {
			// A marker may stand behind the last record.
			if at := int64(found[i].Offset); at > y.next[tp.Partition]+1 {
				t.Fatalf("in-%d begins at %d, and sinks have written to %d", tp.Partition, at, y.next[tp.Partition])
			} else if at > since[tp.Partition] {
				n++
			}
		}
		return n
	}
	f.start(0)
	f.start(1)
	f.eventually("both sinks write, and everything is trimmed", func() bool {
		all.put(20)
		return y.wrote(0) > 0 && y.wrote(1) > 0 && trimmed(nil) == 4
	})
	y.mu.Lock()
	hold := make(chan struct{})
	y.stuck[1] = hold
	since := maps.Clone(y.next)
	y.mu.Unlock()
	for p := range since {
		since[p] += 10
	}
	for round := range 3 { // by then every instance's trimmer has had its turn
		y.mu.Lock()
		now := maps.Clone(y.next)
		y.mu.Unlock()
		f.eventually(fmt.Sprint("partitions of the other sink are trimmed, round ", round), func() bool {
			all.put(20)
			return trimmed(now) > 0
		})
	}
	if n := trimmed(since); n == 4 {
		t.Error("all partitions are trimmed while a sink hangs")
	}
	close(hold)
	f.eventually("the rest is trimmed once it is written", func() bool { return trimmed(since) == 4 })
}

// Dead letters are put back beside instances that run: each comes to the sink once
// more, and no instance is disturbed.
func TestDeadLettersGoBackBesideRunningInstances(t *testing.T) {
	var mended atomic.Bool
	y := &tally{got: map[string]int{}, by: map[int]int{}}
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(n int) engine.Config {
		cfg := sharedConfig()
		cfg.Sinks = []engine.Sink{{Name: "out", Topic: "in", Sink: refusing{tallySink{y, n}, &mended}}}
		return cfg
	})
	k := &keyed{t: t, log: f.log(), last: map[string]string{}}
	topicOn(t, k.log, "in", 4)
	f.start(0)
	f.eventually("one writes", func() bool {
		k.feed(40)
		all, _ := y.count()
		return all > 0
	})
	f.start(1) // not both at once: who does not know the other yet may end its first transaction
	refused := 0
	f.eventually("both write", func() bool {
		k.feed(40)
		_, both := y.count()
		return both == 2
	})
	for i := range k.sent {
		if i%10 == 7 {
			refused++
		}
	}
	d, err := engine.DeadLettersOn("app", k.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.eventually("all that is refused is put aside", func() bool {
		all, _ := y.count()
		return all == k.sent-refused && len(deadLetters(t, k.log, engine.DeadLetterFilter{})) == refused
	})
	mended.Store(true)
	for range 2 { // the second finds nothing to do
		report, err := d.Retry(t.Context(), engine.DeadLetterFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Skipped) > 0 {
			t.Errorf("skipped: %+v", report.Skipped)
		}
	}
	f.eventually("everything is written", func() bool { all, _ := y.count(); return all == k.sent })
	f.stopAll()
	y.mu.Lock()
	defer y.mu.Unlock()
	for v, n := range y.got {
		if n != 1 {
			t.Errorf("%s was written %d times", v, n)
		}
	}
}

// refusing refuses every tenth record for good, until it is mended.
type refusing struct {
	tallySink
	mended *atomic.Bool
}

func (s refusing) Write(ctx context.Context, records []connectors.Record) error {
	var take []connectors.Record
	var failed []connectors.RecordError
	for i, r := range records {
		if r.Value[len(r.Value)-1] == '7' && !s.mended.Load() {
			failed = append(failed, connectors.RecordError{Index: i, Err: connectors.Permanent(fmt.Errorf("it ends with 7"))})
			continue
		}
		take = append(take, r)
	}
	if err := s.tallySink.Write(ctx, take); err != nil || len(failed) == 0 {
		return err
	}
	return &connectors.WriteError{Rejected: failed}
}
