package streamstest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/topology"
)

// Harness is what inputs, outputs and stores belong to: a *Driver or a *Running.
type Harness interface {
	engine.Stores
	harness() *world
}

// world is what a Driver and a Running have in common: a topology, its plan, a
// log with topics.
type world struct {
	t    testing.TB
	topo *topology.Topology
	opt  Options
	plan *plan.Plan
	log  logclient.Log // the handle of now
	turn map[string]int32

	// append adds one record to a partition, outside of any transaction.
	append func(tp record.TopicPartition, v *record.View) error
	// check fails the test if the program has ended by itself.
	check func()
}

func (w *world) harness() *world { return w }

// fatal fails the test.
func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("streamstest: "+format, args...)
}

// Plan describes what runs: sub-topologies, their tasks, topics and stores.
func (w *world) Plan() string { return w.plan.Describe() }

// Topics are the names of all topics of the program, its internal ones too.
func (w *world) Topics() (names []string) {
	for _, t := range w.plan.Topics {
		names = append(names, t.Name)
	}
	for _, s := range w.opt.Sources {
		names = append(names, s.Topic)
	}
	for _, s := range w.opt.Sinks {
		names = append(names, s.Topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Partitions is the number of partitions of a topic.
func (w *world) Partitions(topic string) int32 {
	w.t.Helper()
	infos, err := w.log.Describe(context.Background(), []string{topic})
	if err != nil {
		w.fatal("describe topic %q: %v", topic, err)
	}
	if infos[0].Partitions == 0 {
		w.fatal("there is no topic %q; the program has %s", topic, strings.Join(w.Topics(), ", "))
	}
	return infos[0].Partitions
}

// ensure makes the topics of the topology and of the connectors, and the plan.
func (w *world) ensure(ctx context.Context) error {
	cut, err := plan.NewCut(w.topo)
	if err != nil {
		return err
	}
	external := map[string]int32{}
	for _, u := range cut.External() {
		n := w.opt.partitions(u.Topic)
		if _, named := w.opt.Topics[u.Topic]; !named && u.Topic == plan.DeadLettersTopic(w.topo.Name) {
			n = 1
		}
		infos, err := w.log.Ensure(ctx, []logclient.TopicSpec{{Name: u.Topic, Partitions: n}})
		if err != nil {
			return err
		}
		external[u.Topic] = infos[0].Partitions
	}
	w.plan, err = cut.Make(external)
	return err
}

// read calls fn for the committed records of a partition from an offset on, and
// returns where the next call goes on.
func (w *world) read(tp record.TopicPartition, from record.Offset, fn func(*record.View) error) (next record.Offset, err error) {
	ctx := context.Background()
	tps := []record.TopicPartition{tp}
	start, err1 := w.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStart})
	end, err2 := w.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStable})
	if err := errors.Join(err1, err2); err != nil {
		return from, err
	}
	from = max(from, start[0].Offset)
	if from >= end[0].Offset {
		return from, nil
	}
	r, err := w.log.Reader(logclient.ReaderConfig{})
	if err != nil {
		return from, err
	}
	defer r.Close()
	r.Assign(map[record.TopicPartition]record.Offset{tp: from})
	var v record.View
	for from < end[0].Offset {
		batches, err := r.Poll(ctx, 1<<20)
		for _, b := range batches {
			for err == nil && b.Next(&v) {
				err = fn(&v)
			}
			if err == nil {
				err = b.Err()
			}
			from = b.NextOffset()
			b.Release()
		}
		if err != nil {
			return from, err
		}
	}
	return from, nil
}

func ms(t time.Time) int64 { return t.UnixMilli() }

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
