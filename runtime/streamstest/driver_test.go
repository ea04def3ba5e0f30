package streamstest_test

import (
	"maps"
	"testing"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// alertsOf reads the alerts topic; a window that comes twice is reported.
func alertsOf(t testing.TB, h streamstest.Harness) map[window]int64 {
	t.Helper()
	got := map[window]int64{}
	for _, r := range streamstest.Output[streams.Windowed[string], int64](h, "alerts").ReadAll() {
		w := window{r.Key.Key, r.Key.StartTime()}
		if _, twice := got[w]; twice {
			t.Errorf("the window %v came twice", w)
		}
		got[w] = r.Value
	}
	return got
}

func check(t testing.TB, what string, h streamstest.Harness, in []event) {
	t.Helper()
	alerts, totals := fold(in)
	if got := alertsOf(t, h); !maps.Equal(got, alerts) {
		t.Errorf("%s: alerts are %v, expected %v", what, got, alerts)
	}
	if got := streamstest.Latest(streamstest.Output[string, int64](h, "totals")); !maps.Equal(got, totals) {
		t.Errorf("%s: totals are %v, expected %v", what, got, totals)
	}
	for host, n := range totals {
		if v, ok := streamstest.Get[string, int64](h, "lines-per-host", host); !ok || v != n {
			t.Errorf("%s: store lines-per-host has %s = %d, %v, expected %d", what, host, v, ok, n)
		}
	}
}

func send(h streamstest.Harness, in []event) {
	lines := streamstest.Input[string, string](h, "lines")
	for _, e := range in {
		lines.SendValue(e.line, e.at)
	}
}

func TestResultsAreTheFoldOverTheInputWhateverThePartitions(t *testing.T) {
	in := events(400, 1)
	for _, o := range []streamstest.Options{
		{Partitions: 1}, {}, {Partitions: 5, Workers: 3}, {Partitions: 4, CommitEvery: 1}, {Partitions: 7, Workers: 1, CommitEvery: 13},
	} {
		d := streamstest.New(t, logins(t), o)
		send(d, in)
		d.End()
		check(t, "partitions", d, in)
	}
}
