package restore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Verdict says what a task's local state is worth, as of when it was judged.
type Verdict struct {
	// Checkpoint is what can be built on (I2); nil: nothing.
	Checkpoint *Checkpoint
	// Why the local state is of no use; empty if it is, or if there is none.
	Why string
	// Starts and Ends are where each store's changelog begins and ends; the end is
	// that of read_uncommitted. Both are 0 for a store without one.
	Starts, Ends []record.Offset
}

// Behind is how many records, by offsets, lie between the checkpoint, or the
// changelogs' begin, and their ends.
func (v *Verdict) Behind(changelogs []record.TopicPartition) (n int64) {
	for i, tp := range changelogs {
		if tp.Topic != "" {
			n += int64(v.Ends[i] - v.from(i, tp))
		}
	}
	return n
}

// from is where a store's replay begins.
func (v *Verdict) from(store int, tp record.TopicPartition) record.Offset {
	if v.Checkpoint != nil {
		return find(v.Checkpoint, tp).End.Offset
	}
	return v.Starts[store]
}

// Judge judges the local state of tasks, all on one log: it asks the log once for
// where all their changelogs begin and end, and once per leader epoch for where
// that ends. It changes nothing.
func Judge(ctx context.Context, tasks []Config) ([]Verdict, error) {
	out := make([]Verdict, len(tasks))
	var tps []record.TopicPartition
	for i := range tasks {
		if err := out[i].read(&tasks[i]); err != nil {
			return nil, err
		}
		for _, tp := range tasks[i].Changelogs {
			if tp.Topic != "" {
				tps = append(tps, tp)
			}
		}
	}
	if len(tps) == 0 {
		for i := range tasks {
			out[i].Starts, out[i].Ends = make([]record.Offset, len(tasks[i].Changelogs)), make([]record.Offset, len(tasks[i].Changelogs))
			out[i].settle(&tasks[i], nil)
		}
		return out, nil
	}
	log := tasks[0].Log
	starts, err := offsets(ctx, log, tps, logclient.AtStart)
	if err != nil {
		return nil, err
	}
	ends, err := offsets(ctx, log, tps, logclient.AtEnd)
	if err != nil {
		return nil, err
	}
	epochs, err := endsOfEpochs(ctx, log, tasks, out)
	if err != nil {
		return nil, err
	}
	for i := range tasks {
		for _, tp := range tasks[i].Changelogs {
			out[i].Starts, out[i].Ends = append(out[i].Starts, starts[tp]), append(out[i].Ends, ends[tp])
		}
		out[i].settle(&tasks[i], epochs)
	}
	return out, nil
}

// read takes the checkpoint record, and what it tells by itself.
func (v *Verdict) read(cfg *Config) error {
	b, ok, err := cfg.DB.CheckpointRecord(cfg.Task)
	if err != nil {
		return fmt.Errorf("read the checkpoint record: %w", err)
	}
	if !ok {
		return nil
	}
	if cfg.Discard {
		v.Why = "the machine went down without a clean end, and with flush=os the log may have lost what the checkpoint holds"
		return nil
	}
	c, err := DecodeCheckpoint(b)
	age := time.Duration(0)
	if err == nil {
		age = cfg.Now.Sub(time.UnixMilli(c.AtMS))
	}
	switch {
	case err != nil:
		v.Why = err.Error()
	case c.Cluster != cfg.Log.ClusterID():
		v.Why = fmt.Sprintf("the checkpoint is of log %q, this one is %q", c.Cluster, cfg.Log.ClusterID())
	case cfg.MaxAge > 0 && age > cfg.MaxAge && len(c.Changelogs) > 0:
		v.Why = fmt.Sprintf("the checkpoint is %v old, at most %v: tombstones since may be gone", age.Round(time.Second), cfg.MaxAge)
	default:
		v.Checkpoint = c
	}
	return nil
}

// epochOf is a leader epoch of a partition.
type epochOf struct {
	tp    record.TopicPartition
	epoch record.LeaderEpoch
}

// endsOfEpochs looks up where the leader epochs end that the checkpoints name.
func endsOfEpochs(ctx context.Context, log logclient.Log, tasks []Config, vs []Verdict) (map[epochOf]logclient.OffsetEpoch, error) {
	byEpoch := map[record.LeaderEpoch][]record.TopicPartition{}
	for i := range tasks {
		for _, tp := range tasks[i].Changelogs {
			if vs[i].Checkpoint == nil || tp.Topic == "" {
				continue
			}
			if l := find(vs[i].Checkpoint, tp); l != nil && l.End.Epoch != record.NoLeaderEpoch {
				byEpoch[l.End.Epoch] = append(byEpoch[l.End.Epoch], tp)
			}
		}
	}
	out := map[epochOf]logclient.OffsetEpoch{}
	for epoch, tps := range byEpoch {
		found, err := log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtEndOfEpoch, Epoch: epoch})
		if err != nil {
			return nil, fmt.Errorf("look up ends of leader epoch %d: %w", epoch, err)
		}
		for i, tp := range tps {
			out[epochOf{tp, epoch}] = found[i]
		}
	}
	return out, nil
}

// settle compares the checkpoint with the log.
func (v *Verdict) settle(cfg *Config, epochs map[epochOf]logclient.OffsetEpoch) {
	if v.Checkpoint == nil {
		return
	}
	for i, tp := range cfg.Changelogs {
		if v.Why = v.changelog(cfg, i, tp, epochs); v.Why != "" {
			v.Checkpoint = nil
			return
		}
	}
}

func (v *Verdict) changelog(cfg *Config, store int, tp record.TopicPartition, epochs map[epochOf]logclient.OffsetEpoch) string {
	if tp.Topic == "" {
		if !bytes.Equal(v.Checkpoint.Position, cfg.Position) {
			return "a store of the task has no changelog, and the checkpoint is not of the last commit: the store begins empty"
		}
		return ""
	}
	l := find(v.Checkpoint, tp)
	switch {
	case l == nil:
		return fmt.Sprintf("the checkpoint does not know %s-%d", tp.Topic, tp.Partition)
	case l.TopicID != cfg.TopicIDs[tp.Topic]:
		return fmt.Sprintf("topic %s was deleted and made anew", tp.Topic)
	case l.End.Offset < v.Starts[store]:
		return fmt.Sprintf("%s-%d begins at %d, after the checkpoint's %d", tp.Topic, tp.Partition, v.Starts[store], l.End.Offset)
	}
	end := logclient.OffsetEpoch{Offset: v.Ends[store], Epoch: l.End.Epoch}
	if l.End.Epoch != record.NoLeaderEpoch {
		end = epochs[epochOf{tp, l.End.Epoch}]
	}
	return cutBelow(tp, l.End, end, v.Starts[store])
}

// cutBelow says how a partition does not hold any more what lies below a place in
// it; empty if it does. end is where the log says that the place's epoch ends.
func cutBelow(tp record.TopicPartition, at, end logclient.OffsetEpoch, start record.Offset) string {
	if end.Epoch != at.Epoch && at.Offset > start {
		return fmt.Sprintf("%s-%d does not know the checkpoint's leader epoch %d", tp.Topic, tp.Partition, at.Epoch)
	}
	if at.Offset > end.Offset {
		return fmt.Sprintf("%s-%d was cut: leader epoch %d ends at %d, the checkpoint is at %d", tp.Topic, tp.Partition, at.Epoch, end.Offset, at.Offset)
	}
	return ""
}

func find(c *Checkpoint, tp record.TopicPartition) *Changelog {
	for i := range c.Changelogs {
		if c.Changelogs[i].Partition == tp {
			return &c.Changelogs[i]
		}
	}
	return nil
}
