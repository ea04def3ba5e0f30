package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams"
)

func TestExactlyOnceUnderFailedCommits(t *testing.T) {
	in := lines(2000, 11)
	want := fold(in)
	kinds := []memlog.CommitFault{memlog.FailBefore, memlog.FailAfter, memlog.FailUnavailable, memlog.FailRebalanced}
	for i, kind := range kinds {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			w := newWorld()
			cfg := config(in, 3, 2)
			cfg.Sources[0].Source = &slice{lines: in, chunk: 7}
			for n := range 3 {
				w.log.FailNextCommit(logclient.TxnID(fmt.Sprintf("app-worker-%d", (n+i)%2)), kind)
			}
			w.log.FailNextCommit("app-source-lines", []memlog.CommitFault{memlog.FailBefore, memlog.FailAfter}[i%2])
			e := run(t, w, countProgram(t), cfg)
			same(t, output(t, w.log, "out"), want)
			if s := e.State(); s.Totals.Aborts < 1 {
				t.Errorf("no transaction was aborted: the faults did not happen")
			}
		})
	}
}

// Abandoned engines stand for killed processes: one of their commits never
// returns, the log is reopened under them, so that whatever they still try
// fails, and their database is cloned as a crash would leave it.
func TestExactlyOnceOverCrashes(t *testing.T) {
	in := lines(3000, 5)
	want := fold(in)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			w := newWorld()
			for life := range 4 {
				crash(t, w, in, (life+1)*600, 1+r.IntN(3), 1+r.IntN(2), r) // source, first and second sub-topology: three commits come for sure
			}
			limit := sinceCheckpoints(t, w)
			e := run(t, w, countProgram(t), config(in, 3, 1+r.IntN(3)))
			same(t, output(t, w.log, "out"), want)
			if s := e.State().Totals; s.Restored > limit || s.Rebuilt > 0 {
				t.Errorf("%d changelog records replayed, %d tasks rebuilt: want at most the %d since the checkpoints", s.Restored, s.Rebuilt, limit)
			}
		})
	}
}

// sinceCheckpoints counts the committed changelog records of the store counts
// that no checkpoint holds.
func sinceCheckpoints(t *testing.T, w *world) (n int64) {
	t.Helper()
	for p := range int32(3) {
		from := record.Offset(0)
		if b, ok, err := w.db.CheckpointRecord(plan.TaskID{Sub: 1, Partition: p}.Key()); err != nil {
			t.Fatal(err)
		} else if ok {
			c, err := restore.DecodeCheckpoint(b)
			if err != nil {
				t.Fatal(err)
			}
			from = c.Changelogs[0].End.Offset
		}
		for _, r := range w.log.Records(record.TopicPartition{Topic: "app-counts-changelog", Partition: record.Partition(p)}) {
			if r.Offset >= from {
				n++
			}
		}
	}
	return n
}

// crash runs an engine on the first lines and lets it die at its nth commit.
func crash(t *testing.T, w *world, in []line, limit, nth, workers int, r *rand.Rand) {
	t.Helper()
	cfg := config(in, 3, workers)
	cfg.Sources[0].Source = &slice{lines: in, chunk: 150, limit: limit}
	reached, dead := make(chan struct{}), make(chan struct{})
	var n atomic.Int64
	e, err := engine.NewOn(countProgram(t), cfg, w.backing())
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
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx) })
	<-reached
	w.onCommit(nil)
	w.db = w.db.CrashClone(r.IntN(w.db.Pending() + 1))
	if r.IntN(3) == 0 {
		w.log = w.log.Crash(nil)
	} else {
		w.log = w.log.Reopen()
	}
	close(dead)
	cancel()
	wg.Wait()
}

func TestAGracefulEndLeavesNothingToReplay(t *testing.T) {
	in := lines(2000, 3)
	w := newWorld()
	if e := run(t, w, countProgram(t), config(in, 3, 1)); e.State().Totals.Checkpoints == 0 {
		t.Fatal("a graceful end writes checkpoints")
	}
	w.log = w.log.Reopen()
	e := run(t, w, countProgram(t), config(in, 3, 1))
	if s := e.State().Totals; s.Restored != 0 || s.Rebuilt != 0 {
		t.Errorf("%d records replayed, %d tasks rebuilt after a graceful end, want 0", s.Restored, s.Rebuilt)
	}
}

func TestALostDatabaseIsRebuiltFromTheChangelogs(t *testing.T) {
	in := lines(2000, 3)
	r := rand.New(rand.NewPCG(1, 1))
	w := newWorld()
	for life := range 3 {
		crash(t, w, in, (life+1)*600, 3, 1, r)
		w.db = memstore.New(0)
	}
	run(t, w, countProgram(t), config(in, 3, 2))
	same(t, output(t, w.log, "out"), fold(in))
}

func TestASecondRunOverTheSameInputPrintsNothingNew(t *testing.T) {
	in := lines(1000, 9)
	w := newWorld()
	run(t, w, countProgram(t), config(in, 3, 2))
	w.log = w.log.Reopen()
	e := run(t, w, countProgram(t), config(in, 3, 2))
	same(t, output(t, w.log, "out"), fold(in))
	if s := e.State().Totals; s.RecordsIn != 0 {
		t.Errorf("the second run read %d records", s.RecordsIn)
	}
}

func TestWorkersRunTasksAtTheSameTime(t *testing.T) {
	in := lines(100, 1)
	w := newWorld()
	var meet sync.WaitGroup
	meet.Add(2)
	var first sync.Map // by goroutine is not to be had: by the first call on each of two partitions
	var calls atomic.Int64
	program := countProgram(t, func(string) {
		if n := calls.Add(1); n <= 2 {
			first.Store(n, true)
			meet.Done()
			meet.Wait() // only another worker can be the second
		}
	})
	run(t, w, program, config(in, 2, 2))
	same(t, output(t, w.log, "out"), fold(in))
}

func TestAPanicStopsTheRunAndNamesOperatorAndRecord(t *testing.T) {
	w := newWorld()
	in := lines(50, 1)
	program := countProgram(t, func(v string) {
		if v == in[20].text {
			panic("boom")
		}
	})
	e, err := engine.NewOn(program, config(in, 1, 1), w.backing())
	if err != nil {
		t.Fatal(err)
	}
	err = e.Run(t.Context())
	var p *task.PanicError
	if !errors.As(err, &p) || p.Operator == "" || p.Topic != "lines" || p.Value != "boom" {
		t.Fatalf("Run: %v, want a PanicError with operator and coordinates", err)
	}
	if e.Live() == nil || e.State().Phase != engine.PhaseFailed {
		t.Errorf("a failed engine is not live")
	}
	// The next start goes on where the last commit stood.
	w.log = w.log.Reopen()
	run(t, w, countProgram(t), config(in, 1, 1))
	same(t, output(t, w.log, "out"), fold(in))
}

func TestAChangedProgramOverOldStateIsRefused(t *testing.T) {
	w := newWorld()
	cfg := config(lines(10, 1), 2, 1)
	cfg.Settings = map[string]string{"threshold": "5"}
	run(t, w, countProgram(t), cfg)
	w.log = w.log.Reopen()
	cfg.Settings = map[string]string{"threshold": "6"}
	_, err := engine.NewOn(countProgram(t), cfg, w.backing())
	var changed *engine.ChangedError
	if !errors.As(err, &changed) || !strings.Contains(err.Error(), `threshold was "5", is "6"`) {
		t.Fatalf("New: %v, want a ChangedError that names the setting", err)
	}
}

func TestQueriesSeeCommittedState(t *testing.T) {
	in := lines(500, 4)
	w := newWorld()
	b := streams.NewBuilder("q")
	b.From[string, string]("lines").
		GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host }).
		Count(streams.Store("hosts"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	e := run(t, w, topo, config(in, 3, 2))
	want := map[string]int64{}
	for _, l := range in {
		host, _, _ := strings.Cut(l.text, " ")
		want[host]++
	}
	got := map[string]int64{}
	if err := engine.All(e, "hosts", func(k string, n int64) bool { got[k] = n; return true }); err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	for k, n := range want {
		if v, ok, err := engine.Get[string, int64](e, "hosts", k); v != n || !ok || err != nil {
			t.Errorf("Get %s: %d %v %v, want %d", k, v, ok, err, n)
		}
	}
	if _, ok, err := engine.Get[string, int64](e, "hosts", "nobody"); ok || err != nil {
		t.Errorf("Get of a missing key: %v %v", ok, err)
	}
	if _, _, err := engine.Get[string, string](e, "hosts", "x"); err == nil {
		t.Errorf("a query with the wrong type is refused")
	}
}
