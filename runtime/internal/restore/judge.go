package restore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// judge returns the task's checkpoint if it can be built on (I2), else nil and
// why; an empty reason means that there is none.
func judge(ctx context.Context, cfg Config, starts map[record.TopicPartition]record.Offset) (*Checkpoint, string, error) {
	b, ok, err := cfg.DB.CheckpointRecord(cfg.Task)
	if err != nil {
		return nil, "", fmt.Errorf("read the checkpoint record: %w", err)
	}
	if !ok {
		return nil, "", nil
	}
	if cfg.Discard {
		return nil, "the machine went down without a clean end, and with flush=os the log may have lost what the checkpoint holds", nil
	}
	c, err := DecodeCheckpoint(b)
	if err != nil {
		return nil, err.Error(), nil
	}
	if c.Cluster != cfg.Log.ClusterID() {
		return nil, fmt.Sprintf("the checkpoint is of log %q, this one is %q", c.Cluster, cfg.Log.ClusterID()), nil
	}
	if age := cfg.Now.Sub(time.UnixMilli(c.AtMS)); cfg.MaxAge > 0 && age > cfg.MaxAge && len(c.Changelogs) > 0 {
		return nil, fmt.Sprintf("the checkpoint is %v old, at most %v: tombstones since may be gone", age.Round(time.Second), cfg.MaxAge), nil
	}
	for _, tp := range cfg.Changelogs {
		why, err := judgeChangelog(ctx, cfg, c, tp, starts[tp])
		if why != "" || err != nil {
			return nil, why, err
		}
	}
	return c, "", nil
}

func judgeChangelog(ctx context.Context, cfg Config, c *Checkpoint, tp record.TopicPartition, start record.Offset) (string, error) {
	if tp.Topic == "" {
		if !bytes.Equal(c.Position, cfg.Position) {
			return "a store of the task has no changelog, and the checkpoint is not of the last commit: the store begins empty", nil
		}
		return "", nil
	}
	l := find(c, tp)
	switch {
	case l == nil:
		return fmt.Sprintf("the checkpoint does not know %s-%d", tp.Topic, tp.Partition), nil
	case l.TopicID != cfg.TopicIDs[tp.Topic]:
		return fmt.Sprintf("topic %s was deleted and made anew", tp.Topic), nil
	case l.End.Offset < start:
		return fmt.Sprintf("%s-%d begins at %d, after the checkpoint's %d", tp.Topic, tp.Partition, start, l.End.Offset), nil
	}
	end, err := cfg.Log.Offsets(ctx, []record.TopicPartition{tp}, logclient.At{Kind: logclient.AtEnd})
	if err != nil {
		return "", err
	}
	limit := end[0].Offset
	if l.End.Epoch != record.NoLeaderEpoch {
		of, err := cfg.Log.Offsets(ctx, []record.TopicPartition{tp}, logclient.At{Kind: logclient.AtEndOfEpoch, Epoch: l.End.Epoch})
		if err != nil {
			return "", err
		}
		if of[0].Epoch != l.End.Epoch && l.End.Offset > start {
			return fmt.Sprintf("%s-%d does not know the checkpoint's leader epoch %d", tp.Topic, tp.Partition, l.End.Epoch), nil
		}
		limit = of[0].Offset
	}
	if l.End.Offset > limit {
		return fmt.Sprintf("%s-%d was cut: leader epoch %d ends at %d, the checkpoint is at %d", tp.Topic, tp.Partition, l.End.Epoch, limit, l.End.Offset), nil
	}
	return "", nil
}

func find(c *Checkpoint, tp record.TopicPartition) *Changelog {
	for i := range c.Changelogs {
		if c.Changelogs[i].Partition == tp {
			return &c.Changelogs[i]
		}
	}
	return nil
}
