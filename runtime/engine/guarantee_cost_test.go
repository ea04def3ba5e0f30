package engine_test

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
)

// TestTortureCostOfGuarantees prints what the guarantees cost side by side, on
// `millstream serve` in the test's process: its CPU is in the figures.
func TestTortureCostOfGuarantees(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	in := numbered(400_000)
	for round := range 3 {
		for _, guarantee := range []string{"exactly_once", "at_least_once"} {
			addr := serveHere(t)
			cfg := config(in, 3, 2)
			cfg.Sources[0].Source = &slice{lines: in, chunk: 1000}
			cfg.Log, cfg.InMemoryState, cfg.Guarantee, cfg.CommitInterval = "kafka://"+addr, true, guarantee, 20*time.Millisecond
			var commits, took atomic.Int64
			cfg.Hooks.Committed = func(_ string, d time.Duration, _ error) { commits.Add(1); took.Add(int64(d)) }
			e, err := engine.New(followProgram(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			began, cpu := time.Now(), cpuSeconds()
			if err := e.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			wall, cpu := time.Since(began), cpuSeconds()-cpu
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			t.Logf("round %d, %s: %.0f records/s, %.2f CPU s, %d commits of %v on average", round, guarantee,
				float64(len(in))/wall.Seconds(), cpu, commits.Load(), (time.Duration(took.Load()) / time.Duration(max(commits.Load(), 1))).Round(10*time.Microsecond))
		}
	}
}

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
