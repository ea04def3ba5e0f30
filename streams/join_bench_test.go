package streams_test

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
)

// joinUnit is a join of the topic lines (source 0) with a table of all its keys
// (source 1), committed and wholly cached.
func joinUnit(t testing.TB, rs []processor.Record, program func(in *streams.Stream[string, string], hosts *streams.Table[string, string])) processor.Unit {
	b := streams.NewBuilder("bench")
	in := b.From[string, string]("lines")
	program(in, b.Table[string, string]("hosts", streams.Store("hosts")))
	u, _ := unitOf(t, b)
	for i := range rs {
		r := processor.Record{Key: rs[i].Key, Value: []byte("in Frankfurt"), Topic: "hosts"}
		if err := u.Process(1, &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Flush(); err != nil {
		t.Fatal(err)
	}
	u.Committed()
	return u
}

func lengths(_, line, place string) int64 { return int64(len(line) + len(place)) }

// BenchmarkJoin is decode, look up, encode the result.
func BenchmarkJoin(b *testing.B) {
	for _, hosts := range []int{1000, 50000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			rs := benchRecords(1<<16, hosts)
			u := joinUnit(b, rs, func(in *streams.Stream[string, string], hosts *streams.Table[string, string]) {
				in.Join(hosts, lengths).To("out")
			})
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := u.Process(0, &rs[i&(len(rs)-1)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestALookupInTheCacheAllocatesNothing(t *testing.T) {
	// Few keys: three on one pair of slots of the table of interned keys, which a
	// hundred keys have in one process of a hundred, push each other out for good.
	rs := benchRecords(1000, 10)
	u := joinUnit(t, rs, func(in *streams.Stream[string, string], hosts *streams.Table[string, string]) {
		in.Join(hosts, lengths).To("inner")
		in.LeftJoin(hosts.Filter(func(_, place string) bool { return place != "" }).
			MapValues(func(_, place string) int { return len(place) }),
			func(_, line string, n int, _ bool) int64 { return int64(len(line) + n) }).To("left")
	})
	run := func() {
		for i := range rs {
			if err := u.Process(0, &rs[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		run() // the table of interned keys grows until they have room
	}
	if n := testing.AllocsPerRun(20, run); n > 10 {
		t.Errorf("%v allocations for %d records, expected none", n, len(rs))
	}
}
