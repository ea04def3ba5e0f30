package streamstest_test

import (
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// State without a changelog is as the last commit left it after a stop, also
// where that commit was of a timer, and empty after a crash; what has a changelog
// is never lost.
func TestNoChangelogSurvivesAStopAndBeginsEmptyAfterACrash(t *testing.T) {
	b := streams.NewBuilder("local")
	in := b.From[string, string]("in")
	in.GroupByKey().Count(streams.Store("scratch"), streams.NoChangelog())
	in.GroupByKey().Count(streams.Store("kept"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	streamstest.Run(t, topo, streamstest.Options{Partitions: 1}, func(r *streamstest.Running) {
		in := streamstest.Input[string, string](r, "in")
		expect := func(when string, scratch, kept int64) {
			t.Helper()
			for store, want := range map[string]int64{"scratch": scratch, "kept": kept} {
				if n, _, err := engine.Get[string, int64](r, store, "k"); n != want || err != nil {
					t.Errorf("%s: %s is %d (%v), expected %d", when, store, n, err, want)
				}
			}
		}
		in.Send("k", "", r.Now())
		in.Send("k", "", r.Now())
		r.Wait()
		r.Restart()
		r.Wait()
		expect("after a stop", 2, 2)
		r.Restart()
		r.Wait()
		expect("after a stop in which nothing happened", 2, 2)
		in.Send("other", "", r.Now())
		r.Wait()
		r.Restart()
		r.Wait()
		expect("after a stop, with another key changed", 2, 2)
		r.Advance(time.Minute) // checkpoints
		in.Send("k", "", r.Now())
		r.Wait()
		expect("before the crash", 3, 3)
		r.Kill()
		r.Restart()
		r.Wait()
		expect("after a crash", 0, 3)
		in.Send("k", "", r.Now())
		r.Wait()
		r.Advance(time.Minute) // checkpoints: what follows is a crash without a commit in between
		r.Kill()
		r.Restart()
		r.Wait()
		expect("after a crash that lost nothing", 1, 4)
	})
}

// A filtered record moves the position and changes no state: the stop's
// checkpoint knows. A timer changes state and moves no position in the input.
func TestNoChangelogKnowsCommitsThatChangeNothingAndThoseThatMoveNothing(t *testing.T) {
	b := streams.NewBuilder("local")
	fired := streams.NewState[string, int64]("fired", streams.NoChangelog())
	b.From[string, string]("in").
		Filter(func(_, v string) bool { return v != "drop" }).
		Process(func(c *streams.Context[string, int64], k, _ string) {
			fired.Put(c, k, 0)
			c.SetTimer("t", c.Timestamp().Add(10*time.Minute))
		}, streams.Uses(fired), streams.NoChangelog(), streams.OnTimer("t", func(c *streams.Context[string, int64], k string) {
			n, _ := fired.Get(c, k)
			fired.Put(c, k, n+1)
		})).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	streamstest.Run(t, topo, streamstest.Options{Partitions: 1, IdleAfter: time.Second, Engine: engine.Config{CheckpointInterval: 24 * time.Hour}}, func(r *streamstest.Running) {
		in := streamstest.Input[string, string](r, "in")
		in.Send("k", "", r.Now())
		r.Wait()
		r.Restart()
		in.Send("k", "drop", r.Now())
		r.Wait()
		r.Restart()
		r.Wait()
		if n, ok, err := engine.Get[string, int64](r, "fired", "k"); n != 0 || !ok || err != nil {
			t.Errorf("after the stops: %d %v %v, expected a 0", n, ok, err)
		}
		r.Advance(12 * time.Minute)
		r.Wait()
		if n, _, err := engine.Get[string, int64](r, "fired", "k"); n != 1 || err != nil {
			t.Errorf("the timer: %d %v, expected 1", n, err)
		}
		r.Kill() // the last checkpoint is of the same offsets, and of before the timer
		r.Restart()
		r.Wait()
		if _, ok, err := engine.Get[string, int64](r, "fired", "k"); ok || err != nil {
			t.Errorf("after the crash the state of before the timer is back, or: %v", err)
		}
	})
}
