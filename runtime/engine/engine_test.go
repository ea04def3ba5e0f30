package engine_test

import (
	"fmt"
	"testing"
)

func TestBoundedRunThroughARepartitionEqualsTheFold(t *testing.T) {
	in := lines(3000, 7)
	want := fold(in)
	for _, partitions := range []int32{1, 3, 12} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%dpartitions/%dworkers", partitions, workers), func(t *testing.T) {
				w := newWorld()
				e := run(t, w, countProgram(t), config(in, partitions, workers))
				same(t, output(t, w.log, "out"), want)
				if s := e.State(); s.Totals.Late != 0 || s.Totals.Commits == 0 {
					t.Errorf("totals %+v: no line of an input in time order is late", s.Totals)
				}
			})
		}
	}
}
