package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// An instance on a cluster that is killed under load and comes back within its
// session is the same member, resumes from its Badger checkpoint and replays only
// the tail of its changelog. The first life is a child, which dies by SIGKILL; the
// second one is in the test's process, whose feeder never stops in between.

const (
	comebackPartitions = 4
	comebackCount      = 8 // digits at the front of a value of the store
	comebackEnv        = "MILLSTREAM_COMEBACK_ORDER"
)

// comeback is how much state there is, and the load on it.
type comeback struct {
	App        string
	Broker     string
	Dir        string // the instance's state
	Entries    int
	EntryBytes int // of a key and a value in the store
	Rate       int // records a second while the first life ends and the second begins, as far as they can be written
	// Checkpoints is the first life's CheckpointInterval; 0: the default.
	Checkpoints time.Duration
}

// atMost bounds the load: everything that can have changed since the checkpoint of all entries.
func (o *comeback) atMost() int { return o.Entries * 8 / 100 }

// killAt is how much of the load is committed when the first life is ended.
func (o *comeback) killAt() int { return o.Entries * 3 / 100 }

func (o *comeback) key(i int) string { return fmt.Sprintf("key-%09d", i) }

// payload is the value of key i: nothing that a compression makes smaller.
func (o *comeback) payload(i int) string {
	at := i * 31 % (len(comebackNoise) / 2)
	return comebackNoise[at : at+o.EntryBytes-len(o.key(0))-comebackCount]
}

// comebackNoise is random text.
var comebackNoise = func() string {
	rng, b := rand.New(rand.NewPCG(1, 2)), make([]byte, 1<<16)
	for i := range b {
		b[i] = byte('!' + rng.IntN('~'-'!'))
	}
	return string(b)
}()

func TestAKilledInstanceOnAClusterComesBackFromItsCheckpoint(t *testing.T) {
	o := comeback{App: "comeback", Broker: serveHere(t), Entries: 5000, EntryBytes: 1000, Rate: 2000, Checkpoints: 100 * time.Millisecond}
	o.run(t)
}

// On one real broker. TORTURE_STATE_MB makes it another size than 1 GB.
func TestTortureRestartWithAGigabyteOnACluster(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	size := 1 << 30
	if mb, err := strconv.Atoi(os.Getenv("TORTURE_STATE_MB")); err == nil && mb > 0 {
		size = mb << 20
	}
	o := comeback{App: "comeback", Broker: peers.StartKafkaBroker(t, "").Addr(), Entries: size / 1000, EntryBytes: 1000, Rate: 5000}
	o.run(t)
}

// topology counts keys, keeps their last payload beside the count, and passes every count on.
func (o *comeback) topology() (*topology.Topology, error) {
	b := streams.NewBuilder(o.App)
	b.From[string, string](o.App+"-in").GroupByKey().
		Aggregate(func() string { return fmt.Sprintf("%0*d", comebackCount, 0) }, func(_, v, a string) string {
			n, _ := strconv.Atoi(a[:comebackCount])
			return fmt.Sprintf("%0*d%s", comebackCount, n+1, v)
		}, streams.Store("entries"), streams.EmitEveryUpdate()).
		ToStream().
		MapValues(func(_, a string) string { return a[:comebackCount] }).
		To(o.App + "-out")
	return b.Build()
}

func (o *comeback) config() engine.Config {
	return engine.Config{Log: "kafka://" + o.Broker, StateDir: o.Dir, Workers: 2, Partitions: comebackPartitions}
}

// TestComebackChild is the first life; without an order it does nothing.
func TestComebackChild(t *testing.T) {
	text := os.Getenv(comebackEnv)
	if text == "" {
		return // only a child of the tests above has an order
	}
	var o comeback
	if err := errors.Join(json.Unmarshal([]byte(text), &o), o.live()); err != nil {
		t.Fatal(err)
	}
}

// live prints "full" when checkpoints hold every entry, and "loaded" when killAt
// records of the load are committed, until it is killed.
func (o *comeback) live() error {
	topo, err := o.topology()
	if err != nil {
		return err
	}
	var entries, written atomic.Int64
	cfg := o.config()
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg.CheckpointInterval = o.Checkpoints
	cfg.Hooks.Checkpointed = func(_ string, _ time.Duration, n, _ int64, _ time.Time) {
		if all := entries.Add(n); all >= int64(o.Entries) && all-n < int64(o.Entries) {
			fmt.Println("full")
		}
	}
	cfg.Hooks.Written = func(topic string, n, _ int64) {
		if topic != o.App+"-out" {
			return
		}
		if all := written.Add(n); all >= int64(o.Entries+o.killAt()) && all-n < int64(o.Entries+o.killAt()) {
			fmt.Println("loaded")
		}
	}
	e, err := engine.New(topo, cfg)
	if err != nil {
		return err
	}
	return errors.Join(e.Run(context.Background()), e.Close())
}

// run is the whole test: a full store, the load, the kill, the second life, the fold.
func (o *comeback) run(t *testing.T) {
	o.Dir = filepath.Join(t.TempDir(), "state")
	f := newComebackFeed(t, o)
	f.fill()
	p := peers.StartProcess(t, "first-life", reexec(t, "TestComebackChild", comebackEnv, o))
	awaitOutput(t, p, "\nfull\n")
	stop := f.load()
	awaitOutput(t, p, "\nloaded\n")
	p.Kill()
	life := o.again(t)
	life.awaitResult(t)
	stop()
	n := life.awaitCommitted(t, f)

	totals := life.State().Totals
	size := int64(o.Entries) * int64(o.EntryBytes)
	t.Logf("%d entries, %d MB of state, a changelog of %d MB; killed and started: opened in %v, assigned after %v; from the assignment: restored in %v, the first new result committed in %v; %d records, %d kB replayed, %.2f %% of the state",
		o.Entries, size>>20, f.changelogBytes()>>20, life.since(life.began, life.opened), life.since(life.began, life.assigned), life.since(life.assigned, life.restored),
		life.since(life.assigned, life.result), totals.Restored, totals.RestoredBytes>>10, 100*float64(totals.RestoredBytes)/float64(size))
	if n := f.changelogBytes(); n < size {
		t.Errorf("the changelog takes %d bytes, want all %d of the state: the test is wrong", n, size)
	}
	if totals.RestoredBytes >= size/10 || totals.Rebuilt != 0 {
		t.Errorf("%d bytes replayed, %d tasks rebuilt: want the tail of %d bytes of state only", totals.RestoredBytes, totals.Rebuilt, size)
	}
	if n := len(life.tasksAssigned()); n != 1 {
		t.Errorf("%d assignments, want one: it is the member that it was", n)
	}
	f.compareStore(life.Engine)
	life.cancel()
	if err := errors.Join(<-life.ended, life.Close()); err != nil {
		t.Fatal(err)
	}
	f.compareOutput()
	t.Logf("%d records: output and state are as the fold has them", n)
}

func awaitOutput(t *testing.T, p *peers.Process, what string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains("\n"+p.Output(), what) {
		select {
		case <-tick.C:
		case <-p.Ended():
			t.Fatalf("%s ended by itself", p.Name())
		}
	}
}

// secondLife is the instance after the kill, with the moments of its start.
type secondLife struct {
	*engine.Engine
	cancel context.CancelFunc
	ended  chan error
	got    chan struct{} // closed at the first result

	began, opened time.Time

	mu                         sync.Mutex
	assigned, restored, result time.Time
	lines                      []string // of its log
}

// again starts the instance a second time.
func (o *comeback) again(t *testing.T) *secondLife {
	t.Helper()
	topo, err := o.topology()
	if err != nil {
		t.Fatal(err)
	}
	l := &secondLife{ended: make(chan error, 1), got: make(chan struct{}), began: time.Now()}
	cfg := o.config()
	cfg.Logger = slog.New(slog.NewTextHandler(l, nil))
	cfg.Hooks.Restored = func(string, string, int64) { l.note(&l.restored, true) }
	cfg.Hooks.Written = func(topic string, _, _ int64) {
		if topic == o.App+"-out" && l.note(&l.result, false) {
			close(l.got)
		}
	}
	if l.Engine, err = engine.New(topo, cfg); err != nil {
		t.Fatal(err)
	}
	l.opened = time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() { l.ended <- l.Run(ctx) }()
	t.Cleanup(func() { // where the test gives up
		cancel()
		l.Close()
		if t.Failed() {
			t.Logf("the second life logged:\n%s", strings.Join(l.lines, ""))
		}
	})
	return l
}

// note sets a moment to now: the first time, or every time; it is false if it was set.
func (l *secondLife) note(at *time.Time, again bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !at.IsZero() && !again {
		return false
	}
	*at = time.Now()
	return true
}

// Write takes a line of the log.
func (l *secondLife) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "msg=assigned ") {
		l.note(&l.assigned, false)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// tasksAssigned are the lines that tell of assignments.
func (l *secondLife) tasksAssigned() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, "msg=assigned ") {
			lines = append(lines, line)
		}
	}
	return lines
}

func (l *secondLife) since(from, to time.Time) time.Duration {
	return to.Sub(from).Round(time.Millisecond)
}

func (l *secondLife) awaitResult(t *testing.T) {
	t.Helper()
	select {
	case <-l.got:
	case err := <-l.ended:
		t.Fatalf("the second life ended by itself: %v", err)
	case <-time.After(2 * time.Minute):
		t.Fatalf("no result within two minutes: %+v", l.State())
	}
}

// awaitCommitted waits until everything that was fed is committed.
func (l *secondLife) awaitCommitted(t *testing.T, f *comebackFeed) (n int64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for {
		lag, tasks := int64(0), 0
		for _, task := range l.State().Tasks {
			for _, p := range task.Positions {
				tasks++
				lag += f.end[p.Partition] - p.Offset
			}
		}
		if tasks == comebackPartitions && lag <= 0 {
			return f.total
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after two minutes %d records lack: %+v", lag, l.State())
		}
	}
}
