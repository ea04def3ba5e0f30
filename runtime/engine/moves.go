package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// arrival is a task that is restored and that a worker shall run.
type arrival struct {
	task  *task.Task
	start *taskStart
}

// departure are tasks that a worker shall give up: committed, or, if they are
// lost, as they are.
type departure struct {
	ids  []plan.TaskID
	lost bool
	done chan struct{} // closed when the worker has nothing to do with them any more
}

// arrive hands a task over.
func (w *worker) arrive(a arrival) { w.order(func() { w.arriving = append(w.arriving, a) }) }

// giveUp asks for tasks to be given up.
func (w *worker) giveUp(d *departure) {
	w.order(func() {
		w.leaving = append(w.leaving, d)
		if w.abandon != nil {
			w.abandon() // a rebuild need not end first
		}
	})
}

// move does what was asked for with arrive and giveUp.
func (w *worker) move(work context.Context) error {
	w.mu.Lock()
	arrivals := w.arriving
	w.arriving = nil
	for _, a := range arrivals { // from here on a rebuild brings them too
		w.ids = append(w.ids, a.task.ID())
	}
	w.mu.Unlock()
	if len(arrivals) > 0 {
		if err := w.admit(work, arrivals); err != nil {
			return err
		}
	}
	for {
		w.mu.Lock()
		if len(w.leaving) == 0 {
			w.mu.Unlock()
			return nil
		}
		d := w.leaving[0]
		w.mu.Unlock()
		if err := w.depart(work, d); err != nil {
			return err // forget takes it from there
		}
	}
}

// admit starts restored tasks in the worker's transactions, and reads their inputs.
func (w *worker) admit(ctx context.Context, arrivals []arrival) error {
	if w.writer == nil {
		if err := w.openWriter(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	for _, a := range arrivals {
		t := a.task
		if err := t.Start(a.start.last, a.start.from, w.writer, now); err != nil {
			return fmt.Errorf("restore task %v: %w", t.ID(), err)
		}
		w.keep = w.keep || t.KeepChunks()
		// Spread over the interval, so that checkpoints do not come all at once.
		step := w.e.cfg.CheckpointInterval / time.Duration(2*len(w.ids))
		w.ckpts[t.ID()] = &checkpointState{next: now.Add(w.e.cfg.CheckpointInterval/2 + step*time.Duration(len(w.tasks)))}
		w.tasks = append(w.tasks, t)
		for _, tp := range t.Inputs() {
			w.byInput[tp] = t
		}
		maps.Copy(w.at, a.start.from)
		w.enter(t, a.start)
	}
	if err := w.assignReader(); err != nil {
		return err
	}
	w.mu.Lock()
	w.applied = -1 // tell the new tasks of all orders
	w.mu.Unlock()
	for _, a := range arrivals {
		w.e.shepherd.started(a.task.ID())
	}
	return nil
}

// enter shows a task that runs now to everybody.
func (w *worker) enter(t *task.Task, start *taskStart) {
	id := t.ID()
	st := taskStatus{id: id, streamTime: t.StreamTime(), maxEvent: t.MaxEvent()}
	for _, tp := range t.Inputs() {
		st.processed = append(st.processed, task.Processed{Partition: tp, Next: start.from[tp], NewestMS: t.MaxEvent()})
	}
	w.mu.Lock()
	w.statuses[id] = st
	w.mu.Unlock()
	w.e.mu.Lock()
	w.e.readers[id], w.e.running[id] = t.Reader(), true
	w.e.mu.Unlock()
}

// assignReader makes the reader read what the tasks need, from where they are.
func (w *worker) assignReader() (err error) {
	if w.reader != nil && w.keep && !w.keeps {
		w.reader.Close()
		w.reader = nil
	}
	if w.reader == nil {
		if w.reader, err = w.e.log.Reader(logclient.ReaderConfig{KeepChunks: w.keep}); err != nil {
			return err
		}
		w.keeps = w.keep
	}
	w.reader.Assign(w.at)
	for tp := range w.paused {
		w.reader.Pause(tp)
	}
	return nil
}

// depart commits and lets tasks go.
func (w *worker) depart(work context.Context, d *departure) error {
	leaving := slices.DeleteFunc(slices.Clone(w.tasks), func(t *task.Task) bool { return !slices.Contains(d.ids, t.ID()) })
	if len(leaving) > 0 && d.lost {
		return errLost
	}
	if slices.ContainsFunc(leaving, (*task.Task).Dirty) {
		if err := w.commit(work); err != nil {
			return err
		}
	}
	for _, t := range leaving {
		for t.Freezing() {
			if err := w.awaitCheckpoint(work); err != nil {
				return err
			}
		}
	}
	for _, t := range leaving {
		for _, tp := range t.Inputs() {
			delete(w.byInput, tp)
			delete(w.at, tp)
			delete(w.paused, tp)
		}
		w.e.shepherd.retire(t)
	}
	w.tasks = slices.DeleteFunc(w.tasks, func(t *task.Task) bool { return slices.Contains(leaving, t) })
	if len(leaving) > 0 {
		if err := w.assignReader(); err != nil {
			return err
		}
	}
	w.forgetOne(d)
	return nil
}

// forget lets tasks go that are to be given up while the worker has none running:
// what was not committed of them is dropped already.
func (w *worker) forget() {
	for {
		w.mu.Lock()
		if len(w.leaving) == 0 {
			w.mu.Unlock()
			return
		}
		d := w.leaving[0]
		w.mu.Unlock()
		w.forgetOne(d)
	}
}

func (w *worker) forgetOne(d *departure) {
	w.e.mu.Lock()
	for _, id := range d.ids {
		delete(w.e.readers, id)
		delete(w.e.running, id)
		delete(w.ckpts, id)
	}
	w.e.mu.Unlock()
	w.mu.Lock()
	w.leaving = w.leaving[1:]
	w.arriving = slices.DeleteFunc(w.arriving, func(a arrival) bool { return slices.Contains(d.ids, a.task.ID()) })
	w.ids = slices.DeleteFunc(w.ids, func(id plan.TaskID) bool { return slices.Contains(d.ids, id) })
	for _, id := range d.ids {
		delete(w.statuses, id)
	}
	w.mu.Unlock()
	close(d.done)
}

// rebuild opens the writer anew, which ends its transaction one way or the
// other, and starts the tasks from committed state. It ends early when tasks are
// to be given up.
func (w *worker) rebuild(work context.Context) error {
	w.waitCheckpoints(work)
	w.release()
	ctx, cancel := context.WithCancel(work)
	defer cancel()
	w.mu.Lock()
	if len(w.leaving) > 0 {
		cancel()
	}
	w.abandon = cancel
	ids := slices.Clone(w.ids)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.abandon = nil
	}()
	if err := w.openWriter(ctx); err != nil {
		return err
	}
	if len(ids) == 0 {
		return nil
	}
	starts, err := w.e.taskStarts(ctx, ids)
	if err != nil {
		return err
	}
	var arrivals []arrival
	for _, id := range ids {
		t, err := w.e.restoreTask(ctx, id, starts[id])
		if err != nil {
			return fmt.Errorf("restore task %v: %w", id, err)
		}
		arrivals = append(arrivals, arrival{t, starts[id]})
	}
	return w.admit(ctx, arrivals)
}

// release gives back the reader, the writer and what they hold.
func (w *worker) release() {
	for _, t := range w.tasks {
		t.Drop()
	}
	w.tasks = nil
	if w.reader != nil {
		w.reader.Close()
		w.reader = nil
	}
	if w.writer != nil {
		w.writer.Close()
		w.writer = nil
	}
	if w.endPoll != nil {
		w.endPoll()
		w.poll, w.endPoll = nil, nil
	}
	w.began = time.Time{}
	w.byInput, w.at = map[record.TopicPartition]*task.Task{}, map[record.TopicPartition]record.Offset{}
	clear(w.paused)
}

func (w *worker) openWriter(ctx context.Context) error {
	var err error
	if w.writer, err = w.e.log.Writer(ctx, w.id, w.e.writerConfig(w.e.member.Generation)); err != nil {
		return fmt.Errorf("open transactional id %s: %w", w.id, err)
	}
	return nil
}
