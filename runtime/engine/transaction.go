package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// commit ends the worker's transaction: everything that its tasks changed, one
// position record each, their input offsets. A transaction in which nothing
// happened is none.
func (w *worker) commit(work context.Context) error {
	began := time.Now()
	in := logclient.Positions{}
	var flushed []*task.Task
	for _, t := range w.tasks {
		if !t.Dirty() {
			continue
		}
		if err := t.Flush(in); err != nil {
			return err
		}
		flushed = append(flushed, t)
	}
	w.began = time.Time{}
	if len(flushed) == 0 {
		return nil
	}
	w.e.mark(in)
	generation := w.e.member.Generation()
	if err := w.plantedBeforeCommit(flushed, in, generation); err != nil {
		return err
	}
	ends, err := w.writer.Commit(work, in, generation)
	took := time.Since(began)
	hook := w.e.cfg.Hooks.Committed
	if hook == nil {
		hook = func(string, time.Duration, error) {}
	}
	if err != nil {
		hook(fmt.Sprint(w.n), took, err)
		if errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w: %w", logclient.ErrUnknownOutcome, err)
		}
		return fmt.Errorf("worker %d: commit: %w", w.n, err)
	}
	w.backoff = 0
	now := time.Now()
	w.nextCommit = now.Add(w.e.cfg.CommitInterval)
	for _, t := range flushed {
		counts, inputs := t.Committed(ends)
		w.report(t, counts, inputs, now)
	}
	w.e.status.committed()
	w.publish(now)
	hook(fmt.Sprint(w.n), took, nil) // last: whoever is called finds the commit in State
	return nil
}

// report counts what a committed transaction did, and calls the hooks.
func (w *worker) report(t *task.Task, c task.Counts, inputs []task.Processed, now time.Time) {
	h := &w.e.cfg.Hooks
	id := t.ID().String()
	w.e.status.taskCommitted(w.e.plan, c, inputs)
	for _, in := range inputs {
		if in.Records > 0 && h.Processed != nil {
			h.Processed(id, in.Partition.Topic, in.Records, in.Bytes)
		}
		if in.Records > 0 && h.EndToEnd != nil {
			h.EndToEnd(in.Partition.Topic, now.Sub(time.UnixMilli(in.NewestMS)))
		}
		if h.Lag != nil {
			h.Lag(id, in.Partition.Topic, int32(in.Partition.Partition), int64(max(w.reader.End(in.Partition)-in.Next, 0)))
		}
	}
	if h.Written != nil {
		for topic, v := range c.Out {
			h.Written(topic, v.Records, v.Bytes)
		}
	}
	if h.Late != nil {
		for op, n := range c.Late {
			h.Late(op, n)
		}
	}
	if h.Dropped != nil {
		for op, n := range c.Dropped {
			h.Dropped(op, n)
		}
	}
	if h.DeadLettered != nil && c.DeadLettered > 0 {
		h.DeadLettered("task", c.DeadLettered)
	}
	if h.Store != nil {
		if stores := w.e.plan.Subs[t.ID().Sub].Stores; len(stores) > 0 {
			u, _ := t.Usage()
			h.Store(id, stores[0].Spec.Called(), u.Entries, u.CacheBytes, u.CacheHits, u.CacheMisses)
		}
	}
	w.noteProcessed(t, inputs)
}

// noteProcessed keeps a task's committed positions for the trimmer and for people.
func (w *worker) noteProcessed(t *task.Task, inputs []task.Processed) {
	lag := map[record.TopicPartition]int64{}
	for _, in := range inputs {
		lag[in.Partition] = int64(max(w.reader.End(in.Partition)-in.Next, 0))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.statuses[t.ID()]
	s.processed, s.lag = inputs, lag
	w.statuses[t.ID()] = s
}

// publish shows the tasks as they are now committed.
func (w *worker) publish(now time.Time) {
	w.mu.Lock()
	for _, t := range w.tasks {
		s := w.statuses[t.ID()]
		s.id, s.streamTime, s.maxEvent = t.ID(), t.StreamTime(), t.MaxEvent()
		s.drained = !t.Dirty() && len(w.ends) > 0 && w.applied == w.orders && t.Drained()
		if c := w.ckpts[t.ID()]; c != nil {
			s.checkpoint = c.at
		}
		w.statuses[t.ID()] = s
	}
	w.mu.Unlock()
	w.e.status.touch()
}
