package streamstest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/embedded"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/topology"
)

// Run runs a whole engine, as production does, while f runs: on the embedded
// log, whose files are in memory, in the virtual time of testing/synctest. Time
// passes only while everything waits, so a day costs what is done in it.
//
// When f returns, the engine is stopped gracefully and everything is closed; an
// error that ended the engine before fails the test. f runs inside a synctest
// bubble: channels, timers and goroutines of connectors must be made in f or by
// the connector's Open, not before. Real sockets do not work there.
func Run(t *testing.T, topo *topology.Topology, o Options, f func(r *Running)) {
	t.Helper()
	warmUp()
	synctest.Test(t, func(t *testing.T) {
		o := o.withDefaults()
		r := &Running{
			world: &world{t: t, topo: topo, opt: o, turn: map[string]int32{}},
			disk:  vfs.NewMem(), db: memstore.New(0), boot: 1,
		}
		r.check = r.checkUp
		r.append = r.produce
		if wait := time.Until(o.Start); wait > 0 {
			<-time.After(wait)
		}
		defer r.end()
		if err := r.start(); err != nil {
			r.fatal("Run: %v", err)
		}
		f(r)
	})
}

// Running is an engine under test.
//
// Invariant: its fields belong to the goroutine of the function that Run calls.
type Running struct {
	*world
	disk   *vfs.Mem
	db     *memstore.DB
	boot   int // the number of the machine's boot
	engine *engine.Engine
	cancel context.CancelFunc
	done   chan error // closed once err is set
	err    error
	up     bool
}

// start opens the log and starts an engine.
func (r *Running) start() error {
	log, err := embedded.Open(broker.Config{
		Dir: "/data", FS: r.disk, DefaultPartitions: r.opt.Partitions, OffsetsRetention: 100 * 365 * 24 * time.Hour,
		TickInterval: time.Minute, MaintenanceInterval: time.Hour, SyncParallelism: 1,
		BootID: fmt.Sprintf("boot-%d", r.boot), Logger: r.opt.Engine.Logger,
	})
	if err != nil {
		return err
	}
	r.log = log
	if err := r.ensure(context.Background()); err != nil {
		return errors.Join(fmt.Errorf("topology %s: %w", r.topo.Name, err), log.Close())
	}
	cfg := r.opt.Engine
	cfg.InMemoryState = true
	cfg.Workers, cfg.Partitions, cfg.IdleAfter = r.opt.Workers, r.opt.Partitions, r.opt.IdleAfter
	cfg.Sources = append(cfg.Sources[:len(cfg.Sources):len(cfg.Sources)], r.opt.Sources...)
	cfg.Sinks = append(cfg.Sinks[:len(cfg.Sinks):len(cfg.Sinks)], r.opt.Sinks...)
	if r.engine, err = engine.NewOn(r.topo, cfg, engine.Backing{Log: log, DB: r.db}); err != nil {
		return errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done, r.up, r.err = cancel, make(chan error), true, nil
	go func() {
		r.err = r.engine.Run(ctx)
		close(r.done)
	}()
	return nil
}

// broker is the broker beneath.
func (r *Running) broker() *broker.Broker { return r.log.(*embedded.Log).Broker() }

func (r *Running) produce(tp record.TopicPartition, v *record.View) error {
	p, err := r.broker().Partition(tp)
	if err != nil {
		return err
	}
	b := record.NewBuilder()
	b.Append(v)
	batch, err := b.Finish(record.None)
	if err != nil {
		return err
	}
	_, err = p.Produce(batch, broker.AcksAll)
	return err
}

// checkUp fails the test if there is no engine that runs.
func (r *Running) checkUp() {
	r.t.Helper()
	if !r.up {
		r.fatal("the engine is down: call Restart")
	}
	select {
	case <-r.done:
		if r.err != nil {
			r.fatal("the engine has failed: %v", r.err)
		}
	default:
	}
}

// T is the test inside the bubble: for t.Fatal and its sisters, which must not be
// called on the outer one from f.
func (r *Running) T() testing.TB { return r.t }

// Now is the virtual clock.
func (r *Running) Now() time.Time { return time.Now().UTC() }

// Engine is the engine that runs, for State, Ready and the like. Another one
// takes its place at Restart.
func (r *Running) Engine() *engine.Engine { return r.engine }

// StoreView implements engine.Stores: engine.Get and its sisters take a Running.
func (r *Running) StoreView(store string) (engine.StoreView, error) {
	return r.engine.StoreView(store)
}

// Advance lets virtual time pass, while the engine, its connectors and timers do
// what is due, and returns when all of them wait for something again.
func (r *Running) Advance(by time.Duration) {
	r.t.Helper()
	r.checkUp()
	<-time.After(by)
	synctest.Wait()
	r.checkUp()
}

// Err is the error that the engine has ended with; nil while it runs, and after
// a good end. It waits for nothing.
func (r *Running) Err() error {
	synctest.Wait()
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}

// Stop ends the engine as SIGTERM does, and returns when it has ended: the
// sources, the tasks and the sinks are drained.
func (r *Running) Stop() {
	r.t.Helper()
	r.checkUp()
	r.cancel()
	<-r.done
	r.up = false
	if err := errors.Join(r.ended(), r.engine.Close(), r.log.Close()); err != nil {
		r.fatal("Stop: %v", err)
	}
}

// ended is the error of an engine that was asked to end; one that was still
// starting says that its context was canceled.
func (r *Running) ended() error {
	if errors.Is(r.err, context.Canceled) {
		return nil
	}
	return r.err
}

// Join waits until a bounded run (Options.Engine.Bounded) has ended.
func (r *Running) Join() {
	r.t.Helper()
	<-r.done
	r.checkUp()
}

// Kill ends the engine as kill -9 does, at a moment at which everything waits:
// what is in the page cache stays, open transactions hang, nobody is told.
func (r *Running) Kill() {
	r.t.Helper()
	r.checkUp()
	r.crash(100)
}

// PowerCut ends the engine and the machine: of the log stays what was synced.
func (r *Running) PowerCut() {
	r.t.Helper()
	r.checkUp()
	r.boot++
	r.crash(0)
}

func (r *Running) crash(unsyncedPercent int) {
	synctest.Wait()
	disk, db := r.disk.CrashClone(vfs.CrashConfig{UnsyncedPercent: unsyncedPercent}), r.db.CrashClone(0)
	r.abandon()
	r.disk, r.db = disk, db
}

// abandon gets rid of an engine whose world is no longer ours.
func (r *Running) abandon() {
	r.broker().Abandon()
	r.cancel()
	<-r.done
	r.up = false
	_ = r.log.Close() // of an abandoned broker: it says that nothing was written any more
}

// Restart starts the engine again; one that runs is stopped first.
func (r *Running) Restart() {
	r.t.Helper()
	if err := r.RestartWith(r.topo, r.opt); err != nil {
		r.fatal("Restart: %v", err)
	}
}

// RestartWith starts another topology, with other options, over the same log and
// state, as a new version of the program would. It returns the error of a start
// that is refused.
func (r *Running) RestartWith(topo *topology.Topology, o Options) error {
	r.t.Helper()
	if r.up {
		r.Stop()
	}
	r.topo, r.opt = topo, o.withDefaults()
	return r.start()
}

// end is Run's end, also when f has failed.
func (r *Running) end() {
	if !r.up {
		return
	}
	select {
	case <-r.done:
		if err := errors.Join(r.engine.Close(), r.log.Close()); r.err != nil || err != nil {
			r.t.Errorf("streamstest: the engine has failed: %v", errors.Join(r.err, err))
		}
		return
	default:
	}
	if r.t.Failed() {
		r.abandon()
		return
	}
	r.cancel()
	<-r.done
	if err := errors.Join(r.ended(), r.engine.Close(), r.log.Close()); err != nil {
		r.t.Errorf("streamstest: the engine's end: %v", err)
	}
}
