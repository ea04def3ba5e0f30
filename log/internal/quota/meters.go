package quota

import (
	"math"
	"sync"
	"time"
)

// Burst is how many seconds' worth of a quota may be used at once by who used
// none before: Kafka's quota.window.num - 1 windows of
// quota.window.size.seconds, and one more for mutations.
const (
	burstSeconds         = 10
	mutationBurstSeconds = 11
)

// maxRequestThrottle bounds the throttling for request time, as Kafka's window does.
const maxRequestThrottle = time.Second

// fullSweep is the number of buckets from which full ones are looked for and dropped.
const fullSweep = 1 << 12

// Meters know what is left of every quota. Any number of goroutines may use them.
//
// A quota is a bucket that fills with Rate and holds the burst; use empties it,
// also below zero: the debt is the time to throttle. A full bucket is worth
// nothing and is dropped, so memory is bounded by the clients of the last seconds.
type Meters struct {
	mu      sync.Mutex // guards what follows
	buckets map[Owner]bucket
	sweepAt int
}

type bucket struct {
	left float64   // units; below 0 is debt
	full time.Time // when it is full again, at the rate that it had last
	at   time.Time
}

// NewMeters makes meters without any use.
func NewMeters() *Meters { return &Meters{buckets: map[Owner]bucket{}, sweepAt: fullSweep} }

// burst of a limit, in units.
func (l Limit) burst() float64 {
	if l.Owner.Kind == ControllerMutation {
		return l.Rate * mutationBurstSeconds
	}
	return l.Rate * burstSeconds
}

// Burst is how much may be used at once at most, in units; +Inf where there is no limit.
func (l Limit) Burst() float64 {
	if l.Rate <= 0 {
		return math.Inf(1)
	}
	return l.burst()
}

// throttle is how long the debt takes to be paid.
func (l Limit) throttle(left float64) time.Duration {
	if left >= 0 {
		return 0
	}
	d := time.Duration(math.Min(-left/l.Rate*float64(time.Second), float64(math.MaxInt32)*float64(time.Millisecond)))
	if l.Owner.Kind == RequestTime {
		d = min(d, maxRequestThrottle)
	}
	return max(d, time.Millisecond)
}

// Use takes amount units and gives how long the client is to be throttled; 0
// where it is within its quota or has none.
func (m *Meters) Use(now time.Time, l Limit, amount float64) time.Duration {
	if l.Rate <= 0 {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.fill(now, l)
	b.left -= amount
	m.put(now, l, b)
	return l.throttle(b.left)
}

// Try takes amount units unless the quota is used up already, in which case
// it takes nothing and gives how long the client is to be throttled.
func (m *Meters) Try(now time.Time, l Limit, amount float64) time.Duration {
	if l.Rate <= 0 {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.fill(now, l)
	if b.left >= 0 {
		b.left -= amount
		m.put(now, l, b)
		return 0
	}
	return l.throttle(b.left)
}

// Debt is how long the client is to be throttled for what was used before.
func (m *Meters) Debt(now time.Time, l Limit) time.Duration { return m.Try(now, l, 0) }

// fill is the bucket as it is now. A clock that goes back fills nothing; a
// bucket that was never used is full.
func (m *Meters) fill(now time.Time, l Limit) bucket {
	b, ok := m.buckets[l.Owner]
	if !ok {
		return bucket{left: l.burst(), at: now}
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.left = b.left + passed.Seconds()*l.Rate
		b.at = now
	}
	b.left = min(b.left, l.burst())
	return b
}

func (m *Meters) put(now time.Time, l Limit, b bucket) {
	b.full = b.at.Add(time.Duration(min((l.burst()-b.left)/l.Rate, 1e9) * float64(time.Second)))
	m.buckets[l.Owner] = b
	if len(m.buckets) < m.sweepAt {
		return
	}
	for o, b := range m.buckets {
		if !now.Before(b.full) {
			delete(m.buckets, o)
		}
	}
	m.sweepAt = max(fullSweep, 2*len(m.buckets))
}
