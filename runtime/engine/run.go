package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// drainTimeout bounds how long a graceful stop works off what is in the log.
const drainTimeout = 10 * time.Second

func (e *Engine) makeRunners() {
	n := max(1, min(e.cfg.Workers, len(e.plan.TaskIDs())))
	for i := range n {
		e.workers = append(e.workers, newWorker(e, i))
	}
	for _, s := range e.cfg.Sources {
		e.sources = append(e.sources, newSourceRunner(e, s))
	}
	for _, s := range e.cfg.Sinks {
		e.sinks = append(e.sinks, newSinkRunner(e, s))
	}
	e.ckpt = newCheckpointer(e)
	e.trim = newTrimmer(e)
	e.standbys = newStandbys(e)
	e.shepherd = newShepherd(e)
}

// Run restores the tasks' state and works until ctx is done (then it commits,
// checkpoints and returns nil), a bounded run has ended (nil), or an error that
// the package comment lists. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.ran || e.closed {
		e.mu.Unlock()
		return errors.New("engine: Run may be called once, before Close")
	}
	e.ran = true
	e.mu.Unlock()
	e.status.setPhase(PhaseRestoring)
	err := e.run(ctx)
	e.status.end(err)
	return err
}

// run is Run between the phases. The goroutines live in work, which is ended by
// the first error, or by the end of everything; ctx only asks for it.
func (e *Engine) run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	e.work = work
	e.mu.Lock()
	e.cancel = cancel
	e.mu.Unlock()
	var err error
	if e.member, err = e.log.Join(ctx, e.memberConfig()); err != nil {
		return fmt.Errorf("join group %s: %w", e.topo.Name, err)
	}
	defer e.member.Leave(context.Background())

	var wg sync.WaitGroup
	spawn := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				cancel(err)
			}
		})
	}
	defer func() { // whatever the end was
		wg.Wait()
		e.shepherd.wg.Wait()
		for _, w := range e.workers {
			w.release()
		}
	}()
	defer cancel(nil)
	spawn(func() error { return e.shepherd.run(work) })
	spawn(func() error { e.ckpt.run(work); return nil })
	spawn(func() error { return e.standbys.run(work) })
	for _, w := range e.workers {
		spawn(func() error { return w.run(work) })
	}
	if err := await(ctx, work, e.shepherd.first); err != nil {
		if work.Err() == nil && e.clustered() && !e.cfg.Bounded {
			err = e.interrupted(ctx, work, err)
		}
		cancel(err)
		return errors.Join(err, e.leaveStuck())
	}
	e.status.setPhase(PhaseRunning)

	spawn(func() error { return e.serve(work) })
	spawn(func() error { return e.trim.run(work) })
	e.startConnectors(work)
	err = e.conduct(ctx, work)
	if err == nil {
		err = context.Cause(work)
	}
	cancel(err)
	wg.Wait()
	if stuck := e.leaveStuck(); stuck != nil {
		return errors.Join(err, stuck)
	}
	return err
}

// conduct waits for the end and leads to it: sources first, then the
// sub-topologies in order, the sinks, the last checkpoints.
func (e *Engine) conduct(ctx, work context.Context) error {
	if e.cfg.Bounded {
		if err := e.awaitSources(ctx, work); err != nil {
			return e.interrupted(ctx, work, err)
		}
		if err := e.drain(ctx, work, true); err != nil {
			return e.interrupted(ctx, work, err)
		}
		return e.finish(ctx, work)
	}
	if err := await(ctx, work, nil); err != nil {
		return e.interrupted(ctx, work, err)
	}
	return nil
}

// interrupted ends a run that was asked to end, or that failed.
func (e *Engine) interrupted(ctx, work context.Context, err error) error {
	if work.Err() != nil {
		return context.Cause(work)
	}
	if ctx.Err() == nil {
		return err
	}
	e.status.setPhase(PhaseDraining)
	e.stopSources()
	limit, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for _, s := range e.sources {
		if err := await(limit, work, s.ended); err != nil && work.Err() != nil {
			return err
		}
	}
	if !e.clustered() { // there, others go on with what is left
		if err := e.drain(limit, work, false); err != nil && limit.Err() == nil {
			return err
		}
	}
	return e.finish(ctx, work)
}

var errNoLastCommit = fmt.Errorf("the last commit did not come about within %v of being asked to stop: what it had is processed again by whoever goes on", drainTimeout)

// finish stops the workers with their last commits and checkpoints, and lets the
// sinks deliver what was committed: for drainTimeout from the end of ctx on. A
// bounded run that nobody stops waits for them for good, unless the log is gone.
func (e *Engine) finish(ctx, work context.Context) error {
	e.status.setPhase(PhaseDraining)
	shared := e.clustered() && !e.cfg.Bounded
	for _, s := range e.sinks {
		if shared { // the other instances deliver what is left
			s.halt()
		}
	}
	for _, w := range e.workers {
		w.stop()
	}
	last := context.Background()
	if e.clustered() && !shared {
		watched, cancel := context.WithCancel(work)
		defer cancel()
		go e.failWithoutLog(watched)
	}
	if shared { // the brokers may be out of reach
		var cancel context.CancelFunc
		last, cancel = context.WithTimeoutCause(last, drainTimeout, errNoLastCommit)
		defer cancel()
	}
	for _, w := range e.workers {
		if err := await(last, work, w.stopped); err != nil {
			return errors.Join(err, context.Cause(last))
		}
	}
	if shared { // they take over at once
		e.standbys.stop()
		if !e.cfg.Cluster.StayOnStop {
			// First: the others must not take for gone what sinks still have to commit.
			e.forgetInstance(context.WithoutCancel(ctx))
		}
		err := e.member.Leave(context.WithoutCancel(ctx))
		return errors.Join(err, e.awaitSinks(work))
	}
	limit, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, cancel) })()
	for _, s := range e.sinks {
		s.drain()
	}
	for _, s := range e.sinks {
		if err := await(limit, work, s.ended); err != nil && limit.Err() == nil {
			return err
		}
	}
	return e.trim.once(work)
}

// await waits for done, or for the end of a context, which is its error.
func await(ctx, work context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-work.Done():
		return context.Cause(work)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitSources waits until every source of a bounded run has ended. Inputs that
// nobody will write any more have their end at once, so that a task that merges
// them with others need not wait for the end of all.
func (e *Engine) awaitSources(ctx, work context.Context) error {
	ended := make(chan struct{}, len(e.sources))
	for _, s := range e.sources {
		go func() {
			if await(ctx, work, s.ended) == nil {
				ended <- struct{}{}
			}
		}()
	}
	done := map[string]bool{}
	for n := 0; ; n++ {
		var ins []plan.Input
		for _, s := range e.plan.Subs {
			for _, in := range s.Inputs {
				if !done[in.Topic] && e.complete(in) {
					done[in.Topic] = true
					ins = append(ins, in)
				}
			}
		}
		if len(ins) > 0 {
			if err := e.endInputs(ctx, ins); err != nil {
				return err
			}
		}
		if n == len(e.sources) {
			return nil
		}
		if err := await(ctx, work, ended); err != nil {
			return err
		}
	}
}

// complete reports whether nothing in this run will write an input any more.
func (e *Engine) complete(in plan.Input) bool {
	if in.Topic == plan.DeadLettersTopic(e.plan.App) {
		return false
	}
	for _, s := range e.plan.Subs {
		if slices.ContainsFunc(s.Outputs, func(o plan.Output) bool { return o.Topic == in.Topic }) {
			return false
		}
	}
	for _, s := range e.sources {
		if s.cfg.Topic != in.Topic {
			continue
		}
		select {
		case <-s.ended:
		default:
			return false
		}
	}
	return true
}

// drain works every sub-topology off, upstream first. With end set that is the
// end of input: stream time rises to the end of the window that holds the
// greatest event time over all tasks, plus grace, so that every window closes.
func (e *Engine) drain(ctx, work context.Context, end bool) error {
	maxEvent, endTime := int64(-1<<63), int64(-1<<63)
	for i := range e.plan.Subs {
		sub := &e.plan.Subs[i]
		if err := e.setEnds(ctx, sub.ID); err != nil {
			return err
		}
		if err := e.awaitTasks(ctx, work, func(s taskStatus) bool { return s.id.Sub != sub.ID || s.drained }); err != nil {
			return err
		}
		if !end {
			continue
		}
		for _, s := range e.taskStatuses() {
			maxEvent = max(maxEvent, s.maxEvent)
		}
		if maxEvent == -1<<63 {
			continue // no input at all
		}
		last, err := e.lastWindowEnd(ctx, work, maxEvent)
		if err != nil {
			return err
		}
		endTime = max(endTime, last)
		for _, w := range e.workers {
			w.order(func() { w.endTimes[sub.ID] = endTime })
		}
		if err := e.awaitTasks(ctx, work, func(s taskStatus) bool {
			return s.id.Sub != sub.ID || (s.drained && s.streamTime >= endTime)
		}); err != nil {
			return err
		}
	}
	return nil
}

// lastWindowEnd asks all tasks when the last of the windows that hold maxEvent
// closes. One that is on its way back to its worker is waited for.
func (e *Engine) lastWindowEnd(ctx, work context.Context, maxEvent int64) (int64, error) {
	end := int64(-1 << 63)
	for {
		changed := e.status.changed()
		asked := map[plan.TaskID]bool{}
		for _, w := range e.workers {
			err := w.call(ctx, work, func(t *task.Task) {
				asked[t.ID()] = true
				end = max(end, t.LastWindowEnd(maxEvent))
			})
			if err != nil {
				return 0, err
			}
		}
		if len(asked) == len(e.plan.TaskIDs()) {
			return end, nil
		}
		if err := await(ctx, work, changed); err != nil {
			return 0, err
		}
	}
}

// setEnds tells the tasks of a sub-topology where their inputs end: where they
// end now, as everything upstream is committed.
func (e *Engine) setEnds(ctx context.Context, sub int) error {
	return e.endInputs(ctx, e.plan.Subs[sub].Inputs)
}

// endInputs makes the ends that inputs have now those of the run. An end that the
// tasks know already stays.
func (e *Engine) endInputs(ctx context.Context, ins []plan.Input) error {
	var tps []record.TopicPartition
	for _, in := range ins {
		for p := range in.Partitions {
			tps = append(tps, record.TopicPartition{Topic: in.Topic, Partition: record.Partition(p)})
		}
	}
	found, err := e.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtEnd})
	if err != nil {
		return fmt.Errorf("look up the ends of inputs: %w", err)
	}
	for _, w := range e.workers {
		w.order(func() {
			for i, tp := range tps {
				if _, known := w.ends[tp]; !known {
					w.ends[tp] = found[i].Offset
				}
			}
		})
	}
	return nil
}

// taskStatuses are those of the tasks that run here, or did before an error of
// their worker.
func (e *Engine) taskStatuses() (all []taskStatus) {
	for _, w := range e.workers {
		w.mu.Lock()
		for _, id := range w.ids {
			if s, told := w.statuses[id]; told {
				all = append(all, s)
			}
		}
		w.mu.Unlock()
	}
	return all
}

// awaitTasks waits until every task of the program runs here and its status
// satisfies ok. On a cluster tasks may come later than the sources do, and go and
// come back after the session with the group was lost.
func (e *Engine) awaitTasks(ctx, work context.Context, ok func(taskStatus) bool) error {
	for {
		changed := e.status.changed()
		fit := 0
		for _, s := range e.taskStatuses() {
			if ok(s) {
				fit++
			}
		}
		if fit == len(e.plan.TaskIDs()) {
			return nil
		}
		if err := await(ctx, work, changed); err != nil {
			return err
		}
	}
}
