package streamstest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// t0 is when the tests' input begins: the start of a minute.
var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func build(t testing.TB, b *streams.Builder) *topology.Topology {
	t.Helper()
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// logins counts failed logins per host and minute, behind a repartition topic,
// and keeps the last line of each host.
func logins(t testing.TB) *topology.Topology {
	b := streams.NewBuilder("logins")
	lines := b.From[string, string]("lines")
	lines.
		Filter(func(_, line string) bool { return strings.HasSuffix(line, " bad") }).
		GroupBy(func(_, line string) string { host, _, _ := strings.Cut(line, " "); return host }).
		Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
		Count(streams.Store("bad-per-minute"), streams.EmitOnClose(), streams.KeepLate()).
		ToStream(streams.Keyed).
		To("alerts")
	lines.
		GroupBy(func(_, line string) string { host, _, _ := strings.Cut(line, " "); return host }).
		Count(streams.Store("lines-per-host"), streams.EmitEveryUpdate()).
		ToStream().
		To("totals")
	return build(t, b)
}

// event is one line of input.
type event struct {
	line string
	at   time.Time
}

// events makes n lines in time order.
func events(n int, seed uint64) []event {
	r := rand.New(rand.NewPCG(seed, 3))
	at, all := t0, make([]event, n)
	for i := range all {
		at = at.Add(time.Duration(r.IntN(4000)) * time.Millisecond)
		word := "fine"
		if r.IntN(2) == 0 {
			word = "bad"
		}
		all[i] = event{fmt.Sprintf("host-%d %s", r.IntN(7), word), at}
	}
	return all
}

// window is a key of the expected counts.
type window struct {
	host  string
	start time.Time
}

// fold is what logins shall say, in a few lines that use nothing of ours.
func fold(in []event) (alerts map[window]int64, totals map[string]int64) {
	alerts, totals = map[window]int64{}, map[string]int64{}
	for _, e := range in {
		host, word, _ := strings.Cut(e.line, " ")
		totals[host]++
		if word == "bad" {
			alerts[window{host, e.at.Truncate(time.Minute)}]++
		}
	}
	return alerts, totals
}
