package alert_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams/alert"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// silent is a host that keeps nothing.
type silent struct{}

func (silent) Send(int, *processor.Record, int32) error   { return nil }
func (silent) Partitions(int) int32                       { return 1 }
func (silent) Backend(int) state.Backend                  { return silent{} }
func (silent) Changelog(int, []byte, []byte) error        { return nil }
func (silent) Expire(int, int64) error                    { return nil }
func (silent) Late(string, bool, *processor.Record) error { return nil }
func (silent) Dropped(string)                             {}
func (silent) CacheBytes() int64                          { return 64 << 20 }
func (silent) Get(_, dst []byte) ([]byte, bool, error)    { return dst, false, nil }
func (silent) Range(_, _ []byte, _ func(_, _ []byte) bool) error {
	return nil
}

// BenchmarkWhen is the time of one record: 1,000 keys in turn, 1,000 records a
// second of event time, a commit every 100,000.
func BenchmarkWhen(b *testing.B) {
	for _, c := range []struct {
		name string
		rule alert.Condition
	}{
		{"count-in", alert.Count().In(minute()).AtLeast(1e9)},
		{"count-over", alert.Count().Over(time.Minute).AtLeast(1e9)},
		{"avg-over", alert.Avg(number).Over(time.Minute).Above(1e9)},
		{"absent", alert.Absent(10 * time.Second)},
	} {
		b.Run(c.name, func(b *testing.B) {
			topo := program(b, c.rule)
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
			u, err := topo.Instantiate(sub, silent{})
			if err != nil {
				b.Fatal(err)
			}
			if err := u.Restore(processor.NoTime, nil); err != nil {
				b.Fatal(err)
			}
			keys := make([][]byte, 1000)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "host-%04d", i)
			}
			value := binary.BigEndian.AppendUint64(nil, math.Float64bits(1))
			n := 0
			var r processor.Record
			run := func(count int) {
				for range count {
					at := int64(n)
					if at >= u.NextTime() {
						err = u.Advance(at)
					}
					r = processor.Record{Key: keys[n%1000], Value: value, Timestamp: at, StreamTime: at, Topic: "numbers"}
					if err == nil {
						err = u.Process(0, &r)
					}
					if n++; n%100_000 == 0 && err == nil {
						err = u.Flush()
						u.Committed()
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			run(200_000)
			b.ReportAllocs()
			b.ResetTimer()
			run(b.N)
		})
	}
}
