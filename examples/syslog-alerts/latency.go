package main

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/syslog"
)

// latencies are the times from the socket read of the line that caused an alert
// (a header that the alert inherits) to the return of the sink's write.
type latencies struct {
	mu    sync.Mutex
	n     int64
	times []time.Duration
}

// maxLatencies bounds the memory of a long run; the newest ones are kept.
const maxLatencies = 100_000

// written takes the alerts of one write of the sink.
func (l *latencies) written(records []connectors.Record) {
	now := time.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range records {
		l.n++
		for _, h := range records[i].Headers {
			if h.Key != syslog.HeaderReceived || len(h.Value) != 8 {
				continue
			}
			took := time.Duration(now - int64(binary.BigEndian.Uint64(h.Value)))
			if len(l.times) < maxLatencies {
				l.times = append(l.times, took)
			} else {
				l.times[l.n%maxLatencies] = took
			}
		}
	}
}

func (l *latencies) count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// quantile is the smallest time that a part q of all does not exceed, 0 if there are none.
func (l *latencies) quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(l.times))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}
