// Package restore brings a task's stores to what is committed: it judges the
// local checkpoint and rolls the changelogs forward from it (invariants I2, I3
// and I4 of DESIGN.md section 6, repeated in runtime/badgerstore).
//
// It is synchronous, with the log and the database as ports and `now` passed
// in; the engine calls it for one task at a time per worker, before the task
// starts, when the transactions of gone workers have ended. No crash wipes
// state: a checkpoint is only given up when it cannot be right.
package restore

import (
	"context"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams/state"
)

// Config is one task's restore.
type Config struct {
	Log  logclient.Log
	DB   state.DB
	Task state.TaskKey
	// Changelogs by store; a store without one has no topic. It cannot be rolled
	// forward, so that it needs a checkpoint of the last commit, whose position
	// record is Position: without, the store starts empty, and the checkpoint is
	// given up for the others too, which are rebuilt.
	Changelogs []record.TopicPartition
	Position   []byte
	TopicIDs   map[string][16]byte
	// MaxAge is how old a checkpoint may be: half of the changelogs'
	// delete.retention.ms.
	MaxAge time.Duration
	Now    time.Time
	// Discard gives up the local state whatever it is (I4).
	Discard bool

	// Apply takes one committed changelog record; key and value are borrowed.
	Apply func(store int, key, value []byte, at record.Offset)
	// Progress is called now and then with how far each store has come: the
	// caller may write a checkpoint to bound its memory. May be nil.
	Progress func(at []Changelog) error
}

// Result says what was done.
type Result struct {
	Replayed []int64 // records by store
	// Rebuilt is why the local state was given up; empty if it was used or if
	// there was none.
	Rebuilt string
	// At is how far each store is now; Checkpointed where its checkpoint stood.
	At           []Changelog
	Checkpointed []record.Offset
}

// Run restores a task.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	res := &Result{
		Replayed: make([]int64, len(cfg.Changelogs)), At: make([]Changelog, len(cfg.Changelogs)),
		Checkpointed: make([]record.Offset, len(cfg.Changelogs)),
	}
	var tps []record.TopicPartition
	stores := map[record.TopicPartition]int{}
	for i, tp := range cfg.Changelogs {
		if tp.Topic != "" {
			tps = append(tps, tp)
			stores[tp] = i
		}
	}
	starts, err := offsets(ctx, cfg.Log, tps, logclient.AtStart)
	if err != nil {
		return nil, err
	}
	c, why, err := judge(ctx, cfg, starts)
	if err != nil {
		return nil, err
	}
	if c == nil {
		res.Rebuilt = why
		if err := cfg.DB.Wipe(cfg.Task); err != nil {
			return nil, fmt.Errorf("discard local state: %w", err)
		}
	}
	from := map[record.TopicPartition]record.Offset{}
	for _, tp := range tps {
		i := stores[tp]
		res.At[i] = Changelog{Partition: tp, TopicID: cfg.TopicIDs[tp.Topic], End: logclient.OffsetEpoch{Offset: starts[tp], Epoch: record.NoLeaderEpoch}}
		if c != nil {
			res.At[i] = *find(c, tp)
			res.Checkpointed[i] = res.At[i].End.Offset
		}
		from[tp] = res.At[i].End.Offset
	}
	return res, replay(ctx, cfg, res, stores, from)
}

func offsets(ctx context.Context, log logclient.Log, tps []record.TopicPartition, kind logclient.AtKind) (map[record.TopicPartition]record.Offset, error) {
	found, err := log.Offsets(ctx, tps, logclient.At{Kind: kind})
	if err != nil {
		return nil, fmt.Errorf("look up offsets of changelogs: %w", err)
	}
	out := map[record.TopicPartition]record.Offset{}
	for i, tp := range tps {
		out[tp] = found[i].Offset
	}
	return out, nil
}

// replay reads the changelogs to the target: the read_uncommitted end as of now,
// so that nothing that was decided before is missed (I3).
func replay(ctx context.Context, cfg Config, res *Result, stores map[record.TopicPartition]int, from map[record.TopicPartition]record.Offset) error {
	var tps []record.TopicPartition
	for tp := range stores {
		tps = append(tps, tp)
	}
	target, err := offsets(ctx, cfg.Log, tps, logclient.AtEnd)
	if err != nil {
		return err
	}
	left := map[record.TopicPartition]record.Offset{}
	for tp, at := range from {
		if at < target[tp] {
			left[tp] = at
		}
	}
	if len(left) == 0 {
		return nil
	}
	r, err := cfg.Log.Reader(logclient.ReaderConfig{})
	if err != nil {
		return err
	}
	defer r.Close()
	r.Assign(left)
	for len(left) > 0 {
		batches, err := r.Poll(ctx, 1<<20)
		if err != nil {
			return fmt.Errorf("replay changelogs: %w", err)
		}
		for _, b := range batches {
			tp := b.TopicPartition()
			if err == nil {
				err = apply(cfg, res, stores[tp], b)
			}
			if at := &res.At[stores[tp]]; at.End.Offset >= target[tp] {
				delete(left, tp)
			}
			b.Release()
		}
		if err != nil {
			return err
		}
		if cfg.Progress != nil {
			if err := cfg.Progress(res.At); err != nil {
				return err
			}
		}
	}
	return nil
}

func apply(cfg Config, res *Result, store int, b logclient.Batch) error {
	var v record.View
	for b.Next(&v) {
		cfg.Apply(store, v.Key, v.Value, v.Offset)
		res.Replayed[store]++
	}
	if err := b.Err(); err != nil {
		tp := b.TopicPartition()
		return fmt.Errorf("replay %s-%d: %w", tp.Topic, tp.Partition, err)
	}
	at := &res.At[store]
	at.End.Offset = b.NextOffset()
	if e := b.Epoch(); e != record.NoLeaderEpoch {
		at.End.Epoch = e
	}
	return nil
}
