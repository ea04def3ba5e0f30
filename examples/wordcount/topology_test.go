package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/runtime/streamstest"
)

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

// TestEveryWordIsCountedOnceThroughCrashes drives the topology step by step, and
// kills it after every one of its first steps: no word is lost or counted twice.
func TestEveryWordIsCountedOnceThroughCrashes(t *testing.T) {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	var want string
	for crash := range 40 {
		d := streamstest.New(t, topo, streamstest.Options{Partitions: partitions, CommitEvery: 2})
		lines := streamstest.Input[string, string](d, "lines")
		for line := range strings.Lines(text) {
			lines.SendValue(line, d.Now())
		}
		for range crash {
			d.Step()
		}
		at := d.Last()
		d.Crash()
		d.Restart()
		d.Run()

		var got bytes.Buffer
		if err := show(d, &got); err != nil {
			t.Fatal(err)
		}
		if crash == 0 {
			want = got.String()
			if n, _ := streamstest.Get[string, int64](d, "counts", "the"); n != 4 {
				t.Errorf("\"the\" was counted %d times, expected 4", n)
			}
		}
		if got.String() != want {
			t.Errorf("crash after %q: counted\n%s\nexpected\n%s", at, got.String(), want)
		}
	}
}
