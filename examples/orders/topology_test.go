package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millstream-io/millstream/runtime/streamstest"
)

// TestTheEventsOfAnOrderStayInOrderThroughCrashes drives the topology step by
// step, and kills it after every one of its first steps: each order's events
// come out once, in one partition, in the order in which they came in.
func TestTheEventsOfAnOrderStayInOrderThroughCrashes(t *testing.T) {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	for crash := range 20 {
		d := streamstest.New(t, topo, streamstest.Options{
			Topics: map[string]int32{"events": 1, "orders": partitions}, CommitEvery: 2,
		})
		events := streamstest.Input[string, string](d, "events")
		want := map[uint64][]string{}
		for i := range 12 {
			order := uint64(i % 3)
			key := fmt.Sprint("update", order)
			if i < 3 {
				key = fmt.Sprint("neworder", order)
			}
			what := fmt.Sprint("event ", i)
			events.Send(key, what, d.Now())
			want[order] = append(want[order], key+": "+what)
		}
		for range crash {
			d.Step()
		}
		at := d.Last()
		d.Crash()
		d.Restart()
		d.Run()

		got, where := map[uint64][]string{}, map[uint64]int32{}
		for _, r := range streamstest.Output[string, string](d, "orders").ReadAll() {
			order := orderNumber(r.Key)
			if p, known := where[order]; known && p != r.Partition {
				t.Errorf("crash after %q: order %d is in partitions %d and %d", at, order, p, r.Partition)
			}
			where[order] = r.Partition
			got[order] = append(got[order], r.Key+": "+r.Value)
		}
		for order := range want {
			if !slices.Equal(got[order], want[order]) {
				t.Errorf("crash after %q: order %d has %q, expected %q", at, order, got[order], want[order])
			}
		}
	}
}
