package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/assign"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
)

// lagsTimeout bounds what lags asks the log: it is called while the group waits.
const lagsTimeout = 2 * time.Second

// standbys keeps copies of the state of tasks that run on other instances: one
// goroutine (run) follows their changelogs and writes checkpoints of them, which
// are the same as a running task's. A task that moves here goes on from there.
//
//	assign ──▶ wanted ──keeper──▶ held (followed) ──keeper, not wanted──▶ checkpoint, let go
//
// assign, release, lags, snapshots and stop may be called from any goroutine.
type standbys struct {
	e     *Engine
	round time.Duration // standbyRound
	done  chan struct{} // closed when run has ended

	mu       sync.Mutex
	wanted   map[plan.TaskID]bool
	held     map[plan.TaskID]bool // their part of the database is in the keeper's use
	views    map[plan.TaskID]standbyView
	near     map[string]bool // units that could be taken over at once, as the group was last told
	change   chan struct{}   // closed when something is let go
	wake     context.CancelFunc
	orders   bool // there are new ones
	started  bool
	stopping bool
}

// standbyView is a follower as others see it.
type standbyView struct {
	lag, records, bytes int64
	checkpoint          time.Time
	err                 string
}

func newStandbys(e *Engine) *standbys {
	return &standbys{
		e: e, round: standbyRound, done: make(chan struct{}), change: make(chan struct{}),
		wanted: map[plan.TaskID]bool{}, held: map[plan.TaskID]bool{}, views: map[plan.TaskID]standbyView{}, near: map[string]bool{},
	}
}

// run follows until work is over or stop was called. It returns no error: a copy
// is not worth the end of the tasks that run here, so whatever fails is told and
// tried again. It is called once.
func (s *standbys) run(work context.Context) error {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	k := newKeeper(s)
	defer s.end()
	defer k.close()
	for work.Err() == nil {
		ctx, stopping := s.take(work)
		if stopping {
			k.letGoAll()
			return nil
		}
		k.step(ctx)
	}
	return nil
}

// take renews what orders end, and tells whether to stop.
func (s *standbys) take(work context.Context) (ctx context.Context, stopping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.wake()
	}
	ctx, s.wake = context.WithCancel(work)
	s.orders = false
	return ctx, s.stopping
}

func (s *standbys) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.wake()
	}
	clear(s.held)
	clear(s.views)
	close(s.change)
	s.change = make(chan struct{})
	close(s.done)
}

// order changes what the keeper shall do and wakes it.
func (s *standbys) order(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.orders = true
	if s.wake != nil {
		s.wake()
	}
}

// assign replaces the tasks to follow, which must be followable. It does not wait.
// The caller runs none of them here.
func (s *standbys) assign(ids []plan.TaskID) {
	wanted := map[plan.TaskID]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	s.mu.Lock()
	same := maps.Equal(wanted, s.wanted)
	s.mu.Unlock()
	if !same {
		s.order(func() { s.wanted = wanted })
	}
}

// release stops following one task and returns when its last checkpoint is
// written (or could not be; then an older one stands): from then on nobody else
// uses the task's part of the database. It does nothing for a task that is not followed.
func (s *standbys) release(id plan.TaskID) {
	s.mu.Lock()
	known := s.wanted[id] || s.held[id]
	s.mu.Unlock()
	if !known {
		return
	}
	s.order(func() { delete(s.wanted, id) })
	for {
		s.mu.Lock()
		held, change := s.held[id], s.change
		s.mu.Unlock()
		if !held {
			return
		}
		<-change
	}
}

// stop is the graceful end: it returns when the last checkpoints of all tasks
// are written and run has ended, or at once if run was never called.
func (s *standbys) stop() {
	started := false
	s.order(func() { s.stopping, started = true, s.started })
	if started {
		<-s.done
	}
}

// hold takes the tasks to begin with: wanted, not followed, and not in anybody
// else's use.
func (s *standbys) hold() (ids []plan.TaskID, later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.wanted {
		switch {
		case s.held[id]:
		case s.e.shepherd.isRetiring(id):
			later = true
		default:
			s.held[id] = true
			ids = append(ids, id)
		}
	}
	return ids, later
}

// holds reports whether the keeper uses a task's part of the database.
func (s *standbys) holds(id plan.TaskID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[id]
}

// unwanted are those of the given tasks that are not to be followed any more.
func (s *standbys) unwanted(followed []plan.TaskID) []plan.TaskID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(followed, func(id plan.TaskID) bool { return s.wanted[id] })
}

// letGo tells that the keeper does not use a task's part of the database any more.
func (s *standbys) letGo(id plan.TaskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, id)
	delete(s.views, id)
	close(s.change)
	s.change = make(chan struct{})
}

func (s *standbys) show(id plan.TaskID, v standbyView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views[id] = v
}

// lags says how many changelog records the state here is behind, by task: of
// those that are followed, and of those that were here and left a usable
// checkpoint. A task without any state here is in it only if its changelogs hold
// no more than assign.AcceptableLag records: then that number is its lag. Tasks
// that run here are the caller's business. It asks the log and gives up after
// lagsTimeout, with what is known of the followed ones.
func (s *standbys) lags() map[plan.TaskID]int64 {
	out := map[plan.TaskID]int64{}
	s.mu.Lock()
	for id, v := range s.views {
		if v.err == "" {
			out[id] = v.lag
		}
	}
	s.mu.Unlock()
	e := s.e
	var ids []plan.TaskID
	e.mu.Lock()
	for _, id := range e.plan.TaskIDs() {
		if _, known := out[id]; !known && !e.running[id] && e.followable(id) {
			ids = append(ids, id)
		}
	}
	e.mu.Unlock()
	if len(ids) == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(context.Background(), lagsTimeout)
	defer cancel()
	var cfgs []restore.Config
	now := time.Now()
	for _, id := range ids {
		cfgs = append(cfgs, e.restoreConfig(id, e.changelogsOf(id), nil, e.topicIDs, now))
	}
	verdicts, err := restore.Judge(ctx, cfgs)
	if err != nil {
		e.logger.Warn("how far the local state is behind is not known to the group", "tasks", len(ids), "err", err)
		return out
	}
	for i, id := range ids {
		lag := verdicts[i].Behind(cfgs[i].Changelogs)
		if verdicts[i].Checkpoint != nil || lag <= assign.AcceptableLag {
			out[id] = lag
		}
	}
	return out
}

// tell remembers what the group is told, by unit.
func (s *standbys) tell(lags map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.near)
	for unit, lag := range lags {
		s.near[unit] = lag <= assign.AcceptableLag
	}
}

// knownNear reports whether the group was last told that a unit could be taken over.
func (s *standbys) knownNear(unit string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.near[unit]
}

// snapshots are the followed tasks.
func (s *standbys) snapshots() (out []StandbySnapshot) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, v := range s.views {
		out = append(out, StandbySnapshot{ID: id.String(), Lag: v.lag, Records: v.records, Bytes: v.bytes, Checkpoint: v.checkpoint, Error: v.err})
	}
	slices.SortFunc(out, func(a, b StandbySnapshot) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
