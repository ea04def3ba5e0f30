package streamstest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/processor"
)

// Checkpoint writes what is committed, of every task, to the local database, as
// the engine does every CheckpointInterval; Advance does it too. A Restart
// replays only what came after it.
func (d *Driver) Checkpoint() {
	d.t.Helper()
	d.mustBeUp("Checkpoint")
	if err := d.checkpoint(); err != nil {
		d.fatal("Checkpoint: %v", err)
	}
}

func (d *Driver) checkpoint() error {
	for _, w := range d.workers {
		for _, t := range w.tasks {
			if err := d.checkpointTask(t); err != nil {
				return err
			}
		}
	}
	d.last = "checkpoint"
	d.nextCheckpoint = d.now.Add(d.opt.Engine.CheckpointInterval)
	return nil
}

func (d *Driver) checkpointTask(t *task.Task) error {
	f := t.Freeze()
	if f == nil {
		return nil
	}
	c := restore.Checkpoint{Cluster: d.log.ClusterID(), AtMS: ms(d.now), Position: f.Position}
	for _, l := range f.Changelogs {
		infos, err := d.log.Describe(context.Background(), []string{l.Partition.Topic})
		if err != nil {
			return err
		}
		c.Changelogs = append(c.Changelogs, restore.Changelog{Partition: l.Partition, TopicID: infos[0].ID, End: l.End, Firsts: l.Firsts})
	}
	err := d.db.Checkpoint(t.ID().Key(), c.Append(nil), f.Write)
	trim, holds := t.Checkpointed(f, err)
	if err != nil {
		return err
	}
	for tp, at := range holds {
		d.log.Hold(tp, at)
	}
	d.totals.Checkpoints++
	return d.log.DeleteBefore(context.Background(), trim)
}

// Crash ends the program as kill -9 does: what is not committed is lost, open
// transactions hang until Restart.
func (d *Driver) Crash() {
	d.t.Helper()
	d.mustBeUp("Crash")
	d.err = nil
	d.fall()
	d.last = "crash"
}

// fall takes the program down.
func (d *Driver) fall() {
	for _, w := range d.workers {
		for _, t := range w.tasks {
			t.Drop()
		}
	}
	d.workers, d.up = nil, false
	d.mem = d.mem.Reopen()
	d.log = d.mem
}

// CrashInCheckpoint begins a checkpoint and crashes after that many of the
// database's transactions (of 16 entries each); false if the checkpoint was done
// before.
func (d *Driver) CrashInCheckpoint(after int) bool {
	d.t.Helper()
	d.mustBeUp("CrashInCheckpoint")
	left, clone := after, d.db
	d.db.AfterTransaction(func() {
		if left--; left == 0 {
			clone = d.db.CrashClone(d.db.Pending())
		}
	})
	if after == 0 {
		clone = d.db.CrashClone(0)
	}
	// What the checkpoint lets go of in the log goes after it: nothing is cut here.
	for _, w := range d.workers {
		for _, t := range w.tasks {
			if left > 0 {
				if err := d.checkpointTask(t); err != nil {
					d.fatal("CrashInCheckpoint: %v", err)
				}
			}
		}
	}
	d.db.AfterTransaction(nil)
	d.db = clone
	d.Crash()
	return left <= 0
}

// CommitOutcome says how far a commit came before the crash.
type CommitOutcome uint8

const (
	// Undecided: nothing of the transaction is there.
	Undecided CommitOutcome = iota
	// Decided: the transaction is committed, but the program never heard of it.
	Decided
)

// CrashInCommit crashes while the first worker that has something to commit
// does so; false, and no crash, if there is nothing to commit.
func (d *Driver) CrashInCommit(outcome CommitOutcome) bool {
	d.t.Helper()
	d.mustBeUp("CrashInCommit")
	fault := memlog.FailBefore
	if outcome == Decided {
		fault = memlog.FailAfter
	}
	for _, w := range d.workers {
		dirty := false
		for _, t := range w.tasks {
			dirty = dirty || t.Dirty()
		}
		if !dirty {
			continue
		}
		d.mem.FailNextCommit("", fault)
		if _, err := w.commit(); err == nil {
			d.fatal("CrashInCommit: worker %d committed, expected the fault", w.n)
		}
		d.Crash()
		return true
	}
	return false
}

// Stop ends the program as SIGTERM does: everything is committed and
// checkpointed.
func (d *Driver) Stop() {
	d.t.Helper()
	d.mustBeUp("Stop")
	d.Commit()
	d.Checkpoint()
	d.fall()
	d.last = "stop"
}

// Restart starts the program again from what is committed and checkpointed; one
// that is up is stopped first.
func (d *Driver) Restart() {
	d.t.Helper()
	if d.up {
		d.Stop()
	}
	if err := d.start(); err != nil {
		d.fatal("Restart: %v", err)
	}
	d.last = "restart"
}

// Compact runs the log's cleaner over the program's compacted topics: of each
// key the last record stays.
func (d *Driver) Compact() {
	for _, t := range d.plan.Topics {
		if !strings.Contains(t.Configs["cleanup.policy"], "compact") {
			continue
		}
		for p := range t.Partitions {
			d.mem.Compact(record.TopicPartition{Topic: t.Name, Partition: record.Partition(p)}, true)
		}
	}
}

// End is the end of all input, as of a bounded run: everything is processed,
// then stream time rises to the end of the window that holds the greatest event
// time over all tasks, plus grace, so that every window closes. Records sent
// later are late for them.
func (d *Driver) End() {
	d.t.Helper()
	d.mustBeUp("End")
	if err := d.end(); err != nil {
		d.fatal("End: %v", err)
	}
}

func (d *Driver) end() error {
	maxEvent, endTime := processor.NoTime, processor.NoTime
	for i := range d.plan.Subs {
		sub := &d.plan.Subs[i]
		if err := d.setEnds(sub); err != nil {
			return err
		}
		if err := d.Try(); err != nil {
			return err
		}
		var tasks []*task.Task
		for _, id := range d.plan.TaskIDs() {
			t := d.task(id)
			if id.Sub == sub.ID {
				if !t.Drained() {
					return fmt.Errorf("task %v has not processed its inputs to the end", id)
				}
				tasks = append(tasks, t)
			}
			maxEvent = max(maxEvent, t.MaxEvent())
		}
		if maxEvent == processor.NoTime {
			continue // no input at all
		}
		for _, id := range d.plan.TaskIDs() {
			endTime = max(endTime, d.task(id).LastWindowEnd(maxEvent))
		}
		for _, t := range tasks {
			if _, err := d.guard(true, t.End(endTime)); err != nil {
				return err
			}
		}
		if err := d.Try(); err != nil {
			return err
		}
	}
	d.last = "end of input"
	return nil
}

// setEnds tells the tasks of a sub-topology where their inputs end now.
func (d *Driver) setEnds(sub *plan.Sub) error {
	for _, in := range sub.Inputs {
		for p := range in.Partitions {
			tp := record.TopicPartition{Topic: in.Topic, Partition: record.Partition(p)}
			end, err := d.log.Offsets(context.Background(), []record.TopicPartition{tp}, logclient.At{Kind: logclient.AtEnd})
			if err != nil {
				return err
			}
			for _, w := range d.workers {
				for _, t := range w.tasks {
					t.SetEnd(tp, end[0].Offset)
				}
			}
		}
	}
	return nil
}

// Totals count since New, at committed transactions only, over restarts.
func (d *Driver) Totals() engine.Totals {
	t := d.totals
	t.StateBytes = d.db.SizeBytes()
	return t
}

// Late is how many records came too late at an operator.
func (d *Driver) Late(operator string) int64 { return d.late[operator] }

// Dropped is how many records an operator had no use for, because a key or value
// was null.
func (d *Driver) Dropped(operator string) int64 { return d.dropped[operator] }

// Skipped is how many records did not decode and were skipped.
func (d *Driver) Skipped() int64 { return d.skipped }

// Tasks are the tasks as they are now, also what is not committed.
func (d *Driver) Tasks() (tasks []engine.TaskSnapshot) {
	d.t.Helper()
	d.mustBeUp("Tasks")
	for _, w := range d.workers {
		for _, t := range w.tasks {
			s := engine.TaskSnapshot{ID: t.ID().String(), Worker: w.n, StreamTimeMS: t.StreamTime()}
			positions := t.Reader().Committed().Positions
			for _, p := range positions {
				s.Positions = append(s.Positions, engine.Position{
					Topic: p.Topic, Partition: int32(p.Partition), Offset: int64(p.Offset), Lag: int64(w.reader.End(record.TopicPartition{Topic: p.Topic, Partition: p.Partition}) - p.Offset),
				})
			}
			tasks = append(tasks, s)
		}
	}
	return tasks
}

// StreamTime is the stream time of the task that reads a partition of a topic;
// false before its first record.
func (d *Driver) StreamTime(topic string, partition int32) (time.Time, bool) {
	d.t.Helper()
	d.mustBeUp("StreamTime")
	for _, w := range d.workers {
		if t, ok := w.byInput[record.TopicPartition{Topic: topic, Partition: record.Partition(partition)}]; ok {
			return at(t.StreamTime()), t.StreamTime() != processor.NoTime
		}
	}
	d.fatal("StreamTime: no task reads %s-%d", topic, partition)
	return time.Time{}, false
}

// Up reports whether the program runs.
func (d *Driver) Up() bool { return d.up }
