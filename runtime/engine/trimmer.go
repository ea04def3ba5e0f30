package engine

import (
	"context"
	"fmt"
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
//
// Where several instances run the application, each deletes for its own tasks. One
// that is a zombie, whose tasks are another's already, may still delete, and does
// no harm: all that it knows is what it has committed.
//
//   - Records of an input go below the offset that the task's group has committed.
//     Committed offsets only grow, so nobody reads there again: a new owner begins
//     at the group's offset or above.
//   - Records of a window changelog go below the first of the oldest window that was
//     live at a committed stream time. Stream time only grows, so for every later
//     owner those windows have expired, and a restore applies expiry anyway: it
//     does not matter whether it still finds them. A restore that reads there just
//     now finds its offset below the start and goes on at the start.
//   - Where a sink reads an input too, records go only below what the sink's group has
//     committed, as this instance's sink knows of its own partitions and the log of
//     the others'. A sink that has not committed anything yet keeps everything.
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
	if err := t.keepForSinks(ctx, before); err != nil {
		return err
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

// keepForSinks lowers the offsets to what sinks of the same topics have written,
// in this instance or in others.
func (t *trimmer) keepForSinks(ctx context.Context, before map[record.TopicPartition]record.Offset) error {
	for _, s := range t.e.sinks {
		known := s.positions()
		var others []record.TopicPartition
		for tp := range before {
			if _, mine := known[tp]; tp.Topic == s.cfg.Topic && !mine {
				others = append(others, tp)
			}
		}
		if len(others) > 0 {
			// It waits for transactions that are open: not for long, another round comes.
			ctx, cancel := context.WithTimeout(ctx, trimEvery)
			committed, err := t.e.log.Committed(ctx, s.group(), others)
			cancel()
			if err != nil {
				return fmt.Errorf("what sink %s has written: %w", s.cfg.Name, err)
			}
			for _, tp := range others {
				if p, ok := committed[tp]; ok {
					known[tp] = p.Offset
				} else {
					delete(before, tp)
				}
			}
		}
		for tp, at := range known {
			if old, ok := before[tp]; ok {
				before[tp] = min(old, at)
			}
		}
	}
	return nil
}
