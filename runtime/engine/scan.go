package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// scan calls fn for every record of a partition from its start to where it ends
// now: its last stable offset, or its end. Read to its end, a partition with
// open transactions makes it wait for them, unless it reads them too.
func scan(ctx context.Context, log logclient.Log, tp record.TopicPartition, to logclient.AtKind, uncommitted bool, fn func(*record.View) error) error {
	tps := []record.TopicPartition{tp}
	start, err := log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return err
	}
	end, err := log.Offsets(ctx, tps, logclient.At{Kind: to})
	if err != nil {
		return err
	}
	return scanRange(ctx, log, tp, start[0].Offset, end[0].Offset, uncommitted, fn)
}

// scanRange calls fn for the records of a partition in [at, end).
func scanRange(ctx context.Context, log logclient.Log, tp record.TopicPartition, at, end record.Offset, uncommitted bool, fn func(*record.View) error) error {
	if at >= end {
		return nil
	}
	r, err := log.Reader(logclient.ReaderConfig{ReadUncommitted: uncommitted})
	if err != nil {
		return err
	}
	defer r.Close()
	r.Assign(map[record.TopicPartition]record.Offset{tp: at})
	for at < end {
		batches, err := r.Poll(ctx, 1<<20)
		for _, b := range batches {
			var v record.View
			for err == nil && b.Next(&v) {
				if v.Offset < end {
					err = fn(&v)
				}
			}
			if err == nil {
				err = b.Err()
			}
			at = b.NextOffset()
			b.Release()
		}
		if err != nil {
			return fmt.Errorf("read %s-%d: %w", tp.Topic, tp.Partition, err)
		}
	}
	return nil
}

// scanPositions reads the positions topic of an application to its end.
func scanPositions(ctx context.Context, log logclient.Log, app string, uncommitted bool, fn func(key, value []byte)) error {
	tp := record.TopicPartition{Topic: plan.PositionsTopic(app)}
	return scan(ctx, log, tp, logclient.AtEnd, uncommitted, func(v *record.View) error {
		fn(v.Key, v.Value)
		return nil
	})
}

// recordedIDs adds the transactional ids that earlier runs have recorded. It
// reads uncommitted records too: those that hang are what it is for.
func recordedIDs(ctx context.Context, log logclient.Log, app string, ids map[string]bool) error {
	return scanPositions(ctx, log, app, true, func(key, value []byte) {
		var f fingerprint
		if string(key) == keyFingerprint && json.Unmarshal(value, &f) == nil {
			for _, id := range f.IDs {
				ids[id] = true
			}
		}
	})
}

// endTransactions opens transactional ids, which ends what hangs under them.
func endTransactions(ctx context.Context, log logclient.Log, ids []string) error {
	for _, id := range ids {
		w, err := log.Writer(ctx, logclient.TxnID(id), logclient.WriterConfig{})
		if err != nil {
			return fmt.Errorf("open transactional id %s: %w", id, err)
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}
