package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/processor"
)

const (
	pollBytes   = 256 << 10
	maxQueued   = 8 // batches of one input that wait for another input
	retryFirst  = 50 * time.Millisecond
	retryMost   = 5 * time.Second
	idleTimeout = time.Hour // of a poll that nothing else bounds
	// abortTimeout bounds the last call to the log of what ends anyway.
	abortTimeout = 5 * time.Second
)

// worker is one goroutine that runs tasks: one reader, one transactional
// producer, one transaction at a time for all its tasks.
//
// Everything without a lock belongs to its goroutine. Others reach it by order
// (what it shall do, kept over a rebuild of its tasks) and call (asked once).
type worker struct {
	e  *Engine
	n  int
	id logclient.TxnID

	tasks    []*task.Task
	byInput  map[record.TopicPartition]*task.Task
	at       map[record.TopicPartition]record.Offset // to be polled next
	keep     bool                                    // some task's values alias the chunks
	keeps    bool                                    // and the reader knows
	reader   logclient.Reader
	writer   logclient.Writer
	paused   map[record.TopicPartition]bool
	dirtyMax int64 // bytes of changes that make a commit due
	taking   int   // the orders that are being carried out
	applied  int   // the orders that the tasks know of, and of them:
	ending   bool  // some inputs have an end
	endsAt   map[int]int64

	nextCommit time.Time
	began      time.Time // of the transaction's first work; zero if there is none
	backoff    time.Duration
	ckpts      map[plan.TaskID]*checkpointState
	poll       context.Context
	deadline   time.Time
	endPoll    context.CancelFunc

	requests chan request
	finished chan checkpointDone
	stopped  chan struct{}

	mu       sync.Mutex
	wakeup   context.Context
	wake     context.CancelFunc
	orders   int
	ends     map[record.TopicPartition]record.Offset
	endTimes map[int]int64 // by sub-topology
	stopping bool
	ids      []plan.TaskID // that it runs, or ran before an error and will run again
	arriving []arrival
	leaving  []*departure
	abandon  context.CancelFunc // ends a rebuild under way
	statuses map[plan.TaskID]taskStatus
}

// taskStatus is a task as others see it, as of its last commit.
type taskStatus struct {
	id         plan.TaskID
	streamTime int64
	maxEvent   int64
	drained    bool // committed up to the ends that were ordered
	processed  []task.Processed
	lag        map[record.TopicPartition]int64
	checkpoint time.Time
}

func newWorker(e *Engine, n int) *worker {
	return &worker{
		e: e, n: n, id: e.workerID(n),
		dirtyMax: max(e.cfg.CacheBytes/int64(e.cfg.Workers)/2, 1<<16),
		paused:   map[record.TopicPartition]bool{}, ckpts: map[plan.TaskID]*checkpointState{},
		byInput: map[record.TopicPartition]*task.Task{}, at: map[record.TopicPartition]record.Offset{},
		ends: map[record.TopicPartition]record.Offset{}, endTimes: map[int]int64{}, statuses: map[plan.TaskID]taskStatus{},
		requests: make(chan request, 4),
		finished: make(chan checkpointDone, len(e.plan.TaskIDs())), stopped: make(chan struct{}),
	}
}

// order changes what the worker shall do and wakes it.
func (w *worker) order(change func()) {
	w.mu.Lock()
	change()
	w.orders++
	for id, s := range w.statuses {
		s.drained = false
		w.statuses[id] = s
	}
	w.mu.Unlock()
	w.interrupt()
}

// interrupt ends a poll that waits.
func (w *worker) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake != nil {
		w.wake()
	}
}

// request is a call on its way to the worker.
type request struct {
	f    func(*task.Task)
	done chan struct{}
}

// call runs f on every task, on the worker's goroutine.
func (w *worker) call(ctx, work context.Context, f func(*task.Task)) error {
	r := request{f: f, done: make(chan struct{})}
	select {
	case w.requests <- r: // buffered: it is there before the poll is interrupted
	case <-work.Done():
		return context.Cause(work)
	case <-ctx.Done():
		return ctx.Err()
	}
	w.interrupt()
	return await(ctx, work, r.done)
}

func (w *worker) stop() { w.order(func() { w.stopping = true }) }

// run works until it is stopped or work is over. An error of the log that may
// pass makes it rebuild its tasks from committed state and go on.
func (w *worker) run(work context.Context) error {
	for {
		err := w.loop(work)
		if err == nil {
			close(w.stopped)
			return nil
		}
		if work.Err() != nil {
			return nil // somebody else's error is the one that counts
		}
		if err := w.recover(work, err); err != nil {
			return err
		}
	}
}

// loop is the life of a worker between two errors.
func (w *worker) loop(work context.Context) error {
	for {
		wakeup, stopping, fresh := w.takeOrders(work)
		if fresh {
			if err := w.move(work); err != nil {
				return err
			}
			w.tellTasks()
		}
		w.serve()
		now := time.Now()
		if err := w.checkpoints(work, now); err != nil {
			return err
		}
		if stopping {
			return w.end(work)
		}
		if fresh { // an order may ask for work although nothing is left to read
			if err := w.step(work, now); err != nil {
				return err
			}
		}
		batches, err := w.pollReader(w.pollContext(wakeup, now))
		for _, b := range batches {
			w.at[b.TopicPartition()] = b.NextOffset()
			w.byInput[b.TopicPartition()].Add(b)
		}
		if err != nil && !(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
			return fmt.Errorf("worker %d: read: %w", w.n, err)
		}
		if work.Err() != nil {
			return context.Cause(work)
		}
		if err := w.step(work, time.Now()); err != nil {
			return err
		}
	}
}

// pollReader waits for records, or, with nothing to read, for the end of ctx.
func (w *worker) pollReader(ctx context.Context) ([]logclient.Batch, error) {
	if w.reader == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return w.reader.Poll(ctx, pollBytes)
}

// step works on what was read and commits if that is due.
func (w *worker) step(work context.Context, now time.Time) error {
	dirty, drained := false, true
	for _, t := range w.tasks {
		for {
			n, err := t.Work(now, w.reader.End, w.dirtyMax)
			if err != nil {
				return err
			}
			if n == 0 || !w.full(t) {
				break
			}
			if err := w.commit(work); err != nil {
				return err
			}
		}
		if err := t.Tick(now); err != nil {
			return err
		}
		w.throttle(t)
		ready, err := w.applyEnd(t)
		if err != nil {
			return err
		}
		drained = drained && ready
		dirty = dirty || t.Dirty()
	}
	switch {
	case !dirty:
		w.began = time.Time{}
		w.publish(now)
		return nil
	case w.began.IsZero():
		w.began = now
		if w.nextCommit.Before(now) {
			w.nextCommit = now.Add(w.e.cfg.CommitInterval)
		}
	}
	if drained || !now.Before(w.nextCommit) {
		return w.commit(work)
	}
	return nil
}

// full reports whether a task's changes are at their bound.
func (w *worker) full(t *task.Task) bool {
	u, pending := t.Usage()
	return u.DirtyBytes >= w.dirtyMax || pending >= w.dirtyMax
}

// applyEnd gives a task its end of input once it is drained. ready reports that
// an order stands and that the task has done all of it but the commit.
func (w *worker) applyEnd(t *task.Task) (ready bool, err error) {
	if !w.ending || !t.Drained() {
		return false, nil
	}
	ms, ok := w.endsAt[t.ID().Sub]
	if !ok {
		return true, nil
	}
	return true, t.End(ms)
}

// throttle stops reading an input that waits for another one.
func (w *worker) throttle(t *task.Task) {
	ins := t.Inputs()
	if len(ins) < 2 {
		return
	}
	for _, tp := range ins {
		n := t.Queued(tp)
		switch {
		case n >= maxQueued && !w.paused[tp]:
			w.paused[tp] = true
			w.reader.Pause(tp)
		case n <= maxQueued/2 && w.paused[tp]:
			delete(w.paused, tp)
			w.reader.Resume(tp)
		}
	}
}

// takeOrders renews what ends a poll, then looks for orders: one that comes later
// ends the poll at once. fresh reports that there are new ones.
func (w *worker) takeOrders(work context.Context) (wakeup context.Context, stopping, fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wakeup == nil || w.wakeup.Err() != nil {
		if w.wake != nil {
			w.wake()
		}
		w.wakeup, w.wake = context.WithCancel(work)
		w.deadline = time.Time{}
	}
	w.taking = w.orders
	return w.wakeup, w.stopping, w.applied != w.orders
}

// tellTasks passes the ends of inputs on to the tasks.
func (w *worker) tellTasks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = w.taking
	w.ending, w.endsAt = len(w.ends) > 0, maps.Clone(w.endTimes)
	for _, t := range w.tasks {
		for tp, end := range w.ends {
			t.SetEnd(tp, end)
		}
	}
}

// serve answers calls.
func (w *worker) serve() {
	for {
		select {
		case r := <-w.requests:
			for _, t := range w.tasks {
				r.f(t)
			}
			close(r.done)
		default:
			return
		}
	}
}

// pollContext bounds a poll by what is due next. It is made anew only when the
// deadline moves, so a busy worker makes one per commit.
func (w *worker) pollContext(wakeup context.Context, now time.Time) context.Context {
	due := w.due(now)
	if w.poll != nil && due.Equal(w.deadline) && w.poll.Err() == nil {
		return w.poll
	}
	if w.endPoll != nil {
		w.endPoll()
	}
	w.deadline = due
	w.poll, w.endPoll = context.WithDeadline(wakeup, due)
	return w.poll
}

func (w *worker) due(now time.Time) time.Time {
	due := now.Add(idleTimeout).Truncate(idleTimeout)
	if due.Before(now.Add(time.Minute)) {
		due = due.Add(idleTimeout)
	}
	sooner := func(t time.Time) {
		if t.Before(due) {
			due = t
		}
	}
	if !w.began.IsZero() {
		sooner(w.nextCommit)
	}
	for _, t := range w.tasks {
		if w.began.IsZero() {
			if wait := t.NextTick(now); wait > 0 {
				sooner(now.Add(wait))
			}
		}
		if left, ok := t.Waiting(now); ok && left > 0 {
			sooner(now.Add(left))
		}
		if c := w.ckpts[t.ID()]; c != nil && !t.Freezing() && t.NeedsCheckpoint() {
			sooner(c.next)
		}
	}
	return due
}

// end is the graceful end: the last commit, the last checkpoints.
func (w *worker) end(work context.Context) error {
	for _, t := range w.tasks {
		if t.Dirty() {
			if err := w.commit(work); err != nil {
				return err
			}
			break
		}
	}
	return w.lastCheckpoints(work)
}

// recover decides about an error and, where the run can go on, rebuilds the
// worker's tasks from committed state.
func (w *worker) recover(work context.Context, err error) error {
	class := w.e.classifyHere(work, err)
	if class == logclient.ClassFatal && w.e.panics.takes(w.e.cfg.OnPanic, err) {
		class = logclient.ClassRetryable
		if w.e.cfg.OnPanic != "retry" {
			w.backoff = 0 // there is nothing to wait for
		}
	}
	w.e.status.aborted()
	switch class {
	case logclient.ClassFenced:
		if !w.e.clustered() {
			return err
		}
		// Others took us for gone, or did so with the tasks. If another process has
		// our name, the group tells the shepherd.
	case logclient.ClassFatal:
		w.abort()
		return err
	}
	w.e.logger.Warn("transaction given up, going on from the last commit", "worker", w.n, "class", class.String(), "err", err)
	if class != logclient.ClassUnknownOutcome && class != logclient.ClassFenced {
		w.abort()
	}
	w.waitCheckpoints(work)
	w.release()
	for {
		w.backoff = min(max(2*w.backoff, retryFirst), retryMost)
		if !w.rest(work, w.backoff/2+time.Duration(rand.Int64N(int64(w.backoff)))) {
			return nil
		}
		err := w.rebuild(work)
		if err == nil {
			return nil
		}
		if c := w.e.classifyHere(work, err); c == logclient.ClassFatal || c == logclient.ClassFenced && !w.e.clustered() {
			if work.Err() != nil {
				return nil
			}
			return err
		}
		w.e.logger.Warn("cannot go on yet", "worker", w.n, "err", err)
	}
}

// rest waits between two attempts; tasks that are to be given up meanwhile go at
// once. It is false if work is over.
func (w *worker) rest(work context.Context, d time.Duration) bool {
	over, cancel := context.WithTimeout(work, d)
	defer cancel()
	for {
		wakeup, _, _ := w.takeOrders(over)
		w.forget()
		select {
		case <-wakeup.Done():
		case <-over.Done():
		}
		if over.Err() != nil {
			w.interrupt() // the loop's own begins anew
			return work.Err() == nil
		}
	}
}

// classify says what a worker does about an error; a task's own errors are fatal
// unless the log is behind them.
func classify(err error) logclient.Class {
	var decode *processor.DecodeError
	var panicked *task.PanicError
	if errors.As(err, &decode) || errors.As(err, &panicked) {
		return logclient.ClassFatal
	}
	return logclient.Classify(err)
}

// abort ends the open transaction without effect, as well as that can be done.
func (w *worker) abort() {
	if w.writer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	if err := w.writer.Abort(ctx); err != nil {
		w.e.logger.Debug("abort", "worker", w.n, "err", err)
	}
}
