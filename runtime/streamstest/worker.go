package streamstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// worker is what the engine's worker is, without a goroutine: some tasks, one
// reader, one transaction at a time.
type worker struct {
	d       *Driver
	n       int
	ids     []plan.TaskID
	tasks   []*task.Task // as ids
	inputs  []input
	byInput map[record.TopicPartition]*task.Task
	reader  logclient.Reader
	writer  logclient.Writer
	batches int  // read since the last commit
	due     bool // a commit
}

type input struct {
	tp   record.TopicPartition
	task *task.Task
}

// nothing is a context that is over: a Poll with it does not wait.
var nothing = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// dirtyMax is how many bytes of changes make a commit due, as in the engine.
func (w *worker) dirtyMax() int64 {
	return max(w.d.opt.Engine.CacheBytes/int64(len(w.d.workers))/2, 1<<16)
}

// restore makes the tasks and brings them to their last commits.
func (w *worker) restore(ctx context.Context, positions map[string][]byte, topicIDs map[string][16]byte) error {
	from := map[record.TopicPartition]record.Offset{}
	keep := false
	for _, id := range w.ids {
		t, err := w.restoreTask(ctx, id, positions[task.PositionKey(id)], topicIDs, from)
		if err != nil {
			return fmt.Errorf("restore task %v: %w", id, err)
		}
		w.tasks = append(w.tasks, t)
		for _, tp := range t.Inputs() {
			w.byInput[tp] = t
			w.inputs = append(w.inputs, input{tp, t})
		}
		keep = keep || t.KeepChunks()
	}
	var err error
	if w.reader, err = w.d.log.Reader(logclient.ReaderConfig{KeepChunks: keep}); err != nil {
		return err
	}
	w.reader.Assign(from)
	return nil
}

func (w *worker) restoreTask(ctx context.Context, id plan.TaskID, position []byte, topicIDs map[string][16]byte, from map[record.TopicPartition]record.Offset) (*task.Task, error) {
	d := w.d
	t := task.New(d.taskConfig(id))
	var last *task.PositionRecord
	if position != nil {
		var err error
		if last, err = task.DecodePosition(position); err != nil {
			return nil, err
		}
	}
	start, err := d.startOf(ctx, t, last)
	if err != nil {
		return nil, err
	}
	if len(d.plan.Subs[id.Sub].Stores) > 0 {
		res, err := restore.Run(ctx, restore.Config{
			Log: d.log, DB: d.db, Task: id.Key(), Changelogs: t.Changelogs(), Position: position, TopicIDs: topicIDs,
			MaxAge: time.Duration(plan.DeleteRetentionMS/2) * time.Millisecond, Now: d.now, Apply: t.RestoreEntry,
		})
		if err != nil {
			return nil, err
		}
		if res.Rebuilt != "" {
			d.totals.Rebuilt++
		}
		for i, c := range res.At {
			d.totals.Restored += res.Replayed[i]
			if c.Partition.Topic != "" {
				t.RestoreEnd(i, c.End, res.Checkpointed[i], c.Firsts)
				d.log.Hold(c.Partition, res.Checkpointed[i])
			}
		}
	}
	if err := t.Start(last, start, w.writer, d.now); err != nil {
		return nil, err
	}
	maps.Copy(from, start)
	return t, nil
}

func (d *Driver) taskConfig(id plan.TaskID) task.Config {
	c := &d.opt.Engine
	stores := 0
	for _, s := range d.plan.Subs {
		if len(s.Stores) > 0 {
			stores += int(s.Tasks)
		}
	}
	actions := map[string]task.Action{"dead-letter": task.DeadLetter, "skip": task.Skip, "stop": task.Stop}
	late := task.DeadLetter
	if c.OnBadRecord == "skip" {
		late = task.Skip
	}
	return task.Config{
		ID: id, Plan: d.plan, Topology: d.topo, DB: d.db, Logger: c.Logger,
		CacheBytes: max(c.CacheBytes/int64(max(stores, 1)), 1<<16), IdleAfter: d.opt.IdleAfter,
		MaxTaskIdle: c.MaxTaskIdle, Bounded: c.Bounded, BadRecord: actions[c.OnBadRecord], Late: late,
	}
}

// startOf is where a task goes on: the group's offsets, which must be those of
// the position record.
func (d *Driver) startOf(ctx context.Context, t *task.Task, last *task.PositionRecord) (map[record.TopicPartition]record.Offset, error) {
	inputs := t.Inputs()
	committed, err1 := d.member.Committed(ctx, inputs)
	starts, err2 := d.log.Offsets(ctx, inputs, logclient.At{Kind: logclient.AtStart})
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	from := map[record.TopicPartition]record.Offset{}
	for i, tp := range inputs {
		from[tp] = starts[i].Offset
		if p, ok := committed[tp]; ok {
			from[tp] = p.Offset
		}
		if last == nil {
			continue
		}
		for _, in := range last.Inputs {
			if in.Topic == tp.Topic && in.Partition == tp.Partition && in.Offset != from[tp] {
				return nil, fmt.Errorf("%s-%d: the group stands at offset %d, the task's position record at %d", tp.Topic, tp.Partition, from[tp], in.Offset)
			}
		}
	}
	return from, nil
}

// work processes one batch.
func (w *worker) work() (did bool, err error) {
	for _, in := range w.inputs { // what an earlier step could not yet use
		if in.task.Queued(in.tp) == 0 {
			continue
		}
		if n, err := w.run(in.task); n > 0 || err != nil {
			return true, err
		}
	}
	batches, err := w.reader.Poll(nothing, 1)
	if errors.Is(err, context.Canceled) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, b := range batches {
		tp := b.TopicPartition()
		w.d.last = fmt.Sprintf("task %v read %s-%d", w.byInput[tp].ID(), tp.Topic, tp.Partition)
		w.byInput[tp].Add(b)
		w.batches++
		if _, err := w.run(w.byInput[tp]); err != nil {
			return true, err
		}
	}
	return true, nil
}

// run lets a task work on what it has.
func (w *worker) run(t *task.Task) (n int64, err error) {
	if n, err = t.Work(w.d.now, w.reader.End, w.dirtyMax()); err != nil {
		return n, err
	}
	if err := t.Tick(w.d.now); err != nil {
		return n, err
	}
	usage, pending := t.Usage()
	every := w.d.opt.CommitEvery
	w.due = w.due || usage.DirtyBytes >= w.dirtyMax() || pending >= w.dirtyMax() || every > 0 && w.batches >= every
	return n, nil
}

// commit ends the worker's transaction; false if nothing is in it.
func (w *worker) commit() (did bool, err error) {
	w.due, w.batches = false, 0
	in := logclient.Positions{}
	var flushed []*task.Task
	for _, t := range w.tasks {
		if !t.Dirty() {
			continue
		}
		if err := t.Flush(in); err != nil {
			return true, err
		}
		flushed = append(flushed, t)
	}
	if len(flushed) == 0 {
		return false, nil
	}
	w.d.last = fmt.Sprintf("worker %d committed", w.n)
	ends, err := w.writer.Commit(context.Background(), in, w.d.generation)
	if err != nil {
		return true, fmt.Errorf("worker %d: commit: %w", w.n, err)
	}
	for _, t := range flushed {
		w.d.count(t.Committed(ends))
	}
	w.d.totals.Commits++
	return true, nil
}

// count adds a committed transaction to the totals.
func (d *Driver) count(c task.Counts, inputs []task.Processed) {
	for _, in := range inputs {
		d.totals.RecordsIn += in.Records
	}
	for op, n := range c.Late {
		d.late[op] += n
		d.totals.Late += n
	}
	for op, n := range c.Dropped {
		d.dropped[op] += n
		d.totals.Dropped += n
	}
	for _, t := range d.plan.Topics {
		if t.Kind == plan.External {
			d.totals.RecordsOut += c.Out[t.Name].Records
		}
	}
	d.totals.DeadLettered += c.DeadLettered
	d.totals.ChangelogRecords += c.Changelog
	d.skipped += c.Skipped
}
