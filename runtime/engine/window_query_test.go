package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

// TestWindowQueriesByMoment: a moment in a window stands for the window, and
// Fetch gives a key's windows in order.
func TestWindowQueriesByMoment(t *testing.T) {
	in := lines(400, 3)
	b := streams.NewBuilder("moments")
	b.From[string, string]("lines").
		GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host }).
		Windowed(streams.Tumbling(5 * time.Second).Retention(time.Hour)).
		Count(streams.Store("per-window"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	e := run(t, newWorld(), topo, config(in, 3, 2))
	want := map[string]map[int64]int64{}
	for _, l := range in {
		host, _, _ := strings.Cut(l.text, " ")
		if want[host] == nil {
			want[host] = map[int64]int64{}
		}
		want[host][l.at-l.at%5000]++
	}
	for host, windows := range want {
		for start, n := range windows {
			at := time.UnixMilli(start + 1234)
			if got, ok, err := engine.Get[string, int64](e, "per-window", streams.At(host, at)); got != n || !ok || err != nil {
				t.Errorf("Get %s at %v: %d %v %v, want %d", host, at.UnixMilli(), got, ok, err, n)
			}
		}
		got, err := engine.Fetch[string, int64](e, "per-window", host, time.UnixMilli(0), time.UnixMilli(1<<45))
		if err != nil || len(got) != len(windows) {
			t.Errorf("Fetch %s: %d windows, %v; want %d", host, len(got), err, len(windows))
		}
		for i, w := range got {
			if w.Value != windows[w.Start.UnixMilli()] || (i > 0 && !got[i-1].Start.Before(w.Start)) {
				t.Errorf("Fetch %s: window %d is %+v, want %d and in order", host, i, w, windows[w.Start.UnixMilli()])
			}
		}
	}
}
