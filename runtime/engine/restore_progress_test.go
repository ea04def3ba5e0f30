package engine

import (
	"log/slog"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/plan"
)

func TestRestoringIsTheSumOfWhatIsRestoredAtOnceAndAfterAnother(t *testing.T) {
	e := &Engine{logger: slog.New(slog.DiscardHandler)}
	r := &e.replays
	expect := func(when string, done, total, bytes int64, under bool) {
		t.Helper()
		want := RestoreSnapshot{Done: done, Total: total, Bytes: bytes}
		if got, is := e.Restoring(); got != want || is != under {
			t.Errorf("%s: %+v, %t, want %+v, %t", when, got, is, want, under)
		}
	}
	expect("before anything", 0, 0, 0, false)
	leave := r.enter(e)
	r.expect(e, 2, 100)
	expect("with the changelogs' ends known", 0, 100, 0, true)
	one, two := plan.TaskID{Partition: 1}, plan.TaskID{Partition: 2}
	end := r.begin(one)
	*r.under[one] = replay{done: 30, total: 60, records: 29, bytes: 3000}
	expect("within the first task", 30, 100, 3000, true)
	end()
	end = r.begin(two)
	*r.under[two] = replay{done: 10, total: 50, records: 10, bytes: 1000}
	expect("within the second, which has more to do than was known", 40, 110, 4000, true)
	end()
	leave()
	expect("given up there", 40, 110, 4000, false)
	r.enter(e)
	expect("at the next one", 0, 0, 0, true)
}
