package streamstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/topology"
)

// Driver runs a topology step by step.
//
// The program is up after New and Restart, and down after Crash, Stop or an
// error. Inputs and outputs work in both.
//
// Invariant: nothing happens but inside a call, and the same calls have the same
// results.
type Driver struct {
	*world
	mem *memlog.Log
	db  *memstore.DB

	now            time.Time
	nextCheckpoint time.Time
	member         logclient.Member
	generation     logclient.Generation
	workers        []*worker
	turn           int // the worker that is asked first for the next step
	up             bool
	err            error // what ended the program
	last           string
	totals         engine.Totals
	late, dropped  map[string]int64 // by operator
	skipped        int64
}

// New starts the program of a topology on an empty log.
func New(t testing.TB, topo *topology.Topology, o Options) *Driver {
	t.Helper()
	o = o.withDefaults()
	d := &Driver{
		world: &world{t: t, topo: topo, opt: o, turn: map[string]int32{}},
		db:    memstore.New(16), // of small transactions: a checkpoint can be cut in many places
		now:   o.Start, late: map[string]int64{}, dropped: map[string]int64{},
	}
	if len(o.Sources)+len(o.Sinks) > 0 {
		d.fatal("New: a Driver runs no connectors: give Sources and Sinks to Run, and use Input and Output here")
	}
	d.mem = memlog.New(memlog.Config{BatchBytes: 1, Now: func() time.Time { return d.now }, ClusterID: "streamstest"})
	d.log, d.check = d.mem, func() {}
	d.append = func(tp record.TopicPartition, v *record.View) error {
		d.mem.Produce(tp, *v)
		return nil
	}
	if err := d.start(); err != nil {
		d.fatal("New: %v", err)
	}
	return d
}

// start brings the program up from what is committed.
func (d *Driver) start() error {
	ctx := context.Background()
	if err := d.ensure(ctx); err != nil {
		return fmt.Errorf("topology %s: %w", d.topo.Name, err)
	}
	var specs []logclient.TopicSpec
	inputs := map[string]bool{}
	var topics []string
	for _, t := range d.plan.Topics {
		if t.Kind != plan.External {
			specs = append(specs, logclient.TopicSpec{Name: t.Name, Partitions: t.Partitions, Configs: t.Configs})
		}
	}
	infos, err := d.log.Ensure(ctx, specs)
	if err != nil {
		return err
	}
	ids := map[string][16]byte{}
	for _, info := range infos {
		ids[info.Name] = info.ID
	}
	for _, s := range d.plan.Subs {
		for _, in := range s.Inputs {
			if !inputs[in.Topic] {
				inputs[in.Topic], topics = true, append(topics, in.Topic)
			}
		}
	}
	if d.member, err = d.log.Join(ctx, logclient.MemberConfig{Group: d.topo.Name, Topics: topics}); err != nil {
		return err
	}
	a, err := d.member.Next(ctx)
	if err != nil {
		return err
	}
	d.generation = a.Generation
	if err := d.startWorkers(ctx, ids); err != nil {
		return err
	}
	d.up, d.err = true, nil
	d.nextCheckpoint = d.now.Add(d.opt.Engine.CheckpointInterval)
	return nil
}

// startWorkers shares the tasks out as the engine does. Every writer is opened,
// which ends what its predecessor left open, before anything committed is read.
func (d *Driver) startWorkers(ctx context.Context, topicIDs map[string][16]byte) error {
	ids := d.plan.TaskIDs()
	n := max(1, min(d.opt.Workers, len(ids)))
	d.workers, d.turn = nil, 0
	for i := range n {
		w := &worker{d: d, n: i, byInput: map[record.TopicPartition]*task.Task{}}
		var err error
		if w.writer, err = d.log.Writer(ctx, logclient.TxnID(fmt.Sprintf("%s-worker-%d", d.topo.Name, i)), logclient.WriterConfig{}); err != nil {
			return err
		}
		d.workers = append(d.workers, w)
	}
	for i, id := range ids {
		w := d.workers[i%n]
		w.ids = append(w.ids, id)
	}
	positions, err := d.positions()
	if err != nil {
		return err
	}
	for _, w := range d.workers {
		if err := w.restore(ctx, positions, topicIDs); err != nil {
			return err
		}
	}
	return nil
}

// positions are the committed position records, by key.
func (d *Driver) positions() (map[string][]byte, error) {
	found := map[string][]byte{}
	_, err := d.read(record.TopicPartition{Topic: plan.PositionsTopic(d.topo.Name)}, 0, func(v *record.View) error {
		found[string(v.Key)] = clone(v.Value)
		return nil
	})
	return found, err
}

// Step does the next thing there is to do, and reports whether there was one: a
// worker commits if that is due, else a task processes a batch (one record, of a
// task with several inputs as many as their order allows), else, when nothing is
// left to read, a worker commits what it has.
func (d *Driver) Step() bool {
	d.t.Helper()
	did, err := d.step()
	if err != nil {
		d.fatal("Step: %v", err)
	}
	return did
}

// Last says what the last step did, for messages.
func (d *Driver) Last() string { return d.last }

// Run steps until nothing is left to do: all input is processed, through all
// repartition topics, and committed.
func (d *Driver) Run() {
	d.t.Helper()
	if err := d.Try(); err != nil {
		d.fatal("Run: %v", err)
	}
}

// Try is Run for a program that may fail: a panic in a user's function, a record
// that must stop it. It returns the error instead of failing the test. As in
// production the program is down then, and what was not committed is lost;
// Restart goes on from the last commit.
func (d *Driver) Try() error {
	d.t.Helper()
	for {
		if did, err := d.step(); err != nil || !did {
			return err
		}
	}
}

// Process steps like Run, but stops before a commit that is made for want of
// anything else to do: what it leaves is an open transaction.
func (d *Driver) Process() {
	d.t.Helper()
	for {
		did, err := d.process()
		if err != nil {
			d.fatal("Process: %v", err)
		}
		if !did {
			return
		}
	}
}

// Commit ends the open transactions of all workers, in order.
func (d *Driver) Commit() {
	d.t.Helper()
	d.mustBeUp("Commit")
	for _, w := range d.workers {
		if _, err := d.guard(w.commit()); err != nil {
			d.fatal("Commit: %v", err)
		}
	}
}

func (d *Driver) step() (did bool, err error) {
	if did, err = d.process(); did || err != nil {
		return did, err
	}
	for _, w := range d.workers {
		if did, err = d.guard(w.commit()); did || err != nil {
			return did, err
		}
	}
	return false, nil
}

// process is a step without the last commits.
func (d *Driver) process() (did bool, err error) {
	if !d.up {
		return false, d.down()
	}
	for _, w := range d.workers {
		if !w.due {
			continue
		}
		if did, err = d.guard(w.commit()); did || err != nil {
			return did, err // else what it read were markers: there is nothing to commit
		}
	}
	for range d.workers {
		w := d.workers[d.turn%len(d.workers)]
		d.turn++
		if did, err = d.guard(w.work()); did || err != nil {
			return did, err
		}
	}
	return false, nil
}

// guard ends the program at an error.
func (d *Driver) guard(did bool, err error) (bool, error) {
	if err != nil {
		d.err = err
		d.fall()
	}
	return did, err
}

func (d *Driver) down() error {
	if d.err != nil {
		return fmt.Errorf("the program is down since its error (%w): call Restart", d.err)
	}
	return errors.New("the program is down: call Restart")
}

func (d *Driver) mustBeUp(what string) {
	d.t.Helper()
	if !d.up {
		d.fatal("%s: %v", what, d.down())
	}
}

// StoreView implements engine.Stores: engine.Get and its sisters take a Driver.
func (d *Driver) StoreView(store string) (engine.StoreView, error) {
	if !d.up {
		return engine.StoreView{}, fmt.Errorf("store %q: %w", store, d.down())
	}
	return engine.ViewStore(d.plan, store, func(id plan.TaskID) (task.Reader, bool) {
		t := d.task(id)
		return t.Reader(), true
	})
}

// task finds a task of a program that is up.
func (d *Driver) task(id plan.TaskID) *task.Task {
	for _, w := range d.workers {
		if i := slices.Index(w.ids, id); i >= 0 {
			return w.tasks[i]
		}
	}
	return nil
}
