package task

import (
	"cmp"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/topology"
)

// input is one partition that a task reads.
type input struct {
	tp          record.TopicPartition
	sources     []int // indexes into Sub.Sources: several operators may read one topic
	repartition bool
	table       bool           // it goes first at equal times
	timed       int            // the source whose extractor gives event time; -1: the record's timestamp is it
	upstream    []UpstreamTime // of a repartition topic

	seen   bool  // it had a record
	time   int64 // the greatest timestamp seen
	next   record.Offset
	lastAt time.Time // when the last record came; the start before the first
	// floor is the task's stream time at its start, until a record comes: where
	// idle time had come to before goes on from there.
	floor int64
	// end is where a bounded run stops; NoOffset: unknown.
	end record.Offset

	queue   []logclient.Batch
	head    record.View // valid if hasHead: the next record of queue[0]
	hasHead bool
	headAt  int64 // its event time
	// emptySince is when a task with several inputs first found this one without data.
	emptySince time.Time

	// Of a repartition input that is merged with others: see lane.go.
	lanes []lane
	read  record.Offset     // where dealing out goes on
	chunk []byte            // memory of parcels
	names map[string]string // keys of their headers

	records, bytes int64 // processed since the last commit
	moved          bool  // next has passed records or batches since the last commit
}

// Position is a committed input position.
type Position struct {
	Topic     string
	Partition record.Partition
	Offset    record.Offset
}

// newInputs are a task's inputs in the order of the merge: tables first, then as
// the operators that read them are defined.
func newInputs(topo *topology.Topology, sub *plan.Sub, id plan.TaskID) []*input {
	var ins []*input
	at := map[string]*input{}
	for i, p := range sub.Inputs {
		if id.Partition >= p.Partitions {
			continue // a narrower input than the widest has no such partition
		}
		if in := at[p.Topic]; in != nil {
			in.sources = append(in.sources, i)
			in.takeExtractor(topo, sub, i)
			continue
		}
		in := &input{
			tp:      record.TopicPartition{Topic: p.Topic, Partition: record.Partition(id.Partition)},
			sources: []int{i}, repartition: p.Repartition, timed: -1, time: processor.NoTime, floor: processor.NoTime, end: record.NoOffset,
		}
		for _, u := range p.Upstream {
			in.upstream = append(in.upstream, UpstreamTime{Task: u, Time: processor.NoTime})
		}
		in.takeExtractor(topo, sub, i)
		in.table = topo.Nodes[sub.Sources[i]].Table
		at[p.Topic] = in
		ins = append(ins, in)
	}
	slices.SortStableFunc(ins, func(a, b *input) int { return cmp.Compare(rank(a), rank(b)) })
	return ins
}

// rank is lower for inputs that go first at equal times.
func rank(in *input) int {
	if in.table {
		return 0
	}
	return 1
}

// takeExtractor makes a source's extractor the input's; of several, the first one counts.
func (in *input) takeExtractor(topo *topology.Topology, sub *plan.Sub, source int) {
	if in.timed < 0 && topo.Nodes[sub.Sources[source]].EventTime {
		in.timed = source
	}
}

// drop gives back what was read and not processed.
func (in *input) drop() {
	for _, b := range in.queue {
		b.Release()
	}
	in.queue, in.hasHead = in.queue[:0], false
	in.lanes, in.chunk = nil, nil
	in.records, in.bytes, in.moved = 0, 0, false
}

// ended reports whether a bounded run has nothing more to read here.
func (in *input) ended() bool { return in.end != record.NoOffset && in.next >= in.end }

// streamTime is the input's part in the task's stream time; holds is false for
// an input that holds nobody back.
func (in *input) streamTime(now time.Time, idleAfter time.Duration) (ms int64, holds bool) {
	if in.repartition {
		return in.upstreamTime()
	}
	idle := time.Duration(-1)
	if idleAfter > 0 {
		idle = now.Sub(in.lastAt) - idleAfter
	}
	switch {
	case !in.seen:
		return processor.NoTime, idle < 0
	case idle > 0 && len(in.queue) == 0:
		return max(in.time, in.floor) + idle.Milliseconds(), true
	}
	return in.time, true
}

func (in *input) upstreamTime() (ms int64, holds bool) {
	ms = processor.MaxTime
	for i := range in.upstream {
		if u := &in.upstream[i]; u.State != Idle {
			holds = true
			ms = min(ms, u.Time)
		}
	}
	return ms, holds
}

// watermark takes an upstream task's time; false if there is no such task.
func (in *input) watermark(from plan.TaskID, ms int64) bool {
	for i := range in.upstream {
		u := &in.upstream[i]
		if u.Task != from {
			continue
		}
		if ms == processor.NoTime {
			if u.State == Unheard {
				u.State = Idle
			}
			return true
		}
		u.State = Heard
		u.Time = max(u.Time, ms)
		return true
	}
	return false
}

// fill makes head the next record, passing batches that have none left.
func (in *input) fill() error {
	for !in.hasHead && len(in.queue) > 0 {
		b := in.queue[0]
		if b.Next(&in.head) {
			in.hasHead = true
			return nil
		}
		if err := in.finish(b); err != nil {
			return err
		}
	}
	return nil
}

// finish releases the first batch, which has been read to its end.
func (in *input) finish(b logclient.Batch) error {
	err := b.Err()
	switch {
	case err != nil:
	case in.lanes != nil:
		in.read = b.NextOffset()
	default:
		in.next = b.NextOffset()
		in.moved = true
	}
	b.Release()
	copy(in.queue, in.queue[1:]) // a short queue; its memory is used again
	in.queue[len(in.queue)-1] = nil
	in.queue = in.queue[:len(in.queue)-1]
	return err
}
