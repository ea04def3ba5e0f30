package task

import (
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/topology"
)

// idleUnit does nothing: what is left is the task's own cost per record.
type idleUnit struct{ records int64 }

func (u *idleUnit) Restore(int64, []byte) error                         { return nil }
func (u *idleUnit) Process(int, *processor.Record) error                { u.records++; return nil }
func (u *idleUnit) EventTime(_ int, r *processor.Record) (int64, error) { return r.Timestamp, nil }
func (u *idleUnit) NextTime() int64                                     { return processor.MaxTime }
func (u *idleUnit) Advance(int64) error                                 { return nil }
func (u *idleUnit) Flush() error                                        { return nil }
func (u *idleUnit) Committed()                                          {}
func (u *idleUnit) Frontier(dst []byte) []byte                          { return dst }
func (u *idleUnit) LastWindowEnd(ms int64) int64                        { return ms }
func (u *idleUnit) Usage() processor.Usage                              { return processor.Usage{} }
func (u *idleUnit) Running() string                                     { return "" }

// manyBatch lends the same record as often as it shall.
type manyBatch struct {
	oneBatch
	left int
}

func (b *manyBatch) Next(v *record.View) bool {
	if b.left == 0 {
		return false
	}
	b.left--
	b.v.Offset++
	*v = b.v
	return true
}

// idleTask is a task of one external input and an idle unit.
func idleTask(tb testing.TB) (*Task, *idleUnit) {
	u := &idleUnit{}
	topo := &topology.Topology{Name: "app", Nodes: []topology.Node{{Name: "source"}}}
	topo.Build = func(topology.SubTopology, processor.Host) (processor.Unit, error) { return u, nil }
	sub := plan.Sub{SubTopology: topology.SubTopology{Sources: []topology.NodeID{0}}, Tasks: 1, Inputs: []plan.Input{{Topic: "in", Partitions: 1}}}
	t := New(Config{Topology: topo, DB: memstore.New(0), Plan: &plan.Plan{App: "app", Subs: []plan.Sub{sub}}})
	if err := t.Start(nil, map[record.TopicPartition]record.Offset{}, nil, time.UnixMilli(0)); err != nil {
		tb.Fatal(err)
	}
	return t, u
}

func BenchmarkTaskPerRecord(b *testing.B) {
	t, _ := idleTask(b)
	batch := &manyBatch{oneBatch: oneBatch{tp: record.TopicPartition{Topic: "in"}}}
	batch.v.Value = make([]byte, 120)
	b.ReportAllocs()
	for n := 0; n < b.N; n += 1000 {
		batch.left = 1000
		t.Add(batch)
		if _, err := t.Work(time.UnixMilli(0), nil, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	task, u := idleTask(t)
	batch := &manyBatch{oneBatch: oneBatch{tp: record.TopicPartition{Topic: "in"}}}
	batch.v.Value = make([]byte, 120)
	n := testing.AllocsPerRun(100, func() {
		batch.left = 1000
		task.Add(batch)
		if _, err := task.Work(time.UnixMilli(0), nil, 1<<20); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 || u.records < 100_000 {
		t.Errorf("%v allocations per 1000 records, %d records", n, u.records)
	}
}
