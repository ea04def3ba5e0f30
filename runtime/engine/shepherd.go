package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// shepherd follows the group's assignments: it makes workers give up the tasks
// that go, has those that come restored beside the work of the others, and hands
// them to workers. On an embedded log there is one assignment, of everything.
//
// A task is, in this order: being restored (flock, not handed), handed to its
// worker (flock, handed), running (its worker has it, Engine.running), given up,
// and retiring while its last checkpoint is written.
type shepherd struct {
	e     *Engine
	first chan struct{} // closed once the tasks of the first assignment run

	mu       sync.Mutex
	told     bool                   // there was an assignment
	flock    map[plan.TaskID]*sheep // what this instance has, or will have
	retiring map[plan.TaskID]chan struct{}
	wg       sync.WaitGroup // restores and retirements
}

// sheep is a task on its way to its worker, or there. The shepherd's lock guards it.
type sheep struct {
	home    *worker
	cancel  context.CancelFunc
	gone    bool          // given up before it arrived
	busy    chan struct{} // while its part of the database is in use; closed after that
	handed  bool
	started bool
}

func newShepherd(e *Engine) *shepherd {
	return &shepherd{e: e, first: make(chan struct{}), flock: map[plan.TaskID]*sheep{}, retiring: map[plan.TaskID]chan struct{}{}}
}

// run takes assignments as they come, until work is over.
func (s *shepherd) run(work context.Context) error {
	for {
		a, err := s.e.member.Next(work)
		if err == nil {
			err = s.take(work, a)
		}
		if err != nil {
			if work.Err() != nil || errors.Is(err, logclient.ErrClosed) {
				return nil // it is over, or we have left
			}
			return fmt.Errorf("group %s: %w", s.e.topo.Name, err)
		}
	}
}

// take does what an assignment says. What it takes away is committed and released
// when it returns; what it gives is being restored then.
func (s *shepherd) take(work context.Context, a logclient.Assignment) error {
	e := s.e
	wanted := e.tasksOf(a)
	if e.cfg.Bounded && len(a.Instances) > 1 {
		return fmt.Errorf("a bounded run works alone, but other instances of the application run too: stop them, or run it without Bounded (the group has %d)", len(a.Instances))
	}
	if err := s.giveUp(work, a, wanted); err != nil {
		return err
	}
	e.mu.Lock()
	e.assignment = a
	e.mu.Unlock()
	e.departed.back(a.Instances)
	e.sourcesAssigned(work, e.ownsSources())
	if err := e.member.Done(a); err != nil {
		return err
	}
	e.standbys.assign(slices.DeleteFunc(e.standbysOf(a), func(id plan.TaskID) bool { return slices.Contains(wanted, id) }))
	fresh := s.settle(work, wanted)
	if e.clustered() {
		e.logger.Info("assigned", "instance", e.instance, "generation", a.Generation.ID, "tasks", len(wanted), "new", len(fresh), "standbys", len(a.Standbys), "instances", len(a.Instances))
	}
	if len(fresh) > 0 {
		s.wg.Go(func() { s.restore(work, fresh) })
	}
	s.arrived()
	return nil
}

// giveUp takes tasks that are not wanted away from their workers, or from being
// restored, and waits until they are. Of a lost assignment that is every task.
func (s *shepherd) giveUp(work context.Context, a logclient.Assignment, wanted []plan.TaskID) error {
	leave := map[*worker]*departure{}
	var busy []chan struct{}
	s.mu.Lock()
	for id, t := range s.flock {
		if !a.Lost && slices.Contains(wanted, id) {
			continue
		}
		delete(s.flock, id)
		t.gone = true
		t.cancel()
		if !t.handed {
			if t.busy != nil {
				busy = append(busy, t.busy)
			}
			continue
		}
		d := leave[t.home]
		if d == nil {
			d = &departure{lost: a.Lost, done: make(chan struct{})}
			leave[t.home] = d
		}
		d.ids = append(d.ids, id)
	}
	for w, d := range leave {
		w.giveUp(d)
	}
	s.mu.Unlock()
	for _, done := range busy {
		if err := await(work, work, done); err != nil {
			return err
		}
	}
	for w, d := range leave {
		select {
		case <-d.done:
		case <-w.stopped:
		case <-work.Done():
			return context.Cause(work)
		}
	}
	return nil
}

// settle gives the tasks that are new here a worker each, the one with the
// fewest; by turns, if there are none yet.
func (s *shepherd) settle(work context.Context, wanted []plan.TaskID) (fresh []plan.TaskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	load := map[*worker]int{}
	for _, t := range s.flock {
		load[t.home]++
	}
	for _, id := range wanted {
		if s.flock[id] != nil {
			continue
		}
		home := s.e.workers[0]
		for _, w := range s.e.workers {
			if load[w] < load[home] {
				home = w
			}
		}
		load[home]++
		s.flock[id] = &sheep{home: home, cancel: func() {}}
		fresh = append(fresh, id)
	}
	s.told = true
	return fresh
}

// restore brings tasks to their last commits and hands them over. What fails is
// tried again, unless that cannot help.
func (s *shepherd) restore(work context.Context, ids []plan.TaskID) {
	coming := map[plan.TaskID]*sheep{}
	s.mu.Lock()
	for _, id := range ids {
		if t := s.flock[id]; t != nil && !t.handed {
			coming[id] = t
		}
	}
	s.mu.Unlock()
	backoff := time.Duration(0)
	for {
		err := s.restoreOnce(work, coming)
		if err == nil || work.Err() != nil {
			return
		}
		class := s.e.classifyHere(work, err)
		if class == logclient.ClassFatal || class == logclient.ClassFenced && !s.e.clustered() {
			s.e.fail(err)
			return
		}
		backoff = min(max(2*backoff, retryFirst), retryMost)
		s.e.logger.Warn("cannot restore yet", "err", err, "wait", backoff)
		if !pause(work, backoff/2+time.Duration(rand.Int64N(int64(backoff)))) {
			return
		}
	}
}

func (s *shepherd) restoreOnce(work context.Context, coming map[plan.TaskID]*sheep) error {
	var ids []plan.TaskID
	s.mu.Lock()
	for id, t := range coming {
		if t.gone || t.handed {
			delete(coming, id)
			continue
		}
		ids = append(ids, id)
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	slices.SortFunc(ids, func(a, b plan.TaskID) int {
		return (a.Sub-b.Sub)<<24 + int(a.Partition-b.Partition)
	})
	if err := s.e.endGone(work, s.e.assigned().Instances); err != nil {
		return err
	}
	defer s.e.replays.enter(s.e)()
	starts, err := s.e.taskStarts(work, ids)
	if err == nil {
		err = s.e.judge(work, ids, starts)
	}
	if err != nil {
		return err
	}
	g := errgroup.Group{}
	g.SetLimit(max(s.e.cfg.Workers, 1))
	for _, id := range ids {
		g.Go(func() error {
			if err := s.restoreOne(work, id, coming[id], starts[id]); err != nil {
				return fmt.Errorf("restore task %v: %w", id, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// restoreOne restores a task and hands it to its worker, unless it is given up
// meanwhile.
func (s *shepherd) restoreOne(work context.Context, id plan.TaskID, t *sheep, start *taskStart) error {
	ctx, cancel := context.WithCancel(work)
	defer cancel()
	s.mu.Lock()
	if t.gone {
		s.mu.Unlock()
		return nil
	}
	t.cancel, t.busy = cancel, make(chan struct{})
	retired := s.retiring[id]
	s.mu.Unlock()
	defer close(t.busy)
	if retired != nil {
		if err := await(ctx, ctx, retired); err != nil {
			return s.unlessGone(t, err)
		}
	}
	s.e.standbys.release(id)
	restored, err := s.e.restoreTask(ctx, id, start)
	if err != nil {
		return s.unlessGone(t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.gone {
		return nil
	}
	t.handed = true
	t.home.arrive(arrival{task: restored, start: start})
	return nil
}

func (s *shepherd) unlessGone(t *sheep, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.gone {
		return nil
	}
	return err
}

// started tells that a worker runs a task.
func (s *shepherd) started(id plan.TaskID) {
	s.mu.Lock()
	if t := s.flock[id]; t != nil {
		t.started = true
	}
	s.mu.Unlock()
	s.arrived()
}

// arrived looks whether all tasks of the first assignment run.
func (s *shepherd) arrived() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.flock {
		if !t.started {
			return
		}
	}
	select {
	case <-s.first:
	default:
		if s.told {
			close(s.first)
		}
	}
}

// isRetiring reports whether a task's last checkpoint is being written.
func (s *shepherd) isRetiring(id plan.TaskID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retiring[id] != nil
}

// retire writes the last checkpoint of a task that was given up, beside the work
// of the others; nobody uses the task's part of the database before that is done.
func (s *shepherd) retire(t *task.Task) {
	frozen := t.Freeze()
	t.Drop()
	if frozen == nil {
		return
	}
	id, done := t.ID(), make(chan struct{})
	s.mu.Lock()
	s.retiring[id] = done
	s.mu.Unlock()
	s.wg.Go(func() {
		err := s.e.writeCheckpoint(id, frozen)
		t.Checkpointed(frozen, err)
		if err != nil {
			s.e.logger.Error("the last checkpoint of a task that was given up failed, the one before it stands", "task", id.String(), "err", err)
		}
		s.mu.Lock()
		delete(s.retiring, id)
		s.mu.Unlock()
		close(done)
	})
}

// fail ends the run with an error.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	cancel := e.cancel
	e.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
}

var errLost = fmt.Errorf("the session with the group was lost: %w", logclient.ErrRebalanced)
