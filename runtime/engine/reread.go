package engine

import (
	"context"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// reread reads committed records of a partition, from <= offset < to, with a
// reader of its own, until fn returns false: see task.Config.
func (e *Engine) reread(ctx context.Context, tp record.TopicPartition, from, to record.Offset, fn func(*record.View) bool) error {
	r, err := e.log.Reader(logclient.ReaderConfig{})
	if err != nil {
		return err
	}
	defer r.Close()
	r.Assign(map[record.TopicPartition]record.Offset{tp: from})
	var v record.View
	for more := true; more && from < to; {
		batches, err := r.Poll(ctx, pollBytes)
		for _, b := range batches {
			for more && err == nil && b.Next(&v) {
				if v.Offset >= to {
					more = false
				} else if v.Offset >= from {
					more = fn(&v)
				}
			}
			if err == nil {
				err = b.Err()
			}
			from = b.NextOffset()
			b.Release()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
