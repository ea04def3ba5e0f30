package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestEveryOrderIsInOnePartitionInOrder runs the whole program on generated
// events and holds what it prints against the input.
func TestEveryOrderIsInOnePartitionInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(42, 7))
	var input strings.Builder
	want := map[string][]string{} // order number -> its events in order
	for i := range 2000 {
		number := fmt.Sprint(rng.IntN(50))
		event := "update" + number
		if want[number] == nil {
			event = "neworder" + number
		}
		fmt.Fprintf(&input, "%s event %d\n", event, i)
		want[number] = append(want[number], fmt.Sprintf("%s event %d", event, i))
	}
	var out bytes.Buffer
	if err := run(t.Context(), strings.NewReader(input.String()), &out); err != nil {
		t.Fatal(err)
	}
	got, where := map[string][]string{}, map[string]string{}
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line) // partition P KEY event N
		if len(f) != 5 {
			t.Fatalf("printed %q", line)
		}
		number := strings.TrimLeft(f[2], "abcdefghijklmnopqrstuvwxyz")
		if p, ok := where[number]; ok && p != f[1] {
			t.Fatalf("order %s is in partitions %s and %s", number, p, f[1])
		}
		where[number] = f[1]
		got[number] = append(got[number], strings.Join(f[2:], " "))
	}
	for number, events := range want {
		if !slices.Equal(got[number], events) {
			t.Errorf("order %s: %q, want %q", number, got[number], events)
		}
	}
	if used := len(slices.Compact(slices.Sorted(maps.Values(where)))); used != partitions {
		t.Errorf("%d partitions are used, want %d", used, partitions)
	}
}

func TestThePartitionerAgreesForAnOrdersKeys(t *testing.T) {
	for _, n := range []int32{1, 3, 4, 12} {
		for order := range 200 {
			a, b := byOrder(fmt.Sprint("neworder", order), "", n), byOrder(fmt.Sprint("update", order), "", n)
			if a != b || a < 0 || a >= n {
				t.Errorf("order %d of %d partitions: %d and %d", order, n, a, b)
			}
		}
	}
	if p := byOrder("no number", "", 4); p != 0 {
		t.Errorf("a key without a number goes to %d", p)
	}
}
