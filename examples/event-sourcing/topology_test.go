package main

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/runtime/streamstest"
)

// TestEveryEventCountsOnceThroughCrashes drives the topology step by step, and
// kills it after every one of its first steps: balances and rejections are
// those of the events, each counted once.
func TestEveryEventCountsOnceThroughCrashes(t *testing.T) {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	down := 0
	for crash := range 24 {
		d := streamstest.New(t, topo, streamstest.Options{CommitEvery: 2})
		in := streamstest.Input[string, Event](d, "events")
		var want []streamstest.Pair[string, Rejection]
		for i := range 4 {
			account := fmt.Sprint("account", i)
			in.Send(account, Event{"opened", 0}, d.Now())
			in.Send(account, Event{"deposited", 10}, d.Now())
			in.Send(account, Event{"withdrawn", 11}, d.Now())
			in.Send(account, Event{"withdrawn", int64(i + 1)}, d.Now())
			want = append(want, streamstest.KV(account, Rejection{Event{"withdrawn", 11}, "overdrawn"}))
		}
		for range crash {
			d.Step()
		}
		if crash%3 == 2 {
			d.Checkpoint()
		}
		if d.Totals().RecordsIn > 0 && d.Totals().RecordsIn < 16 {
			down++
		}
		at := d.Last()
		d.Crash()
		d.Restart()
		d.Run()
		for i := range 4 {
			account := fmt.Sprint("account", i)
			got, ok := streamstest.Get[string, int64](d, "balances", account)
			if want := int64(10 - i - 1); !ok || got != want {
				t.Errorf("crash after %q: %s has %d (%t), want %d", at, account, got, ok, want)
			}
		}
		streamstest.Output[string, Rejection](d, "rejections").Expect(want...)
	}
	if down == 0 {
		t.Error("no crash came between the first commit and the last")
	}
}
