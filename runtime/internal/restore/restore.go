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

	// Verdict is Judge's, if the caller has asked for many tasks at once; it must be
	// younger than the end of the transactions that may hang. nil: Run judges.
	Verdict *Verdict

	// Apply takes one committed changelog record; key and value are borrowed.
	Apply func(store int, key, value []byte, at record.Offset)
	// Progress is called now and then with how far each store has come: the
	// caller may write a checkpoint to bound its memory. May be nil.
	Progress func(at []Changelog) error
	// Moved is called once when the replay begins, then after each round of reading.
	// May be nil.
	Moved func(*Result)
}

// Result says what was done, or has been done so far.
type Result struct {
	Replayed []int64 // records by store
	Bytes    []int64 // of their keys and values
	// Rebuilt is why the local state was given up; empty if it was used or if
	// there was none.
	Rebuilt string
	// At is how far each store is now; Checkpointed where its checkpoint stood, From
	// where the replay began and To where it ends.
	At                     []Changelog
	Checkpointed, From, To []record.Offset
}

// Run restores a task.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	v := cfg.Verdict
	if v == nil {
		vs, err := Judge(ctx, []Config{cfg})
		if err != nil {
			return nil, err
		}
		v = &vs[0]
	}
	res, err := begin(&cfg, v)
	if err != nil {
		return nil, err
	}
	if cfg.Moved != nil {
		cfg.Moved(res)
	}
	return res, replay(ctx, cfg, res)
}

// begin gives local state up that is of no use, and says where the replay begins.
func begin(cfg *Config, v *Verdict) (*Result, error) {
	n := len(cfg.Changelogs)
	res := &Result{
		Replayed: make([]int64, n), Bytes: make([]int64, n), At: make([]Changelog, n),
		Checkpointed: make([]record.Offset, n), From: make([]record.Offset, n), To: v.Ends,
	}
	if v.Checkpoint == nil {
		res.Rebuilt = v.Why
		if err := cfg.DB.Wipe(cfg.Task); err != nil {
			return nil, fmt.Errorf("discard local state: %w", err)
		}
	}
	for i, tp := range cfg.Changelogs {
		if tp.Topic == "" {
			continue
		}
		res.At[i] = Changelog{Partition: tp, TopicID: cfg.TopicIDs[tp.Topic], End: logclient.OffsetEpoch{Offset: v.Starts[i], Epoch: record.NoLeaderEpoch}}
		if v.Checkpoint != nil {
			res.At[i] = *find(v.Checkpoint, tp)
			res.Checkpointed[i] = res.At[i].End.Offset
		}
		res.From[i] = res.At[i].End.Offset
	}
	return res, nil
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

// replay reads the changelogs to the target: the read_uncommitted end as of the
// judgement, so that nothing that was decided before is missed (I3).
func replay(ctx context.Context, cfg Config, res *Result) error {
	left, stores := map[record.TopicPartition]record.Offset{}, map[record.TopicPartition]int{}
	for i, tp := range cfg.Changelogs {
		if tp.Topic != "" && res.From[i] < res.To[i] {
			left[tp], stores[tp] = res.From[i], i
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
				err = res.apply(&cfg, stores[tp], b)
			}
			if i := stores[tp]; res.At[i].End.Offset >= res.To[i] {
				delete(left, tp)
			}
			b.Release()
		}
		if err != nil {
			return err
		}
		if cfg.Moved != nil {
			cfg.Moved(res)
		}
		if cfg.Progress != nil {
			if err := cfg.Progress(res.At); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply takes one batch of a store's changelog.
func (res *Result) apply(cfg *Config, store int, b logclient.Batch) error {
	var v record.View
	records, bytes := int64(0), int64(0)
	for b.Next(&v) {
		cfg.Apply(store, v.Key, v.Value, v.Offset)
		records, bytes = records+1, bytes+int64(len(v.Key)+len(v.Value))
	}
	res.Replayed[store], res.Bytes[store] = res.Replayed[store]+records, res.Bytes[store]+bytes
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
