package main

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/sysloglines"
)

func TestTheWorstPartitionIsTheDowntime(t *testing.T) {
	start := time.Now().Add(-10 * time.Second)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	w := &watch{}
	for p := range w.arrivals {
		for s := 0.0; s < 10; s += 0.1 {
			if p == 3 && s > 2 && s < 7 { // stands still
				continue
			}
			w.arrivals[p] = append(w.arrivals[p], at(s))
		}
	}
	near := func(what string, got time.Duration, want float64) {
		t.Helper()
		if s := got.Seconds(); s < want-0.3 || s > want+0.3 {
			t.Errorf("%s: %.2f s, expected about %.1f s", what, s, want)
		}
	}
	near("the gap that begins after the fault", w.longestGap(at(1.5)), 5)
	near("the gap in which the fault lies", w.longestGap(at(4)), 5)
	near("after the gap", w.longestGap(at(8)), 0.1)
	near("from the session's end to the first result of all", w.firstAfter(at(6)), 1)

	w.arrivals[5] = w.arrivals[5][:50]
	near("a partition that has not come back", w.longestGap(at(8)), 5)
}

func TestResultsOfBothSidesAreParsed(t *testing.T) {
	r := &kgo.Record{Key: binary.BigEndian.AppendUint64(hostName(7), 60_000), Value: binary.BigEndian.AppendUint64(nil, 3)}
	w, n, err := window(r)
	if want := (sysloglines.Window{Host: 7, StartMS: 60_000}); err != nil || w != want || n != 3 {
		t.Errorf("%+v, %d, %v; expected %+v, 3", w, n, err, want)
	}
	if _, _, err := window(&kgo.Record{Key: []byte("host-0007"), Value: []byte("3")}); err == nil {
		t.Error("a value of one byte was taken for a count")
	}
}

func TestTheFeedReachesEveryPartition(t *testing.T) {
	var n [partitions]int
	for _, host := range hosts() {
		n[partitionOf(host)]++
	}
	for p, hosts := range n {
		if hosts != feedHosts {
			t.Errorf("partition %d has %d hosts, expected %d", p, hosts, feedHosts)
		}
	}
}
