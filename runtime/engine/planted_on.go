//go:build plantedbugs

package engine

import (
	"context"
	"os"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/state"
)

// Planted is a bug for the torture test to find: "state-first" writes a
// transaction's entries to the database before it is committed, "offsets-apart"
// commits input offsets in a transaction of their own, "record-first" writes a
// checkpoint's record before its data. Default: MILLSTREAM_PLANTED_BUG.
var Planted = os.Getenv("MILLSTREAM_PLANTED_BUG")

func (w *worker) plantedBeforeCommit(tasks []*task.Task, in logclient.Positions, g logclient.Generation) error {
	switch Planted {
	case "state-first":
		for _, t := range tasks {
			f := t.PlantPending()
			if f == nil {
				continue
			}
			if err := w.e.db.Checkpoint(t.ID().Key(), w.e.checkpointRecord(f), f.Write); err != nil {
				return err
			}
		}
	case "offsets-apart":
		ctx := context.Background()
		apart, err := w.e.log.Writer(ctx, w.id+"-apart", logclient.WriterConfig{})
		if err != nil {
			return err
		}
		defer apart.Close()
		// The position records would give it away at the next start: they go along.
		for _, t := range tasks {
			v := t.PlantPosition()
			if err := apart.Append(record.TopicPartition{Topic: plan.PositionsTopic(w.e.plan.App)}, &v); err != nil {
				return err
			}
		}
		_, err = apart.Commit(ctx, in, g)
		return err
	}
	return nil
}

func (e *Engine) plantedCheckpoint(id plan.TaskID, rec []byte, f *task.Frozen) (done bool, err error) {
	if Planted != "record-first" {
		return false, nil
	}
	if err := e.db.Checkpoint(id.Key(), rec, func(state.Batch) error { return nil }); err != nil {
		return true, err
	}
	return true, e.db.Checkpoint(id.Key(), rec, f.Write)
}

// plantedIDs are the transactional ids that the bugs use.
func plantedIDs(e *Engine) (ids []string) {
	for n := range e.cfg.Workers {
		ids = append(ids, string(e.workerID(n))+"-apart")
	}
	return ids
}
