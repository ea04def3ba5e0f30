package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// dealing is a log one of whose groups deals out less at first.
type dealing struct {
	*memlog.Log
	group string
	first []record.TopicPartition
	lost  bool // the assignments after that say that the session was lost
}

func (d *dealing) Join(ctx context.Context, cfg logclient.MemberConfig) (logclient.Member, error) {
	m, err := d.Log.Join(ctx, cfg)
	if err != nil || cfg.Group != d.group {
		return m, err
	}
	d.Rebalance(d.group, d.first...)
	return &dealtTo{Member: m, log: d}, nil
}

type dealtTo struct {
	logclient.Member
	log  *dealing
	told bool
}

func (m *dealtTo) Next(ctx context.Context) (logclient.Assignment, error) {
	a, err := m.Member.Next(ctx)
	a.Lost = m.told && m.log.lost
	m.told = true
	return a, err
}

// The group may deal out tasks and partitions later than the sources: a bounded
// run ends when everything has been worked on, not when it has nothing to work on.
func TestABoundedRunWaitsForWhatTheGroupHasNotDealtOutYet(t *testing.T) {
	all := []record.TopicPartition{{Topic: "app-positions"}, {Topic: "lines"}, {Topic: "lines", Partition: 1}}
	for _, c := range []struct {
		name, group string
		first       []record.TopicPartition
		lost        bool
	}{
		{"nothing", "app", nil, false},
		{"the sources only", "app", all[:1], false},
		{"the sources and one task", "app", all[:2], false},
		{"the first sub-topology", "app", all, false},
		{"the first sub-topology, and then the session is lost", "app", all, true},
		{"no partition of the sink's topic", "app-sink-out", nil, false},
		{"one partition of the sink's topic", "app-sink-out", []record.TopicPartition{{Topic: "out", Partition: 1}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBounded(t, func(w *world) logclient.Log {
					return &dealing{Log: w.log, group: c.group, first: c.first, lost: c.lost}
				})
				b.runsOn()
				b.log.Rebalance(c.group, inputsOf(t, b.log, c.group)...)
				b.ends()
			})
		})
	}
}

// boundedProgram counts in windows, into "out", and in all, in the store "hosts".
func boundedProgram(t *testing.T) *topology.Topology {
	b := streams.NewBuilder("app")
	hosts := b.From[string, string]("lines").
		Filter(func(_, v string) bool { return strings.HasSuffix(v, " bad") }).
		GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host })
	hosts.Count(streams.Store("hosts"))
	hosts.Windowed(streams.Tumbling(windowMS*time.Millisecond)).
		Count(streams.Store("counts"), streams.EmitOnClose()).
		ToStream(func(k string, w streams.Window) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// boundedRun is a run of boundedProgram over 500 lines as an instance on a
// cluster, with a sink of its output, in a bubble.
type boundedRun struct {
	*engine.Engine
	t    *testing.T
	log  *memlog.Log
	in   []line
	got  map[string]int64 // what the sink has written
	done chan error
}

func newBounded(t *testing.T, on func(*world) logclient.Log) *boundedRun {
	t.Helper()
	w := newWorld()
	b := &boundedRun{t: t, log: w.log, in: lines(500, 23), got: map[string]int64{}, done: make(chan error, 1)}
	cfg := config(b.in, 2, 2)
	cfg.Sinks = []engine.Sink{{Name: "out", Topic: "out", Sink: &scripted{write: func(_ context.Context, records []connectors.Record) error {
		for _, r := range records {
			b.got[string(r.Key)] += int64(binary.BigEndian.Uint64(r.Value))
		}
		return nil
	}}}}
	backing := w.backing()
	backing.Log, backing.Instance = on(w), "alone"
	var err error
	if b.Engine, err = engine.NewOn(boundedProgram(t), cfg, backing); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { b.done <- b.Run(ctx) }()
	return b
}

// runsOn checks that the run waits for something, for however long.
func (b *boundedRun) runsOn() {
	b.t.Helper()
	advance(time.Minute)
	select {
	case err := <-b.done:
		b.t.Fatalf("it has ended (%v), and has written %d of %d counts", err, len(b.got), len(fold(b.in)))
	default:
	}
}

// ends checks that it ends, and has counted everything; until it is closed it
// answers questions.
func (b *boundedRun) ends() {
	b.t.Helper()
	advance(time.Minute)
	select {
	case err := <-b.done:
		if err != nil {
			b.t.Fatal(err)
		}
	default:
		b.t.Fatalf("it has not ended: %+v", b.State())
	}
	same(b.t, b.got, fold(b.in))
	want, stored := map[string]int64{}, map[string]int64{}
	for window, n := range fold(b.in) {
		host, _, _ := strings.Cut(window, "@")
		want[host] += n
	}
	err := b.stored(func(host string, n int64) { stored[host] = n })
	if err != nil {
		b.t.Errorf("ended, its store answers with the error %v", err)
	}
	same(b.t, stored, want)
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
	if err := b.stored(func(string, int64) {}); !errors.Is(err, engine.ErrNotRunning) {
		b.t.Errorf("closed, its store answers with the error %v, expected ErrNotRunning", err)
	}
}

// stored asks for all that the run's store holds.
func (b *boundedRun) stored(f func(host string, n int64)) error {
	return engine.All(b.Engine, "hosts", func(host string, n int64) bool { f(host, n); return true })
}

// inputsOf are all partitions that a group of boundedProgram deals out.
func inputsOf(t *testing.T, log logclient.Log, group string) (tps []record.TopicPartition) {
	t.Helper()
	topics := []string{"out"}
	if group == "app" {
		topics = []string{"app-positions", "lines", "app-hosts-repartition"}
	}
	infos, err := log.Describe(t.Context(), topics)
	for _, info := range infos {
		for p := range info.Partitions {
			tps = append(tps, record.TopicPartition{Topic: info.Name, Partition: record.Partition(p)})
		}
		if info.Partitions == 0 {
			err = errors.Join(err, errors.New("there is no topic "+info.Name))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return tps
}

// slow is a log that acknowledges a commit before readers see it, as brokers do:
// the last stable offset of a topic, and what is polled of it, stand still until
// seen is closed.
type slow struct {
	*memlog.Log
	topic string
	seen  chan struct{}
	gone  atomic.Bool // asked for offsets, nobody answers
}

func (l *slow) Offsets(ctx context.Context, tps []record.TopicPartition, at logclient.At) ([]logclient.OffsetEpoch, error) {
	if l.gone.Load() {
		return nil, logclient.ErrUnavailable
	}
	if at.Kind == logclient.AtStable && tps[0].Topic == l.topic && !done(l.seen) {
		at.Kind = logclient.AtStart
	}
	return l.Log.Offsets(ctx, tps, at)
}

func (l *slow) Reader(cfg logclient.ReaderConfig) (logclient.Reader, error) {
	r, err := l.Log.Reader(cfg)
	return &slowReader{Reader: r, log: l}, err
}

type slowReader struct {
	logclient.Reader
	log  *slow
	held bool
}

func (r *slowReader) Assign(from map[record.TopicPartition]record.Offset) {
	for tp := range from {
		r.held = r.held || tp.Topic == r.log.topic
	}
	r.Reader.Assign(from)
}

func (r *slowReader) Poll(ctx context.Context, maxBytes int) ([]logclient.Batch, error) {
	if r.held {
		select {
		case <-r.log.seen:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return r.Reader.Poll(ctx, maxBytes)
}

func done(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// What the last commits wrote goes to the sinks of a bounded run, also where it can
// be read only some time after they were acknowledged.
func TestABoundedRunDeliversWhatIsCommittedAndCannotBeReadYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slow{topic: "out", seen: make(chan struct{})}
		b := newBounded(t, func(w *world) logclient.Log { log.Log = w.log; return log })
		b.runsOn()
		close(log.seen)
		b.ends()
	})
}

// If the brokers are gone for good when a bounded run has only its end left, it
// fails in bounded time, and says so; if they come back before, it ends.
func TestTheEndOfABoundedRunDoesNotWaitForGoneBrokersForGood(t *testing.T) {
	for _, back := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			log := &slow{topic: "out", seen: make(chan struct{})}
			b := newBounded(t, func(w *world) logclient.Log { log.Log = w.log; return log })
			b.runsOn()
			b.runsOn() // a sink may take longer than brokers may
			log.gone.Store(true)
			if back {
				advance(40 * time.Second)
				log.gone.Store(false)
				b.runsOn()
				close(log.seen)
				b.ends()
				return
			}
			advance(2 * time.Minute)
			select {
			case err := <-b.done:
				if !errors.Is(err, logclient.ErrUnavailable) || !strings.Contains(err.Error(), "the log has not answered for 1m0s") {
					t.Errorf("it ended with %v", err)
				}
			default:
				t.Errorf("it waits for brokers that are gone: %+v", b.State())
				b.Crash()
				<-b.done
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// After a bounded run has ended by itself, its stores are asked here until Close.
func TestABoundedRunOnAClusterAnswersUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBounded(t, func(w *world) logclient.Log { return w.log })
		b.ends()
	})
}
