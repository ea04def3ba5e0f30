package engine_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millstream-io/millstream/runtime/engine"
)

func TestOnPanicPutsOneRecordAsideAndGoesOn(t *testing.T) {
	for _, action := range []string{"dead-letter", "skip"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld()
			in := lines(200, 1)
			poison, bad := "web-0 bad", int64(0)
			for _, l := range in {
				if strings.HasSuffix(l.text, " bad") {
					poison = l.text // the last one that counts
				}
			}
			rest := slices.DeleteFunc(slices.Clone(in), func(l line) bool {
				if l.text == poison {
					bad++
				}
				return l.text == poison
			})
			cfg := config(in, 2, 2)
			cfg.OnPanic = action
			e, err := engine.NewOn(countProgram(t, func(v string) {
				if v == poison {
					panic("boom")
				}
			}), cfg, w.backing())
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Run(t.Context()); err != nil {
				t.Fatalf("Run: %v; the record is to be put aside", err)
			}
			same(t, output(t, w.log, "out"), fold(rest))
			want := map[string]int64{"dead-letter": bad, "skip": 0}[action]
			if got := e.State().Totals.DeadLettered; got != want {
				t.Errorf("%d dead letters, expected %d", got, want)
			}
		})
	}
}

func TestOnPanicRetryProcessesTheRecordAgain(t *testing.T) {
	w := newWorld()
	in := lines(100, 1)
	cfg := config(in, 2, 2)
	cfg.OnPanic = "retry"
	var panics atomic.Int64
	run(t, w, countProgram(t, func(v string) {
		if v == in[30].text && panics.Add(1) <= 2 {
			panic("not yet")
		}
	}), cfg)
	same(t, output(t, w.log, "out"), fold(in))
	if panics.Load() < 3 {
		t.Errorf("the record was processed %d times, expected 3", panics.Load())
	}
}
