package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place finds where each partition ends for this run, if it does.
func (co *consumer) place(ctx context.Context, cmd *cobra.Command, committed bool) error {
	until, _ := cmd.Flags().GetString("until")
	if exit, _ := cmd.Flags().GetBool("exit"); exit {
		until = "end"
	}
	if until == "" {
		return nil
	}
	p, err := parsePlace(until, time.Now())
	if err != nil {
		return err
	}
	co.ends, err = co.resolve(ctx, cmd, p, committed)
	return err
}

// starts is where each partition begins.
func (co *consumer) starts(ctx context.Context, cmd *cobra.Command, committed bool) (map[string]map[int32]kgo.Offset, error) {
	text, _ := cmd.Flags().GetString("from")
	p, err := parsePlace(text, time.Now())
	if err != nil {
		return nil, err
	}
	at, err := co.resolve(ctx, cmd, p, committed)
	if err != nil {
		return nil, err
	}
	first, err := co.c.admin.ListStartOffsets(ctx, co.topics.Names()...)
	if err != nil {
		return nil, co.c.explain(err)
	}
	starts := map[string]map[int32]kgo.Offset{}
	for topic, partitions := range at {
		starts[topic] = map[int32]kgo.Offset{}
		for n, offset := range partitions {
			o, _ := first.Lookup(topic, n)
			offset = max(offset, o.Offset)
			starts[topic][n] = kgo.NewOffset().At(offset)
			if co.ends != nil && co.ends[topic][n] <= offset {
				delete(co.ends[topic], n) // nothing to read
			}
		}
	}
	return starts, nil
}

// resolve turns a place into an offset for each partition.
func (co *consumer) resolve(ctx context.Context, cmd *cobra.Command, p place, committed bool) (map[string]map[int32]int64, error) {
	names := co.topics.Names()
	list := co.c.admin.ListEndOffsets
	if committed {
		list = co.c.admin.ListCommittedOffsets
	}
	ends, err := list(ctx, names...)
	if err != nil {
		return nil, co.c.explain(err)
	}
	listed := ends
	switch p.kind {
	case "beginning":
		listed, err = co.c.admin.ListStartOffsets(ctx, names...)
	case "time":
		listed, err = co.c.admin.ListOffsetsAfterMilli(ctx, p.unixMS, names...)
	}
	if err != nil {
		return nil, co.c.explain(err)
	}
	wanted, err := co.partitions(cmd)
	if err != nil {
		return nil, err
	}
	out := map[string]map[int32]int64{}
	for _, t := range co.topics {
		out[t.Topic] = map[int32]int64{}
		for n := range t.Partitions {
			if len(wanted) > 0 && !slices.Contains(wanted, n) {
				continue
			}
			end, _ := ends.Lookup(t.Topic, n)
			o, _ := listed.Lookup(t.Topic, n)
			if o.Err != nil {
				return nil, fmt.Errorf("topic %s, partition %d: %w", t.Topic, n, o.Err)
			}
			out[t.Topic][n] = p.offset(o, end.Offset)
		}
	}
	return out, nil
}

// offset is the place in a partition that ends at end; o is what was listed for it.
func (p place) offset(o kadm.ListedOffset, end int64) int64 {
	switch p.kind {
	case "offset":
		return min(p.n, end)
	case "before":
		return max(0, end-p.n)
	case "time":
		if o.Offset < 0 {
			return end
		}
	}
	return min(o.Offset, end)
}

// partitions reads --partitions; every topic must have them.
func (co *consumer) partitions(cmd *cobra.Command) ([]int32, error) {
	text, _ := cmd.Flags().GetString("partitions")
	if text == "" {
		return nil, nil
	}
	wanted, err := parsePartitions(text)
	if err != nil {
		return nil, usagef("--partitions: %w", err)
	}
	for _, t := range co.topics.Sorted() {
		for _, n := range wanted {
			if _, ok := t.Partitions[n]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d: it has %d", t.Topic, n, len(t.Partitions))
			}
		}
	}
	return wanted, nil
}

// take prints a record, unless it is a marker or lies behind its partition's end.
func (co *consumer) take(r *kgo.Record) {
	if co.ends != nil {
		end, open := co.ends[r.Topic][r.Partition]
		if open && r.Offset+1 >= end {
			delete(co.ends[r.Topic], r.Partition)
		}
		if !open || r.Offset >= end {
			return
		}
	}
	if co.group != "" {
		if co.passed[r.Topic] == nil {
			co.passed[r.Topic] = map[int32]*kgo.Record{}
		}
		co.passed[r.Topic][r.Partition] = r
	}
	if r.Attrs.IsControl() {
		return
	}
	co.printed++
	co.buf = co.form(co.buf[:0], r)
	co.out.Write(co.buf) // Flush tells of an error
}

// done says whether every end was reached.
func (co *consumer) done() bool {
	if co.full() {
		return true
	}
	if co.ends == nil {
		return false
	}
	for _, partitions := range co.ends {
		if len(partitions) > 0 {
			return co.drained()
		}
	}
	return true
}

// answers counts the brokers' answers to fetches. A partition may end with
// offsets that hold nothing any more (compaction): then no record says that the
// end is reached, but fetches come back empty.
type answers struct {
	mu    sync.Mutex
	since map[int32]int // answers since the last record, by broker
}

// OnBrokerE2E is kgo's hook: a request was answered.
func (a *answers) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != 1 || e2e.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since == nil {
		a.since = map[int32]int{}
	}
	a.since[meta.NodeID]++
}

// restart counts from here again.
func (a *answers) restart() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for node := range a.since {
		a.since[node] = 0
	}
}

// drained: every broker has answered several times without a record.
func (a *answers) drained() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.since {
		if n < 4 {
			return false
		}
	}
	return len(a.since) > 0
}
