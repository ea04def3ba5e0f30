package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// ErrCut says that a changelog does not hold any more what was read of it: what a
// Follower has applied may be wrong, and it must begin anew from a judgement of
// the checkpoint.
var ErrCut = errors.New("the changelog is not the one that was followed")

// Follower rolls the changelogs of one task forward for as long as somebody
// hands it batches: a standby's Run, in steps. It has no reader of its own,
// because one reader serves many followers. One goroutine at a time.
//
// Invariant: everything committed below At is applied, and nothing above it.
type Follower struct {
	cfg    Config
	res    *Result
	stores map[record.TopicPartition]int
}

// Follow begins to follow, from the checkpoint that v has found good; local state
// that is of no use is given up, and Result().Rebuilt says why. cfg.Apply and the
// fields that name the task must be set.
func Follow(cfg Config, v *Verdict) (*Follower, error) {
	f := &Follower{cfg: cfg, stores: map[record.TopicPartition]int{}}
	for i, tp := range cfg.Changelogs {
		if tp.Topic != "" {
			f.stores[tp] = i
		}
	}
	var err error
	f.res, err = begin(&f.cfg, v)
	return f, err
}

// Result is what was done so far; the caller may not change it. To is where the
// changelogs ended when the following began.
func (f *Follower) Result() *Result { return f.res }

// Stores are the followed partitions, with the index of the store of each.
func (f *Follower) Stores() map[record.TopicPartition]int { return f.stores }

// At is the next offset to read of a followed partition.
func (f *Follower) At(tp record.TopicPartition) record.Offset {
	return f.res.At[f.stores[tp]].End.Offset
}

// Take applies a batch of one of its partitions, which begins where the last one
// ended; the caller releases it. Where the leader has changed since the last
// batch, it asks the log whether what was read before is still there: ErrCut if not.
func (f *Follower) Take(ctx context.Context, b logclient.Batch) error {
	tp := b.TopicPartition()
	store := f.stores[tp]
	if at := f.res.At[store].End; at.Epoch != record.NoLeaderEpoch && b.Epoch() != record.NoLeaderEpoch && b.Epoch() != at.Epoch {
		if err := f.unchanged(ctx, tp, at); err != nil {
			return err
		}
	}
	return f.res.apply(&f.cfg, store, b)
}

// unchanged asks the log whether it still holds what lies below a place.
func (f *Follower) unchanged(ctx context.Context, tp record.TopicPartition, at logclient.OffsetEpoch) error {
	tps := []record.TopicPartition{tp}
	starts, err := offsets(ctx, f.cfg.Log, tps, logclient.AtStart)
	if err != nil {
		return err
	}
	end, err := f.cfg.Log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtEndOfEpoch, Epoch: at.Epoch})
	if err != nil {
		return fmt.Errorf("look up the end of leader epoch %d of %s-%d: %w", at.Epoch, tp.Topic, tp.Partition, err)
	}
	if why := cutBelow(tp, at, end[0], starts[tp]); why != "" {
		return fmt.Errorf("%w: %s", ErrCut, why)
	}
	return nil
}
