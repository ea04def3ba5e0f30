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
	for i, id := range e.plan.TaskIDs() {
		// By turns within a sub-topology, and on over its end, so that sub-topologies
		// of one task do not all end up on the first worker.
		w := e.workers[i%n]
		w.ids = append(w.ids, id)
	}
	for _, s := range e.cfg.Sources {
		e.sources = append(e.sources, newSourceRunner(e, s))
	}
	for _, s := range e.cfg.Sinks {
		e.sinks = append(e.sinks, newSinkRunner(e, s))
	}
	e.ckpt = newCheckpointer(e)
	e.trim = newTrimmer(e)
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
	topics := map[string]bool{}
	var inputs []string
	for _, s := range e.plan.Subs {
		for _, in := range s.Inputs {
			if !topics[in.Topic] {
				topics[in.Topic] = true
				inputs = append(inputs, in.Topic)
			}
		}
	}
	var err error
	if e.member, err = e.log.Join(ctx, logclient.MemberConfig{Group: e.topo.Name, Topics: inputs}); err != nil {
		return fmt.Errorf("join group %s: %w", e.topo.Name, err)
	}
	defer e.member.Leave(context.Background())
	if err := e.nextGeneration(ctx); err != nil {
		return err
	}
	if err := e.restoreAll(ctx); err != nil {
		return err
	}
	e.status.setPhase(PhaseRunning)

	var wg sync.WaitGroup
	spawn := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				cancel(err)
			}
		})
	}
	spawn(func() error { return e.followGenerations(work) })
	spawn(func() error { return e.serve(work) })
	spawn(func() error { e.ckpt.run(work); return nil })
	spawn(func() error { return e.trim.run(work) })
	for _, w := range e.workers {
		spawn(func() error { return w.run(work) })
	}
	stopSources, cancelSources := context.WithCancel(work)
	defer cancelSources()
	var connected []func() error
	for _, s := range e.sources {
		connected = append(connected, func() error { return s.run(stopSources) })
	}
	for _, s := range e.sinks {
		connected = append(connected, func() error { return s.run(work) })
	}
	for _, f := range connected {
		go func() { // not in wg: a connector may never return
			if err := f(); err != nil {
				cancel(err)
			}
		}()
	}
	err = e.conduct(ctx, work, cancelSources)
	if err == nil {
		err = context.Cause(work)
	}
	cancel(err)
	wg.Wait()
	stuck := e.leaveStuck()
	for _, w := range e.workers {
		w.release()
	}
	if stuck != nil {
		return errors.Join(err, stuck)
	}
	return err
}

// conduct waits for the end and leads to it: sources first, then the
// sub-topologies in order, the sinks, the last checkpoints.
func (e *Engine) conduct(ctx, work context.Context, stopSources func()) error {
	if e.cfg.Bounded {
		if err := e.awaitSources(ctx, work); err != nil {
			return e.interrupted(ctx, work, stopSources, err)
		}
		if err := e.drain(ctx, work, true); err != nil {
			return e.interrupted(ctx, work, stopSources, err)
		}
		return e.finish(ctx, work)
	}
	if err := await(ctx, work, nil); err != nil {
		return e.interrupted(ctx, work, stopSources, err)
	}
	return nil
}

// interrupted ends a run that was asked to end, or that failed.
func (e *Engine) interrupted(ctx, work context.Context, stopSources func(), err error) error {
	if work.Err() != nil {
		return context.Cause(work)
	}
	if ctx.Err() == nil {
		return err
	}
	e.status.setPhase(PhaseDraining)
	stopSources()
	limit, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for _, s := range e.sources {
		if err := await(limit, work, s.ended); err != nil && work.Err() != nil {
			return err
		}
	}
	if err := e.drain(limit, work, false); err != nil && limit.Err() == nil {
		return err
	}
	return e.finish(ctx, work)
}

// finish stops the workers with their last commits and checkpoints, and lets the
// sinks deliver what was committed: for drainTimeout from the end of ctx on. A
// bounded run that nobody stops waits for them for good.
func (e *Engine) finish(ctx, work context.Context) error {
	e.status.setPhase(PhaseDraining)
	for _, w := range e.workers {
		w.stop()
	}
	for _, w := range e.workers {
		if err := await(context.Background(), work, w.stopped); err != nil {
			return err
		}
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
		for _, w := range e.workers {
			err := w.call(ctx, work, func(t *task.Task) { endTime = max(endTime, t.LastWindowEnd(maxEvent)) })
			if err != nil {
				return err
			}
		}
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

func (e *Engine) taskStatuses() (all []taskStatus) {
	for _, w := range e.workers {
		w.mu.Lock()
		for _, id := range w.ids {
			all = append(all, w.statuses[id])
		}
		w.mu.Unlock()
	}
	return all
}

// awaitTasks waits until every task's status satisfies ok.
func (e *Engine) awaitTasks(ctx, work context.Context, ok func(taskStatus) bool) error {
	for {
		changed := e.status.changed()
		all := true
		for _, s := range e.taskStatuses() {
			all = all && ok(s)
		}
		if all {
			return nil
		}
		if err := await(ctx, work, changed); err != nil {
			return err
		}
	}
}

// followGenerations takes new generations of the group as they come. A worker
// whose commit was refused for an old one finds the new one when it tries again.
func (e *Engine) followGenerations(work context.Context) error {
	for {
		if err := e.nextGeneration(work); err != nil {
			if work.Err() != nil || logclient.Classify(err) == logclient.ClassRetryable {
				return nil
			}
			return err
		}
	}
}

func (e *Engine) nextGeneration(ctx context.Context) error {
	a, err := e.member.Next(ctx)
	if err != nil {
		return fmt.Errorf("group %s: %w", e.topo.Name, err)
	}
	e.mu.Lock()
	e.generation = a.Generation
	e.mu.Unlock()
	return e.member.Done(a)
}
