package cache

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
)

// nullHost takes everything and has nothing.
type nullHost struct{ processor.Host }

func (nullHost) Backend(int) state.Backend                               { return nullHost{} }
func (nullHost) Get(_, dst []byte) ([]byte, bool, error)                 { return dst, false, nil }
func (nullHost) Range(_, _ []byte, _ func(key, value []byte) bool) error { return nil }
func (nullHost) Changelog(int, []byte, []byte) error                     { return nil }
func (nullHost) Expire(int, int64) error                                 { return nil }

func benchKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "host-%07d", i*7919%n)
	}
	return keys
}

// BenchmarkWindowsIncrement is the hot path of a windowed count: find and add.
func BenchmarkWindowsIncrement(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := NewWindows(nullHost{}, 0, intSerde{}, NewBudget(1<<30))
			keys := benchKeys(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e, err := c.FindOrCreate(60_000, keys[i%n])
				if err != nil {
					b.Fatal(err)
				}
				e.Value++
				c.Changed(e)
			}
		})
	}
}

// BenchmarkWindowsComeAndGo makes every entry new: 3,000 keys a window, a flush
// and an expiry for each window, on recycled memory.
func BenchmarkWindowsComeAndGo(b *testing.B) {
	c := NewWindows(nullHost{}, 0, intSerde{}, NewBudget(64<<20))
	const n = 3000
	keys := benchKeys(n)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		start := int64(i / n)
		if i%n == 0 {
			if err := c.Flush(); err != nil {
				b.Fatal(err)
			}
			c.Committed()
			if err := c.Expire(start); err != nil {
				b.Fatal(err)
			}
		}
		e, err := c.FindOrCreate(start, keys[i%n])
		if err != nil {
			b.Fatal(err)
		}
		e.Value++
		c.Changed(e)
	}
}

func BenchmarkKVIncrement(b *testing.B) {
	c := NewKV(nullHost{}, 0, intSerde{}, NewBudget(1<<30))
	keys := benchKeys(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e, err := c.FindOrCreate(keys[i%1000])
		if err != nil {
			b.Fatal(err)
		}
		e.Value++
		c.Changed(e)
	}
}

// BenchmarkWindowsAscend is a close of a window of 3,000 keys, by entry.
func BenchmarkWindowsAscend(b *testing.B) {
	c := NewWindows(nullHost{}, 0, intSerde{}, NewBudget(64<<20))
	keys := benchKeys(3000)
	for _, k := range keys {
		e, _ := c.FindOrCreate(0, k)
		c.Changed(e)
	}
	var sum int64
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Ascend(0, func(_ []byte, v, _ int64) error { sum += v; return nil })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/3000, "ns/entry")
}
