package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// restoreAll starts every worker's tasks from committed state, workers side by
// side. The transactional ids of earlier runs have been opened, so nothing hangs.
func (e *Engine) restoreAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range e.workers {
		g.Go(func() error {
			ps, err := w.openWriter(ctx)
			if err != nil {
				return err
			}
			return w.restore(ctx, ps)
		})
	}
	return g.Wait()
}

// restore builds the worker's tasks and brings them to their last commits.
func (w *worker) restore(ctx context.Context, ps positions) error {
	w.byInput = map[record.TopicPartition]*task.Task{}
	from := map[record.TopicPartition]record.Offset{}
	keep := false
	for i, id := range w.ids {
		t, err := w.restoreTask(ctx, id, ps, from)
		if err != nil {
			return fmt.Errorf("restore task %v: %w", id, err)
		}
		w.tasks = append(w.tasks, t)
		for _, tp := range t.Inputs() {
			w.byInput[tp] = t
		}
		keep = keep || t.KeepChunks()
		// Spread over the interval, so that checkpoints do not come all at once.
		step := w.e.cfg.CheckpointInterval / time.Duration(len(w.ids))
		w.ckpts[id] = &checkpointState{next: time.Now().Add(w.e.cfg.CheckpointInterval/2 + step*time.Duration(i)/2)}
	}
	var err error
	if w.reader, err = w.e.log.Reader(logclient.ReaderConfig{KeepChunks: keep}); err != nil {
		return err
	}
	w.reader.Assign(from)
	w.applied = -1 // tell the new tasks of all orders
	w.e.mu.Lock()
	for _, t := range w.tasks {
		w.e.readers[t.ID()] = t.Reader()
	}
	w.e.mu.Unlock()
	return nil
}

func (w *worker) restoreTask(ctx context.Context, id plan.TaskID, ps positions, from map[record.TopicPartition]record.Offset) (*task.Task, error) {
	e := w.e
	now := time.Now()
	t := task.New(task.Config{
		ID: id, Plan: e.plan, Topology: e.topo, DB: e.db, Logger: e.logger,
		CacheBytes: e.cacheBytes(), IdleAfter: e.cfg.IdleAfter, MaxTaskIdle: e.cfg.MaxTaskIdle, Bounded: e.cfg.Bounded,
		BadRecord: e.cfg.badRecord(), Late: e.cfg.lateAction(), Poisoned: e.panics.poisoned(),
		Reread: func(tp record.TopicPartition, from, to record.Offset, fn func(*record.View) bool) error {
			return e.reread(e.work, tp, from, to, fn)
		},
	})
	start, err := e.startOf(ctx, id, t.Inputs(), ps)
	if err != nil {
		return nil, err
	}
	if len(e.plan.Subs[id.Sub].Stores) > 0 {
		if err := w.restoreStores(ctx, t, ps[task.PositionKey(id)], now); err != nil {
			return nil, err
		}
	}
	if err := t.Start(start.last, start.from, w.writer, now); err != nil {
		return nil, err
	}
	maps.Copy(from, start.from)
	st := taskStatus{id: id, streamTime: t.StreamTime(), maxEvent: t.MaxEvent()}
	for _, tp := range t.Inputs() {
		st.processed = append(st.processed, task.Processed{Partition: tp, Next: start.from[tp], NewestMS: t.MaxEvent()})
	}
	w.mu.Lock()
	w.statuses[id] = st
	w.mu.Unlock()
	return t, nil
}

func (w *worker) restoreStores(ctx context.Context, t *task.Task, position []byte, now time.Time) error {
	e, id := w.e, t.ID()
	began := time.Now()
	limit := e.overlayMax()
	res, err := restore.Run(ctx, restore.Config{
		Log: e.log, DB: e.db, Task: id.Key(), Changelogs: t.Changelogs(), Position: position, TopicIDs: e.topicIDs,
		MaxAge: time.Duration(plan.DeleteRetentionMS/2) * time.Millisecond, Now: now,
		Discard: e.cfg.Flush == "os" && !e.log.CleanStart(),
		Apply:   t.RestoreEntry,
		Progress: func(at []restore.Changelog) error {
			if t.OverlayBytes() < limit {
				return nil
			}
			for i, c := range at {
				if c.Partition.Topic != "" {
					t.RestoreEnd(i, c.End, 0, c.Firsts)
				}
			}
			f := t.Freeze()
			err := e.writeCheckpoint(id, f)
			t.Checkpointed(f, err)
			return err
		},
	})
	if err != nil {
		return err
	}
	if res.Rebuilt != "" {
		e.logger.Warn("local state given up, rebuilt from the changelogs", "task", id.String(), "why", res.Rebuilt)
		e.status.rebuilt()
	}
	sub := &e.plan.Subs[id.Sub]
	for i, c := range res.At {
		if c.Partition.Topic != "" {
			t.RestoreEnd(i, c.End, res.Checkpointed[i], c.Firsts)
			e.log.Hold(c.Partition, res.Checkpointed[i])
		}
		if h := e.cfg.Hooks.Restored; h != nil {
			h(id.String(), sub.Stores[i].Spec.Called(), res.Replayed[i])
		}
		e.status.restored(res.Replayed[i])
	}
	e.logger.Debug("restored", "task", id.String(), "records", res.Replayed, "took", time.Since(began), "stores", strings.Join(slices.Clone(sub.SubTopology.Stores), ","))
	return nil
}

// cacheBytes is one task's share of Config.CacheBytes.
func (e *Engine) cacheBytes() int64 {
	n := 0
	for _, s := range e.plan.Subs {
		if len(s.Stores) > 0 {
			n += int(s.Tasks)
		}
	}
	return max(e.cfg.CacheBytes/int64(max(n, 1)), 1<<16)
}
