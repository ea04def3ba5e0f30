package terminal

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
)

// restorer is an engine that a test moves on.
type restorer struct {
	mu    sync.Mutex
	at    engine.RestoreSnapshot
	under bool
	asked int
}

func (r *restorer) Restoring() (engine.RestoreSnapshot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	return r.at, r.under
}

func (r *restorer) set(done, total int64, under bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.under = engine.RestoreSnapshot{Done: done, Total: total}, under
}

// shown is what stands in the terminal's lines after each time that something was
// written: a carriage return goes back to the line's begin.
func shown(out *bytes.Buffer) []string {
	var lines []string
	for l := range strings.Lines(out.String()) {
		parts := strings.Split(strings.TrimSuffix(l, "\n"), "\r")
		lines = append(lines, strings.TrimRight(parts[len(parts)-1], " "))
	}
	out.Reset()
	return lines
}

func TestARestoreIsOneLineThatEndsWhereItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := &restorer{}
		stop := follow(&out, r)
		look := func() {
			<-time.After(pace)
			synctest.Wait()
		}
		look()
		r.set(0, 0, true) // it is not known yet how much there is to do
		look()
		if s := out.String(); s != "" {
			t.Errorf("%q is drawn before there is anything to tell", s)
		}
		for i := range int64(10) {
			r.set(100*i, 2000, true)
			look()
		}
		got := shown(&out)
		if len(got) != 1 || !strings.Contains(got[0], "restoring state") || !strings.Contains(got[0], "45%") ||
			!strings.Contains(got[0], "(900/2000, 500 records/s) [1s:2s]") {
			t.Errorf("drawn is %q, want one line with 45 %%, 900 of 2000 at 500 a second, 2 s left", got)
		}
		r.set(2000, 2000, true) // this task's; another follows
		look()
		r.set(2000, 4000, true)
		look()
		if got := shown(&out); len(got) != 1 || !strings.Contains(got[0], "50%") || !strings.Contains(got[0], "(2000/4000, ") {
			t.Errorf("after more was found drawn is %q, want 2000 of 4000 in the same line", got)
		}
		r.set(4000, 4000, false)
		look()
		look()
		if s := out.String(); !strings.HasSuffix(s, "\n") || strings.Count(s, "\n") != 1 || !strings.Contains(s, "100%") {
			t.Errorf("at the end drawn is %q, want 100 %% and the line's end", s)
		}
		out.Reset()

		r.set(10, 10, true) // tasks move; that takes no time
		look()
		r.set(10, 10, false)
		look()
		if s := out.String(); s != "" {
			t.Errorf("of a restore that is over at once %q is drawn", s)
		}
		r.set(500, 1000, true) // another, of which much is done when it is looked at first
		look()
		if got := shown(&out); len(got) != 1 || !strings.Contains(got[0], "(0/1000") {
			t.Errorf("first drawn is %q, want 0 of 1000: how fast it was is not known", got)
		}
		r.set(510, 1000, true) // which is broken off
		look()
		stop()
		if s := out.String(); !strings.HasSuffix(s, "\n") || strings.Count(s, "\n") != 1 || !strings.Contains(s, "(510/1000") || strings.Contains(s, "100%") {
			t.Errorf("broken off drawn is %q, want 510 of 1000 and the line's end", s)
		}
		stop()
	})
}

func TestNothingIsWrittenWhereThereIsNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/err")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	synctest.Test(t, func(t *testing.T) {
		r := &restorer{}
		r.set(10, 100, true)
		for _, stop := range []func(){ShowRestoring(f, r), ShowRestoring(&bytes.Buffer{}, r)} {
			<-time.After(time.Minute)
			stop()
		}
		if r.asked != 0 {
			t.Errorf("the engine was asked %d times for what nobody sees", r.asked)
		}
	})
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%d bytes were written (%v), want none", info.Size(), err)
	}
}
