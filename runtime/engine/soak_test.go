package engine_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/badgerstore"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/embedded"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// The soak: a service runs for a long time, on real files, with keys that come
// and go. The broker's clock and event time are in the test's hand; the engine
// works as fast as it can. What it holds on disk, in memory and in descriptors
// must reach a plateau (soak_measure_test.go judges that).

// soak is one run.
type soak struct {
	steps     int           // of event time
	step      time.Duration // how long one is
	day       time.Duration // how long a day is to retention, rolling and tombstones
	lines     int           // a step
	sessions  int           // that begin with each step; each lives 6 steps
	cleaner   bool
	measured  int // every so many steps
	restarted int // every so many steps
}

const soakPartitions = 2

func TestTortureSoak30Days(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	s := soak{steps: 30 * 24, step: time.Hour, day: 24 * time.Hour, lines: 3000, sessions: 500, cleaner: true, measured: 6, restarted: 5 * 24}
	if grown := s.run(t).growth(t); grown != nil {
		t.Error(grown)
	}
}

// One day, in which the files age as in a month: what is a day to retention,
// rolling and tombstones is an hour.
func TestIntegrationSoakOneDay(t *testing.T) {
	peers.NeedIntegration(t)
	s := soak{steps: 24 * 3, step: 20 * time.Minute, day: time.Hour, lines: 1500, sessions: 250, cleaner: true, measured: 1, restarted: 20}
	if grown := s.run(t).growth(t); grown != nil {
		t.Error(grown)
	}
	s.cleaner, s.steps = false, 42
	if grown := s.run(t).growth(t); grown == nil {
		t.Error("the cleaner was off and nothing has grown: this test cannot fail")
	} else {
		t.Logf("with the cleaner off: %v", grown)
	}
}

// soakProgram counts bad lines per host and minute behind a repartition topic,
// tells of hosts that are silent for two steps and forgets them, and keeps a table
// of sessions, which are deleted again, from a topic and behind a repartition.
func soakProgram(t testing.TB, step time.Duration) *topology.Topology {
	b := streams.NewBuilder("soak")
	lines := b.From[string, string]("lines")
	seen := streams.NewState[string, int64]("seen")
	lines.Process(func(c *streams.Context[string, string], host, _ string) {
		n, _ := seen.Get(c, host)
		seen.Put(c, host, n+1)
		c.SetTimer("silent", c.Timestamp().Add(2*step))
	}, streams.Uses(seen), streams.OnTimer("silent", func(c *streams.Context[string, string], host string) {
		seen.Delete(c, host)
		c.Forward(host, "silent")
	})).
		To("silent")
	lines.
		Filter(func(_, line string) bool { return line[len(line)-1] == 'd' }).
		GroupBy(func(host, _ string) string { return host }).
		Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
		Count(streams.Store("bad-per-minute"), streams.EmitOnClose()).
		ToStream(streams.Keyed).
		Filter(func(_ streams.Windowed[string], n int64) bool { return n > 1 }).
		To("alerts")
	sessions := b.Table[string, string]("sessions", streams.Store("sessions"))
	sessions.ToStream().
		Repartition(streams.Named("moved")).
		ToTable(streams.Store("copies")).
		ToStream().
		To("copies")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// soakRun is a soak under way.
type soakRun struct {
	soak
	t       *testing.T
	dir     string
	now     atomic.Int64 // ms
	broker  *broker.Broker
	log     *embedded.Log
	db      *badgerstore.DB
	engine  *engine.Engine
	cancel  context.CancelFunc
	done    chan error
	changed chan struct{}
	sent    []int64 // bytes of records, by step
	batches map[record.TopicPartition]*record.Builder
	measure *measurements
}

func (s soak) run(t *testing.T) *measurements {
	t.Helper()
	r := &soakRun{
		soak: s, t: t, dir: t.TempDir(), changed: make(chan struct{}, 1),
		batches: map[record.TopicPartition]*record.Builder{}, measure: &measurements{},
	}
	r.now.Store(t0)
	r.open()
	for n := range s.steps {
		r.once(n)
		if (n+1)%s.restarted == 0 {
			r.restart(n)
		}
		if (n+1)%s.measured == 0 {
			r.measure.add(t, n+1, r.dir, r.live())
		}
	}
	r.close()
	r.measure.print(t)
	return r.measure
}

func (r *soakRun) open() {
	r.t.Helper()
	log, err := embedded.Open(broker.Config{
		Dir: r.dir + "/log", Now: func() time.Time { return time.UnixMilli(r.now.Load()) }, TickInterval: -1, MaintenanceInterval: -1,
		DefaultPartitions: soakPartitions, OffsetsRetention: 100 * 365 * 24 * time.Hour,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.log, r.broker = log, log.Broker()
	if r.db, err = badgerstore.Open(badgerstore.Config{Dir: r.dir + "/state"}); err != nil {
		r.t.Fatal(err)
	}
	r.engine, err = engine.NewOn(soakProgram(r.t, r.step), engine.Config{
		Workers: 2, Partitions: soakPartitions, Retention: r.day,
		CommitInterval: 5 * time.Millisecond, CheckpointInterval: 50 * time.Millisecond,
		Hooks: engine.Hooks{Committed: func(string, time.Duration, error) {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		}},
	}, engine.Backing{Log: log, DB: r.db})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.day < 24*time.Hour {
		r.scale()
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() { r.done <- r.engine.Run(ctx) }()
}

// scale shortens what the topics' settings measure in days, where the soak's day
// is shorter than a day.
func (r *soakRun) scale() {
	r.t.Helper()
	scaled := func(days int64) *string {
		s := strconv.FormatInt(days*r.day.Milliseconds(), 10)
		return &s
	}
	for _, topic := range r.broker.Topics() {
		set := map[string]*string{"delete.retention.ms": scaled(7)}
		switch {
		case strings.HasPrefix(topic.Name, "__"):
			set = map[string]*string{"segment.ms": scaled(7), "delete.retention.ms": scaled(1)}
		case strings.HasPrefix(topic.Name, "soak-"):
			set["segment.ms"] = scaled(1)
		}
		if err := r.broker.AlterTopic(topic.Name, set); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *soakRun) close() {
	r.t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Fatalf("the engine: %v", err)
	}
	if err := r.db.Close(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.log.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// restart stops the service, every other time without a word to the log.
func (r *soakRun) restart(n int) {
	r.t.Helper()
	if n/r.restarted%2 == 0 {
		r.close()
	} else {
		r.broker.Abandon()
		r.cancel()
		<-r.done
		if err := r.db.Close(); err != nil {
			r.t.Fatal(err)
		}
		_ = r.log.Close() // of an abandoned broker: it says that nothing was written any more
	}
	r.open()
	r.await()
}

// once sends a step's records, waits until they are processed, and does what the
// broker's timers would do.
func (r *soakRun) once(n int) {
	r.t.Helper()
	begin := t0 + int64(n)*r.step.Milliseconds()
	r.sent = append(r.sent, 0)
	for i := range r.lines {
		at := begin + int64(i)*r.step.Milliseconds()/int64(r.lines)
		host := fmt.Sprintf("host-%05d", n*3+i%200) // three new ones each step, three gone
		word := "fine"
		if i%2 == 0 {
			word = "bad"
		}
		r.add("lines", host, []byte("sshd[4711]: Invalid user admin from 203.0.113.7 port 5022: "+word), at)
	}
	for i := range r.sessions {
		at := begin + int64(i)*r.step.Milliseconds()/int64(r.sessions)
		for age := range 6 { // begins, is renewed, ends
			if n < age {
				break
			}
			value := fmt.Appendf(nil, "session %d of step %d, renewed %d times, with some text that makes it longer", i, n-age, age)
			if age == 5 {
				value = nil
			}
			r.add("sessions", fmt.Sprintf("session-%06d-%06d", n-age, i), value, at)
		}
	}
	r.flush()
	r.await()
	if n := r.engine.State().Totals.DeadLettered; n > 0 {
		r.t.Fatalf("%d dead letters: every record is a good one", n)
	}
	r.now.Store(begin + r.step.Milliseconds())
	for _, f := range []func() error{r.broker.Tick, r.broker.RunRetention, r.clean} {
		if err := f(); err != nil {
			r.t.Fatalf("step %d: %v", n, err)
		}
	}
}

func (r *soakRun) clean() error {
	if !r.cleaner {
		return nil
	}
	return r.broker.RunCleaner()
}

// add puts a record into a batch of its partition.
func (r *soakRun) add(topic, key string, value []byte, at int64) {
	tp := record.TopicPartition{Topic: topic, Partition: record.Partition(record.PartitionForKey([]byte(key), soakPartitions))}
	b := r.batches[tp]
	if b == nil {
		b = record.NewBuilder()
		r.batches[tp] = b
	}
	b.Append(&record.View{Key: []byte(key), Value: value, Timestamp: at})
	r.sent[len(r.sent)-1] += int64(len(key) + len(value) + 10)
	if topic == "sessions" {
		r.sent[len(r.sent)-1] += int64(len(key) + len(value) + 10) // its copy
	}
	if b.Size() > 64<<10 {
		r.produce(tp, b)
	}
}

func (r *soakRun) flush() {
	for tp, b := range r.batches {
		if b.Count() > 0 {
			r.produce(tp, b)
		}
	}
}

func (r *soakRun) produce(tp record.TopicPartition, b *record.Builder) {
	r.t.Helper()
	raw, err := b.Finish(record.None)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := r.broker.Partition(tp)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := p.Produce(raw, broker.AcksAll); err != nil {
		r.t.Fatal(err)
	}
	b.Reset()
}

// await waits until the tasks have committed everything that was sent, through
// the repartition topics too.
func (r *soakRun) await() {
	r.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		behind := r.behind()
		if behind == "" {
			return
		}
		select {
		case <-r.changed:
		case <-time.After(10 * time.Millisecond): // the start commits nothing
		case err := <-r.done:
			r.t.Fatalf("the engine ended: %v", err)
		case <-limit.C:
			r.t.Fatalf("after a minute: %s", behind)
		}
	}
}

// behind names a partition that is not processed to its end; what is at most a
// few offsets behind has only markers left.
func (r *soakRun) behind() string {
	s := r.engine.State()
	if s.Phase != engine.PhaseRunning {
		return "the engine is " + string(s.Phase)
	}
	for _, t := range s.Tasks {
		for _, p := range t.Positions {
			part, err := r.broker.Partition(record.TopicPartition{Topic: p.Topic, Partition: record.Partition(p.Partition)})
			if err != nil {
				r.t.Fatal(err)
			}
			if left := int64(part.Offsets().End) - p.Offset; left > 0 && !r.onlyMarkers(part, record.Offset(p.Offset)) {
				return fmt.Sprintf("task %s stands at %d of %s-%d, %d before its end", t.ID, p.Offset, p.Topic, p.Partition, left)
			}
		}
	}
	return ""
}

// onlyMarkers reports whether a partition has nothing but transaction markers
// from an offset on.
func (r *soakRun) onlyMarkers(p *broker.Partition, from record.Offset) bool {
	if o := p.Offsets(); o.Stable < o.End {
		return false
	}
	for from < p.Offsets().End {
		c, err := p.Read(from, broker.ReadOptions{MaxBytes: 1 << 16})
		if err != nil && from < p.Offsets().Start {
			return false // trimmed meanwhile: the tasks are further than they said
		}
		if err != nil {
			r.t.Fatal(err)
		}
		for {
			h, _, ok := c.NextBatch()
			if !ok {
				break
			}
			if !h.Control() {
				c.Release()
				return false
			}
			from = h.NextOffset()
		}
		err = c.Err()
		c.Release()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return true
}

// live is the size of what must be there: the stores' entries, and a day's
// records in the topics that keep a day.
func (r *soakRun) live() (bytes int64) {
	r.t.Helper()
	day := int(r.day / r.step)
	for _, n := range r.sent[max(0, len(r.sent)-day):] {
		bytes += n
	}
	for _, store := range []string{"sessions", "copies"} {
		err := engine.All(r.engine, store, func(k, v string) bool {
			bytes += int64(len(k) + len(v) + 8)
			return true
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	err := engine.AllWindows(r.engine, "bad-per-minute", func(k string, _ engine.WindowValue[int64]) bool {
		bytes += int64(len(k) + 8 + 8)
		return true
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return bytes
}
