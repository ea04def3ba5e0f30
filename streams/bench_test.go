package streams_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// silent is a host that keeps nothing.
type silent struct{ sent, logged int }

func (h *silent) Send(int, *processor.Record, int32) error   { h.sent++; return nil }
func (h *silent) Partitions(int) int32                       { return 6 }
func (h *silent) Backend(int) state.Backend                  { return backend(nil) }
func (h *silent) Changelog(int, []byte, []byte) error        { h.logged++; return nil }
func (h *silent) Expire(int, int64) error                    { return nil }
func (h *silent) Late(string, bool, *processor.Record) error { return nil }
func (h *silent) Dropped(string)                             {}
func (h *silent) CacheBytes() int64                          { return 64 << 20 }

// benchRecords are lines of about 120 bytes from hosts, 30 % of which match.
func benchRecords(n, hosts int) []processor.Record {
	rs := make([]processor.Record, n)
	for i := range rs {
		text := "session opened for user"
		if i%10 < 3 {
			text = "Invalid user admin from"
		}
		host := fmt.Sprintf("host-%06d", (i*7919)%hosts)
		line := fmt.Sprintf("<38>Nov 21 03:47:16 %s sshd[%05d]: %s 10.1.%d.%d port 22 ssh2", host, i%100000, text, i%256, i%199)
		rs[i] = processor.Record{Key: []byte(host), Value: []byte(line + strings.Repeat(".", 120-len(line)%120)), Topic: "lines"}
	}
	return rs
}

func benchUnit(b testing.TB, program func(in *streams.Stream[string, string])) (processor.Unit, *silent) {
	builder := streams.NewBuilder("bench")
	program(builder.From[string, string]("lines"))
	return unitOf(b, builder)
}

// unitOf builds a program as one unit; its sources are in the order of their definition.
func unitOf(b testing.TB, builder *streams.Builder) (processor.Unit, *silent) {
	topo, err := builder.Build()
	if err != nil {
		b.Fatal(err)
	}
	h := &silent{}
	sub := topology.SubTopology{}
	for _, n := range topo.Nodes {
		sub.Nodes = append(sub.Nodes, n.ID)
		switch n.Kind {
		case topology.Source:
			sub.Sources = append(sub.Sources, n.ID)
		case topology.Sink:
			sub.Sinks = append(sub.Sinks, n.ID)
		}
		sub.Stores = append(sub.Stores, n.Stores...)
	}
	u, err := topo.Instantiate(sub, h)
	if err != nil {
		b.Fatal(err)
	}
	return u, h
}

// runBench processes b.N records, 1 ms of event time every stepUS, and commits
// every 200,000.
func runBench(b *testing.B, hosts int, program func(in *streams.Stream[string, string])) {
	rs := benchRecords(1<<16, hosts)
	u, _ := benchUnit(b, program)
	run := func(from, n int) {
		for i := from; i < from+n; i++ {
			r := &rs[i&(len(rs)-1)]
			r.Timestamp = int64(i / 100)
			r.StreamTime = r.Timestamp
			if r.StreamTime >= u.NextTime() {
				if err := u.Advance(r.StreamTime); err != nil {
					b.Fatal(err)
				}
			}
			if err := u.Process(0, r); err != nil {
				b.Fatal(err)
			}
			if i%200_000 == 0 {
				if err := u.Flush(); err != nil {
					b.Fatal(err)
				}
				u.Committed()
			}
		}
	}
	run(0, 1<<16)
	b.ReportAllocs()
	b.ResetTimer()
	run(1<<16, b.N)
}

func matching(_, line string) bool { return strings.Contains(line, "Invalid user") }
func same(_, line string) string   { return line[4:] }

// BenchmarkWindowedCount is the syslog count of FACTS: decode, filter, windowed
// count with a result per window.
func BenchmarkWindowedCount(b *testing.B) {
	for _, hosts := range []int{1000, 50000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			runBench(b, hosts, func(in *streams.Stream[string, string]) {
				in.Filter(matching).MapValues(same).GroupByKey().
					Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
					Count(streams.Store("counts"), streams.EmitOnClose()).
					ToStream(streams.KeyOnly).To("out")
			})
		})
	}
}

// BenchmarkWindowedCountAll counts every record.
func BenchmarkWindowedCountAll(b *testing.B) {
	runBench(b, 1000, func(in *streams.Stream[string, string]) {
		in.MapValues(same).GroupByKey().
			Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
			Count(streams.Store("counts"), streams.EmitOnClose()).
			ToStream(streams.KeyOnly).To("out")
	})
}

// BenchmarkStateless is decode, filter, map, encode.
func BenchmarkStateless(b *testing.B) {
	runBench(b, 1000, func(in *streams.Stream[string, string]) {
		in.Filter(matching).MapValues(same).To("out")
	})
}

// BenchmarkDecode is the floor: decode and a filter that drops everything.
func BenchmarkDecode(b *testing.B) {
	runBench(b, 1000, func(in *streams.Stream[string, string]) {
		in.Filter(func(_, v string) bool { return v == "" }).To("out")
	})
}

// BenchmarkCount is a count without windows.
func BenchmarkCount(b *testing.B) {
	runBench(b, 1000, func(in *streams.Stream[string, string]) {
		in.GroupByKey().Count(streams.Store("counts")).ToStream().To("out")
	})
}

// BenchmarkReduceStrings keeps a string of each key: owned once a commit.
func BenchmarkReduceStrings(b *testing.B) {
	runBench(b, 1000, func(in *streams.Stream[string, string]) {
		in.GroupByKey().Reduce(func(_, v string) string { return v }, streams.Store("latest")).ToStream().To("out")
	})
}
