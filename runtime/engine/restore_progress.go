package engine

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
)

// tellEvery lies between two lines of the log about a restore under way.
const tellEvery = 5 * time.Second

// replays is what is being replayed from changelogs to start tasks, for people:
// State, hooks, lines of the log. The zero value is none. Any goroutine may use it.
//
// A spell lasts from when the first task is restored until none is: its first
// line says how much there is to do, its last what was done.
type replays struct {
	mu    sync.Mutex
	depth int // callers of enter that have not left
	under map[plan.TaskID]*replay
	began time.Time // of the spell
	told  time.Time // the last line
	spell replay    // of the tasks that have ended in it
	tasks int       // that were restored in it
	// expected is how many records the spell has to replay, if that was asked ahead.
	expected int64
}

// replay is one task's part.
type replay struct{ done, total, records, bytes int64 }

// enter begins a spell, or goes on with it, until leave is called.
func (r *replays) enter(e *Engine) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.depth++; r.depth == 1 {
		now := time.Now()
		r.began, r.told, r.spell, r.tasks, r.expected = now, now, replay{}, 0, 0
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.depth--; r.depth > 0 || r.tasks == 0 {
			return
		}
		tell := e.logger.Info
		if r.spell.records == 0 {
			tell = e.logger.Debug
		}
		tell("state restored", "tasks", r.tasks, "records", r.spell.records, "bytes", r.spell.bytes, "took", time.Since(r.began).Round(time.Millisecond))
	}
}

// expect says how many tasks are to be restored in this spell, and how many
// records of changelogs that takes.
func (r *replays) expect(e *Engine, tasks int, records int64) {
	r.mu.Lock()
	r.expected += records
	r.mu.Unlock()
	if records > 0 {
		e.logger.Info("restoring state", "tasks", tasks, "records", records)
	}
}

// begin shows a task as being restored until its end is called.
func (r *replays) begin(id plan.TaskID) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under == nil {
		r.under = map[plan.TaskID]*replay{}
	}
	r.under[id] = &replay{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if t := r.under[id]; t != nil {
			r.spell.done, r.spell.total = r.spell.done+t.done, r.spell.total+t.total
			r.spell.records, r.spell.bytes = r.spell.records+t.records, r.spell.bytes+t.bytes
			r.tasks++
			delete(r.under, id)
		}
	}
}

// moved takes in how far a task's restore has come.
func (r *replays) moved(e *Engine, id plan.TaskID, res *restore.Result, began time.Time) {
	sum := replay{}
	sub := &e.plan.Subs[id.Sub]
	for i := range res.At {
		if res.At[i].Partition.Topic == "" {
			continue
		}
		one := replay{
			total: int64(max(res.To[i]-res.From[i], 0)), records: res.Replayed[i], bytes: res.Bytes[i],
		}
		one.done = min(int64(res.At[i].End.Offset-res.From[i]), one.total)
		sum = sum.plus(one)
		if h := e.cfg.Hooks.RestoreProgress; h != nil {
			h(id.String(), sub.Stores[i].Spec.Called(), one.done, one.total, one.bytes, time.Since(began))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under[id] == nil {
		return
	}
	*r.under[id] = sum
	if now := time.Now(); now.Sub(r.told) >= tellEvery {
		r.told = now
		r.tell(e, now)
	}
}

func (r replay) plus(o replay) replay {
	return replay{r.done + o.done, r.total + o.total, r.records + o.records, r.bytes + o.bytes}
}

// sum is the spell so far, with the lock held.
func (r *replays) sum() replay {
	all := r.spell
	for _, t := range r.under {
		all = all.plus(*t)
	}
	all.total = max(all.total, r.expected)
	return all
}

// tell writes the line of a spell under way.
func (r *replays) tell(e *Engine, now time.Time) {
	all, took := r.sum(), now.Sub(r.began)
	rate := float64(all.done) / took.Seconds()
	left := all.total - all.done
	args := []any{"tasks", len(r.under), "records_left", left, "bytes", all.bytes, "records_per_second", int64(rate)}
	if rate > 0 {
		args = append(args, "estimate", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	e.logger.Info("restoring state", args...)
}

// snapshots are the tasks that are being restored.
func (r *replays) snapshots() (out []TaskSnapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.under {
		out = append(out, TaskSnapshot{
			ID: id.String(), Phase: TaskRestoring, Worker: -1, Positions: []Position{},
			Restore: &RestoreSnapshot{Done: t.done, Total: t.total, Bytes: t.bytes},
		})
	}
	slices.SortFunc(out, func(a, b TaskSnapshot) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Restoring is how far the restore of all tasks that are being restored is: for a
// progress bar that asks often. It is false when there is none; then the snapshot
// is of the last one, which has not replayed all where tasks were given up.
func (e *Engine) Restoring() (RestoreSnapshot, bool) {
	r := &e.replays
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.sum()
	return RestoreSnapshot{Done: all.done, Total: all.total, Bytes: all.bytes}, r.depth > 0
}

// ready is nil unless a task is being restored.
func (r *replays) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.under) == 0 {
		return nil
	}
	all := r.sum()
	return fmt.Errorf("%w: the state of %d tasks is being restored, %d of %d records are replayed", ErrNotRunning, len(r.under), all.done, all.total)
}
