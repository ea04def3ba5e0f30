package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/memstore"
)

// The only lines go to one of three partitions: the others never have a record,
// and nothing comes after. Only IdleAfter can close the windows, also behind the
// repartition topic.
func TestIdleAfterClosesWindowsByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := []line{{t0, "host-01 bad"}, {t0 + 10, "host-01 bad"}, {t0 + 20, "host-02 bad"}}
		w := &world{db: memstore.New(0), log: memlog.New(memlog.Config{})}
		cfg := config(in, 3, 2)
		cfg.Bounded, cfg.IdleAfter = false, 2*time.Second
		cfg.CommitInterval, cfg.CheckpointInterval = 100*time.Millisecond, time.Second
		cfg.Sources[0].Source = &slice{lines: in, chunk: 10, limit: len(in), partition: 1}
		e, err := engine.NewOn(countProgram(t), cfg, w.backing())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()

		// The window [t0, t0+10s) is open for 10 s after its first line, plus the 2 s
		// until the input counts as idle, not less: time never jumps.
		pass(11 * time.Second)
		if got := output(t, w.log, "out"); len(got) != 0 {
			t.Errorf("after 11 s: %v, want nothing: the window is open until idle time has passed its end", got)
		}
		pass(4 * time.Second)
		same(t, output(t, w.log, "out"), fold(in))
		commits := e.State().Totals.Commits
		pass(10 * time.Second)
		if n := e.State().Totals.Commits - commits; n > 60 {
			t.Errorf("%d transactions in 10 idle seconds: watermarks of idle tasks are a second apart at most", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// pass lets the bubble's clock go on and everybody do what is due by then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
