package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// garbageEvery is the time between two rounds of giving back what the database
// keeps of large values that were overwritten.
const garbageEvery = 10 * time.Minute

// collector is a state.DB that does not give everything back by itself.
type collector interface{ CollectGarbage() error }

// checkpointer writes checkpoints beside the hot path: one at a time, from one
// goroutine, because the database has one writer anyway.
type checkpointer struct {
	e    *Engine
	jobs chan checkpointJob
}

type checkpointJob struct {
	w      *worker
	id     plan.TaskID
	frozen *task.Frozen
}

type checkpointDone struct {
	checkpointJob
	err  error
	took time.Duration
}

// checkpointState is one task's checkpoints, on its worker's goroutine.
type checkpointState struct {
	next    time.Time // when one is due
	at      time.Time // of the last finished one
	pending *task.Frozen
	failed  int
}

func newCheckpointer(e *Engine) *checkpointer {
	return &checkpointer{e: e, jobs: make(chan checkpointJob, len(e.plan.TaskIDs()))}
}

func (c *checkpointer) run(work context.Context) {
	garbage := time.NewTicker(garbageEvery)
	defer garbage.Stop()
	for {
		select {
		case <-work.Done():
			return
		case <-garbage.C:
			if db, ok := c.e.db.(collector); ok {
				if err := db.CollectGarbage(); err != nil {
					c.e.logger.Warn("cannot give back space of the state's directory", "err", err)
				}
			}
		case job := <-c.jobs:
			began := time.Now()
			err := c.e.writeCheckpoint(job.id, job.frozen)
			select {
			case job.w.finished <- checkpointDone{checkpointJob: job, err: err, took: time.Since(began)}:
			case <-work.Done(): // the worker may not collect any more
				return
			}
			job.w.interrupt()
		}
	}
}

// checkpointRecord names what a checkpoint holds (I2).
func (e *Engine) checkpointRecord(f *task.Frozen) []byte {
	c := restore.Checkpoint{Cluster: e.log.ClusterID(), AtMS: time.Now().UnixMilli(), Position: f.Position}
	for _, l := range f.Changelogs {
		c.Changelogs = append(c.Changelogs, restore.Changelog{
			Partition: l.Partition, TopicID: e.topicIDs[l.Partition.Topic], End: l.End, Firsts: l.Firsts,
		})
	}
	return c.Append(nil)
}

// writeCheckpoint writes one checkpoint: entries first, the record last.
func (e *Engine) writeCheckpoint(id plan.TaskID, f *task.Frozen) error {
	rec := e.checkpointRecord(f)
	if done, err := e.plantedCheckpoint(id, rec, f); done {
		return err
	}
	return e.db.Checkpoint(id.Key(), rec, f.Write)
}

// overlayMax is one task's share of Config.UncheckpointedBytes.
func (e *Engine) overlayMax() int64 {
	n := 0
	for _, s := range e.plan.Subs {
		if len(s.Stores) > 0 {
			n += int(s.Tasks)
		}
	}
	return max(e.cfg.UncheckpointedBytes/int64(max(n, 1)), 1<<16)
}

// checkpoints takes finished ones in and begins those that are due. A task whose
// overlay has reached its bound waits for the one under way.
func (w *worker) checkpoints(work context.Context, now time.Time) error {
	w.collect()
	limit := w.e.overlayMax()
	for _, t := range w.tasks {
		c := w.ckpts[t.ID()]
		for t.Freezing() && t.OverlayBytes() >= limit {
			if err := w.awaitCheckpoint(work); err != nil {
				return err
			}
			if c.failed > 3 {
				return fmt.Errorf("task %v: checkpoints fail, and %d bytes wait for one: see the log for the reason", t.ID(), t.OverlayBytes())
			}
		}
		if t.Freezing() || (now.Before(c.next) && t.OverlayBytes() < limit/2) {
			continue
		}
		w.freeze(t, now)
	}
	return nil
}

func (w *worker) freeze(t *task.Task, now time.Time) {
	c := w.ckpts[t.ID()]
	c.next = now.Add(w.e.cfg.CheckpointInterval)
	f := t.Freeze()
	if f == nil {
		return
	}
	c.pending = f
	w.e.ckpt.jobs <- checkpointJob{w: w, id: t.ID(), frozen: f} // one per task at most: never blocks
}

func (w *worker) collect() {
	for {
		select {
		case d := <-w.finished:
			w.checkpointed(d)
		default:
			return
		}
	}
}

func (w *worker) awaitCheckpoint(work context.Context) error {
	select {
	case d := <-w.finished:
		w.checkpointed(d)
		return nil
	case <-work.Done():
		return context.Cause(work)
	}
}

// checkpointed takes in one finished checkpoint.
func (w *worker) checkpointed(d checkpointDone) {
	c := w.ckpts[d.id]
	for _, t := range w.tasks {
		if t.ID() != d.id || c.pending != d.frozen {
			continue
		}
		c.pending = nil
		trim, holds := t.Checkpointed(d.frozen, d.err)
		if d.err != nil {
			c.failed++
			w.e.logger.Error("checkpoint failed, its entries wait for the next one", "task", d.id.String(), "err", d.err)
			return
		}
		c.failed, c.at = 0, time.Now()
		for tp, at := range holds {
			w.e.log.Hold(tp, at)
		}
		w.e.trim.changelogs(trim)
		w.e.status.checkpointed()
		if h := w.e.cfg.Hooks.Checkpointed; h != nil {
			h(d.id.String(), d.took, d.frozen.Entries, d.frozen.Bytes, c.at)
		}
	}
}

// waitCheckpoints waits for those under way: nothing else may touch their tasks'
// part of the database meanwhile.
func (w *worker) waitCheckpoints(work context.Context) {
	for _, t := range w.tasks {
		for t.Freezing() && w.awaitCheckpoint(work) == nil {
			continue
		}
	}
}

// lastCheckpoints writes what is left at a graceful end.
func (w *worker) lastCheckpoints(work context.Context) error {
	w.waitCheckpoints(work)
	for _, t := range w.tasks {
		w.freeze(t, time.Now())
	}
	for _, t := range w.tasks {
		for t.Freezing() {
			if err := w.awaitCheckpoint(work); err != nil {
				return err
			}
		}
	}
	return nil
}
