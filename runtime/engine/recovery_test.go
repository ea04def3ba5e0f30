package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/badgerstore"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/embedded"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Recovery is proportional to what was changed since the last checkpoint, not to
// the state. A child process counts keys, each once, until a checkpoint holds
// all of them, then every 20th once more, and dies by SIGKILL when that is
// committed and before another checkpoint. Its keys being distinct, the number
// of changelog records after the checkpoint is known without asking the engine.

const (
	recoveryPartitions = 4
	recoveryKeyBytes   = 232
	recoveryEntryBytes = recoveryKeyBytes + 8 + 8 // with the timestamp and the count
	recoveryEvery      = 20
	recoveryEnv        = "MILLSTREAM_RECOVERY_ORDER"
)

var recoveryPadding = strings.Repeat("x", recoveryKeyBytes)

func recoveryKey(i int) string {
	return fmt.Sprintf("key-%09d-%s", i, recoveryPadding)[:recoveryKeyBytes]
}

// recoveryOrder is what the parent tells the child, as JSON in its environment.
type recoveryOrder struct {
	Dir     string
	Entries int
	Timeout time.Duration // of its life: it tells where it hangs
}

// changes are those after the checkpoint.
func (o recoveryOrder) changes() int { return (o.Entries + recoveryEvery - 1) / recoveryEvery }

// want is the fold: how often key i came.
func (o recoveryOrder) want(i int) int64 {
	if i%recoveryEvery == 0 {
		return 2
	}
	return 1
}

func TestRecoveryReplaysWhatFollowsTheCheckpoint10MB(t *testing.T) {
	recoverFrom(t, 10<<20, time.Minute)
}

func TestIntegrationRecovery100MB(t *testing.T) {
	peers.NeedIntegration(t)
	recoverFrom(t, 100<<20, 3*time.Minute)
}

func TestTortureRecovery1GB(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	recoverFrom(t, 1<<30, 20*time.Minute)
}

func recoveryTopology() (*topology.Topology, error) {
	b := streams.NewBuilder("recovery")
	b.From[string, string]("in").GroupByKey().Count(streams.Store("counts"))
	return b.Build()
}

// recoverFrom crashes a child with so much state and recovers it here.
func recoverFrom(t testing.TB, stateBytes int, timeout time.Duration) (open, replay time.Duration) {
	t.Helper()
	o := recoveryOrder{Dir: t.TempDir(), Entries: stateBytes / recoveryEntryBytes, Timeout: timeout}
	runRecoveryChild(t, o)
	topo, err := recoveryTopology()
	if err != nil {
		t.Fatal(err)
	}
	var began time.Time
	var took atomic.Int64
	cfg := engine.Config{Log: "embedded:" + filepath.Join(o.Dir, "log"), StateDir: filepath.Join(o.Dir, "state"),
		Workers: 2, Partitions: recoveryPartitions, Bounded: true}
	cfg.Hooks.Restored = func(string, string, int64) { took.Store(int64(time.Since(began))) }
	opened := time.Now()
	e, err := engine.New(topo, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	began = time.Now()
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := e.State().Totals
	if s.Restored != int64(o.changes()) || s.Rebuilt != 0 {
		t.Errorf("%d changelog records replayed, %d tasks rebuilt: want the %d since the checkpoint, and none", s.Restored, s.Rebuilt, o.changes())
	}
	if s.RecordsIn != 0 {
		t.Errorf("%d input records were processed again, want 0: all were committed", s.RecordsIn)
	}
	compareRecovered(t, e, o)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if n := changelogRecords(t, o.Dir); n != int64(o.Entries+o.changes()) {
		t.Errorf("%d committed changelog records, want %d before the checkpoint and %d after: the test is wrong", n, o.Entries, o.changes())
	}
	open, replay = began.Sub(opened), time.Duration(took.Load())
	t.Logf("%d entries, %d MB of state: opened in %v, %d records replayed in %v", o.Entries, stateBytes>>20,
		open.Round(time.Millisecond), s.Restored, replay.Round(time.Millisecond))
	return open, replay
}

// BenchmarkRecovery reports the time to open log and state after the crash, and
// from there to the last task's restore. Each round makes its own crash, which
// is not in these times.
func BenchmarkRecovery(b *testing.B) {
	for _, mb := range []int{10, 100} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			var open, replay time.Duration
			for range b.N {
				o, r := recoverFrom(b, mb<<20, 3*time.Minute)
				open, replay = open+o, replay+r
			}
			b.ReportMetric(float64(open.Microseconds())/1000/float64(b.N), "open-ms")
			b.ReportMetric(float64(replay.Microseconds())/1000/float64(b.N), "replay-ms")
			b.ReportMetric(0, "ns/op") // mostly the child's life
		})
	}
}

// compareRecovered compares the whole store with the fold.
func compareRecovered(t testing.TB, e *engine.Engine, o recoveryOrder) {
	t.Helper()
	seen, wrong := make([]bool, o.Entries), 0
	err := engine.All(e, "counts", func(k string, n int64) bool {
		var i int
		if _, err := fmt.Sscanf(k, "key-%d-", &i); err != nil || i < 0 || i >= o.Entries || seen[i] || k != recoveryKey(i) {
			t.Errorf("the store has an entry that no input made: %q", k)
			wrong++
		} else if seen[i] = true; n != o.want(i) {
			t.Errorf("key %d: %d, want %d", i, n, o.want(i))
			wrong++
		}
		return wrong < 10
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, ok := range seen {
		if !ok && wrong < 10 {
			t.Errorf("key %d is not in the store", i)
			wrong++
		}
	}
}

// changelogRecords counts what a read_committed reader finds in the changelog.
func changelogRecords(t testing.TB, dir string) (n int64) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: filepath.Join(dir, "log"), MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for p := range recoveryPartitions {
		part, err := b.Partition(record.TopicPartition{Topic: "recovery-counts-changelog", Partition: record.Partition(p)})
		if err != nil {
			t.Fatal(err)
		}
		for from := part.Offsets().Start; from < part.Offsets().Stable; {
			c, err := part.Read(from, broker.ReadOptions{Committed: true})
			if err != nil {
				t.Fatal(err)
			}
			for {
				_, raw, ok := c.NextBatch()
				if !ok {
					break
				}
				it := record.NewIterator(raw, record.ReadOptions{})
				for v := new(record.View); it.Next(v); {
					if v.Offset >= c.From {
						n++
					}
				}
				if err := errors.Join(it.Err(), c.Err()); err != nil {
					t.Fatal(err)
				}
				it.Release()
			}
			from = c.Next
			c.Release()
		}
	}
	return n
}

func runRecoveryChild(t testing.TB, o recoveryOrder) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRecoveryChild$", "-test.v", "-test.timeout="+o.Timeout.String())
	cmd.Env = append(os.Environ(), recoveryEnv+"="+string(text))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	died := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		died = died || lines.Text() == "dying"
		said.WriteString(lines.Text() + "\n")
	}
	if err := cmd.Wait(); !died || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child did not die as it should: %v\n%s", err, said.String())
	}
}

// TestRecoveryChild is the child's whole life; without an order it does nothing.
func TestRecoveryChild(t *testing.T) {
	text := os.Getenv(recoveryEnv)
	if text == "" {
		return // only a child of the tests above has an order
	}
	var o recoveryOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	if err := o.live(); err != nil {
		t.Fatal(err)
	}
}

// gateDB lets checkpoints through until it is shut; then they never end.
type gateDB struct {
	state.DB
	shut atomic.Bool
}

func (db *gateDB) Checkpoint(t state.TaskKey, rec []byte, write func(state.Batch) error) error {
	if db.shut.Load() {
		select {} // the process dies meanwhile
	}
	return db.DB.Checkpoint(t, rec, write)
}

// live produces, runs and dies; it returns only if that did not work out.
func (o *recoveryOrder) live() error {
	b, err := broker.Open(broker.Config{Dir: filepath.Join(o.Dir, "log"), MaintenanceInterval: -1})
	if err != nil {
		return err
	}
	if _, err := b.CreateTopic(broker.TopicSpec{Name: "in", Partitions: recoveryPartitions}); err != nil {
		return err
	}
	if err := o.produce(b, 1); err != nil {
		return err
	}
	bdb, err := badgerstore.Open(badgerstore.Config{Dir: filepath.Join(o.Dir, "state")})
	if err != nil {
		return err
	}
	db := &gateDB{DB: bdb}
	topo, err := recoveryTopology()
	if err != nil {
		return err
	}
	var e *engine.Engine
	var entries atomic.Int64
	var once sync.Once
	whole := make(chan struct{})
	cfg := engine.Config{Workers: 2, Partitions: recoveryPartitions, CommitInterval: 10 * time.Millisecond, CheckpointInterval: 50 * time.Millisecond}
	cfg.Hooks.Checkpointed = func(_ string, _ time.Duration, n, _ int64, _ time.Time) {
		if entries.Add(n) >= int64(o.Entries) {
			once.Do(func() { db.shut.Store(true); close(whole) })
		}
	}
	cfg.Hooks.Committed = func(string, time.Duration, error) {
		if committedInput(e) == int64(o.Entries+o.changes()) {
			fmt.Println("dying")
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	if e, err = engine.NewOn(topo, cfg, engine.Backing{Log: embedded.New(b), DB: db}); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(context.Background()) }()
	select {
	case <-whole:
	case err := <-ended:
		return fmt.Errorf("the run ended: %w", err)
	}
	if err := o.produce(b, recoveryEvery); err != nil {
		return err
	}
	return fmt.Errorf("the run ended: %w", <-ended)
}

// produce writes every nth key once.
func (o *recoveryOrder) produce(b *broker.Broker, every int) error {
	var builders [recoveryPartitions]*record.Builder
	for p := range builders {
		builders[p] = record.NewBuilder()
	}
	flush := func(p, min int) error {
		if builders[p].Count() < min {
			return nil
		}
		part, err := b.Partition(record.TopicPartition{Topic: "in", Partition: record.Partition(p)})
		if err != nil {
			return err
		}
		data, err := builders[p].Finish(record.None)
		if err == nil {
			_, err = part.Produce(data, broker.AcksLeader)
		}
		builders[p].Reset()
		return err
	}
	for i := 0; i < o.Entries; i += every {
		key := []byte(recoveryKey(i))
		p := int(record.PartitionForKey(key, recoveryPartitions))
		builders[p].Append(&record.View{Key: key, Value: []byte{}, Timestamp: t0 + int64(i)})
		if err := flush(p, 500); err != nil {
			return err
		}
	}
	for p := range builders {
		if err := flush(p, 1); err != nil {
			return err
		}
	}
	return nil
}
