package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// restoreTask builds a task and brings its stores to the last commit; Start has
// it go on at start.
func (e *Engine) restoreTask(ctx context.Context, id plan.TaskID, start *taskStart) (*task.Task, error) {
	defer e.replays.enter(e)()
	defer e.replays.begin(id)()
	for attempts := 1; ; attempts++ {
		t := e.newTask(id)
		if len(e.plan.Subs[id.Sub].Stores) == 0 {
			return t, nil
		}
		err := e.restoreStores(ctx, t, start, time.Now())
		var gone *logclient.OffsetOutOfRangeError
		switch {
		case err == nil:
			return t, nil
		case !errors.As(err, &gone) || gone.Offset >= gone.Start || attempts == restoreAttempts:
			return nil, err
		}
		// Who ran the task before has deleted windows that are over, after we had
		// looked where the changelog begins.
		e.logger.Info("a changelog was cut while it was read, restoring once more", "task", id.String(), "topic", gone.TopicPartition.Topic, "partition", gone.TopicPartition.Partition, "start", gone.Start)
		start.verdict = nil
	}
}

// restoreAttempts bounds how often a task is restored anew because its changelog
// was cut meanwhile.
const restoreAttempts = 10

// newTask builds a task with empty stores over its part of the database.
func (e *Engine) newTask(id plan.TaskID) *task.Task {
	return task.New(task.Config{
		ID: id, Plan: e.plan, Topology: e.topo, DB: e.db, Logger: e.logger,
		CacheBytes: e.cacheBytes(), IdleAfter: e.cfg.IdleAfter, MaxTaskIdle: e.cfg.MaxTaskIdle, Bounded: e.cfg.Bounded,
		BadRecord: e.cfg.badRecord(), Late: e.cfg.lateAction(), Poisoned: e.panics.poisoned(),
		Reread: func(tp record.TopicPartition, from, to record.Offset, fn func(*record.View) bool) error {
			return e.reread(e.work, tp, from, to, fn)
		},
	})
}

// judge looks at the local state of tasks that start here, all at once, as far as
// nobody uses it: neither a standby nor a checkpoint under way.
func (e *Engine) judge(ctx context.Context, ids []plan.TaskID, starts map[plan.TaskID]*taskStart) error {
	var idle []plan.TaskID
	var cfgs []restore.Config
	now := time.Now()
	for _, id := range ids {
		if e.hasChangelog(id) && !e.shepherd.isRetiring(id) && !e.standbys.holds(id) {
			idle = append(idle, id)
			cfgs = append(cfgs, e.restoreConfig(id, e.changelogsOf(id), starts[id].position, e.topicIDs, now))
		}
	}
	verdicts, err := restore.Judge(ctx, cfgs)
	if err != nil {
		return err
	}
	behind := int64(0)
	for i, id := range idle {
		starts[id].verdict = &verdicts[i]
		behind += verdicts[i].Behind(cfgs[i].Changelogs)
	}
	e.replays.expect(e, len(idle), behind)
	return nil
}

// changelogsOf are the changelog partitions of a task's stores; those without one
// have no topic.
func (e *Engine) changelogsOf(id plan.TaskID) (tps []record.TopicPartition) {
	for _, s := range e.plan.Subs[id.Sub].Stores {
		tp := record.TopicPartition{}
		if s.Changelog != "" {
			tp = record.TopicPartition{Topic: s.Changelog, Partition: record.Partition(id.Partition)}
		}
		tps = append(tps, tp)
	}
	return tps
}

// restoreConfig is what is the same for all who judge or replay a task's state.
func (e *Engine) restoreConfig(id plan.TaskID, changelogs []record.TopicPartition, position []byte, topicIDs map[string][16]byte, now time.Time) restore.Config {
	return restore.Config{
		Log: e.log, DB: e.db, Task: id.Key(), Changelogs: changelogs, Position: position, TopicIDs: topicIDs,
		MaxAge: time.Duration(plan.DeleteRetentionMS/2) * time.Millisecond, Now: now,
		Discard: e.cfg.Flush == "os" && !e.log.CleanStart(),
	}
}

func (e *Engine) restoreStores(ctx context.Context, t *task.Task, start *taskStart, now time.Time) error {
	id := t.ID()
	began := time.Now()
	limit := e.overlayMax()
	cfg := e.restoreConfig(id, t.Changelogs(), start.position, e.topicIDs, now)
	cfg.Verdict, start.verdict = start.verdict, nil // of use once
	cfg.Apply = t.RestoreEntry
	cfg.Moved = func(res *restore.Result) { e.replays.moved(e, id, res, began) }
	cfg.Progress = func(at []restore.Changelog) error {
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
	}
	res, err := restore.Run(ctx, cfg)
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
		e.status.restored(res.Replayed[i], res.Bytes[i])
	}
	e.logger.Debug("restored", "task", id.String(), "records", res.Replayed, "bytes", res.Bytes, "took", time.Since(began), "stores", strings.Join(slices.Clone(sub.SubTopology.Stores), ","))
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
