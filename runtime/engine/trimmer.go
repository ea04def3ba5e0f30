package engine

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// trimEvery is the time between two rounds of deleting what is not needed.
const trimEvery = time.Second

// trimmer deletes records that nobody needs any more: of repartition topics
// behind their reader's commits, of window changelogs below the oldest live
// window, of the sources' topics if the configuration says so.
type trimmer struct {
	e *Engine

	mu      sync.Mutex
	changes map[record.TopicPartition]record.Offset
	done    map[record.TopicPartition]record.Offset // where partitions begin by our doing
}

func newTrimmer(e *Engine) *trimmer {
	return &trimmer{e: e, changes: map[record.TopicPartition]record.Offset{}, done: map[record.TopicPartition]record.Offset{}}
}

// changelogs asks for changelogs to be cut.
func (t *trimmer) changelogs(before map[record.TopicPartition]record.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.changes, before)
}

func (t *trimmer) run(work context.Context) error {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%diskRounds == 0 {
			t.e.reportDisk()
		}
		select {
		case <-work.Done():
			return nil
		case <-tick.C:
			if err := t.once(work); err != nil {
				if work.Err() != nil {
					return nil
				}
				if logclient.Classify(err) == logclient.ClassFatal {
					return err
				}
				t.e.logger.Warn("cannot trim topics", "err", err)
			}
		}
	}
}

// once deletes what may go now.
func (t *trimmer) once(ctx context.Context) error {
	purge := map[string]bool{}
	for _, s := range t.e.plan.Subs {
		for _, in := range s.Inputs {
			if in.Repartition {
				purge[in.Topic] = true
			}
		}
	}
	if t.e.cfg.PurgeSources {
		for _, s := range t.e.cfg.Sources {
			purge[s.Topic] = true
		}
	}
	before := map[record.TopicPartition]record.Offset{}
	for _, s := range t.e.taskStatuses() {
		for _, p := range s.processed {
			if purge[p.Partition.Topic] {
				before[p.Partition] = p.Next
			}
		}
	}
	for _, s := range t.e.sinks {
		for tp, at := range s.positions() {
			if old, ok := before[tp]; ok {
				before[tp] = min(old, at)
			}
		}
	}
	t.mu.Lock()
	maps.Copy(before, t.changes)
	clear(t.changes)
	for tp, at := range before {
		if at <= t.done[tp] {
			delete(before, tp)
		}
	}
	t.mu.Unlock()
	if len(before) == 0 {
		return nil
	}
	if err := t.e.log.DeleteBefore(ctx, before); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.done, before)
	return nil
}
