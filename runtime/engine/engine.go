package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Engine is one topology on one log.
type Engine struct {
	topo   *topology.Topology
	cfg    Config
	logger *slog.Logger
	log    logclient.Log
	db     state.DB
	owned  bool // Close closes log and db
	// instance is this process's name among several; empty: it is the only one.
	instance string
	server   *wire.Server // of Config.Listen; nil: none

	plan     *plan.Plan
	specs    []logclient.TopicSpec // of all topics of the plan
	started  bool                  // the application's positions topic exists
	topicIDs map[string][16]byte
	// connected are the topics of connectors, each with a creation time.
	connected map[string]logclient.TopicInfo
	// partitionsAsked are told once New has refused nothing.
	partitionsAsked [][]any
	txnIDs          []string
	member          logclient.Member
	units           []*unit
	workers         []*worker
	sources         []*sourceRunner
	sinks           []*sinkRunner
	ckpt            *checkpointer
	trim            *trimmer
	standbys        *standbys
	shepherd        *shepherd
	replays         replays
	committed       positionsView
	uncommitted     positionsView
	work            context.Context // of the run: set before its goroutines begin

	status status
	panics panics

	endMu    sync.Mutex // held while transactions of departed instances are ended
	departed departed

	mu         sync.Mutex
	cancel     context.CancelCauseFunc // of work
	assignment logclient.Assignment
	running    map[plan.TaskID]bool // started here
	readers    map[plan.TaskID]task.Reader
	ran        bool
	closed     bool
}

// New checks the topology and the configuration, reporting every problem at
// once, and opens the log. It refuses a topology that does not fit the state
// that an earlier one left there (*ChangedError).
func New(topo *topology.Topology, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(topo); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	b, err := open(cfg)
	if err != nil {
		return nil, err
	}
	e, err := newOn(topo, cfg, b)
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	e.owned = true
	return e, nil
}

// Backing is what an engine stands on when a caller brings it: streamstest and
// the engine's own tests.
type Backing struct {
	Log logclient.Log // closed by its owner, not by the engine
	DB  state.DB      // likewise
	// Instance is this process's name among those that run the application on the
	// same log; empty: it is the only one.
	Instance string
}

func (b Backing) close() error {
	var errs []error
	if b.DB != nil {
		errs = append(errs, b.DB.Close())
	}
	if b.Log != nil {
		errs = append(errs, b.Log.Close())
	}
	return errors.Join(errs...)
}

// NewOn is New on a log and a database that are open already.
func NewOn(topo *topology.Topology, cfg Config, b Backing) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(topo); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return newOn(topo, cfg, b)
}

func newOn(topo *topology.Topology, cfg Config, b Backing) (*Engine, error) {
	e := &Engine{
		topo: topo, cfg: cfg, log: b.Log, db: b.DB, instance: b.Instance,
		running: map[plan.TaskID]bool{}, uncommitted: positionsView{uncommitted: true},
		logger:   cfg.Logger.With("app", topo.Name),
		topicIDs: map[string][16]byte{}, connected: map[string]logclient.TopicInfo{}, readers: map[plan.TaskID]task.Reader{},
	}
	e.status.init()
	ctx := context.Background()
	ps, old, err := e.prepare(ctx)
	if err != nil {
		return nil, err
	}
	e.started = true
	e.makeUnits()
	if err := e.recordFingerprint(ctx, old); err != nil {
		return nil, err
	}
	if err := e.recordInstance(ctx); err != nil {
		return nil, err
	}
	if err := e.describeConnected(ctx, ps); err != nil {
		return nil, err
	}
	for _, line := range e.partitionsAsked {
		e.logger.Warn("the topic exists with another number of partitions than the configuration asks for; it keeps them", line...)
	}
	if e.server, err = listen(cfg, e.log); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e.makeRunners()
	return e, nil
}

// prepare plans, refuses a program that does not fit what is there, and makes the
// topics. It plans anew where somebody else has made a topic meanwhile. It returns
// what is in the positions topic, and the fingerprint of the program before.
func (e *Engine) prepare(ctx context.Context) (ps positions, old *fingerprint, err error) {
	for attempts := 1; ; attempts++ {
		if err := e.makePlan(ctx); err != nil {
			return nil, nil, err
		}
		if err := e.checkRights(ctx, e.internalUses()); err != nil { // all that is missing in one error
			return nil, nil, err
		}
		if err := e.endOldTransactions(ctx); err != nil {
			return nil, nil, err
		}
		if ps, err = e.settledPositions(ctx); err != nil {
			return nil, nil, err
		}
		if old, err = e.checkFingerprint(ps); err != nil {
			return nil, nil, err
		}
		err := e.ensure(ctx)
		var other *logclient.TopicMismatchError
		if err == nil || !errors.As(err, &other) || kindOf(e.plan, other.Topic) != plan.External || attempts == 3 {
			return ps, old, err
		}
	}
}

// Close releases the log and the database. After an error of Run nothing is
// flushed: the next start recovers. Queries under way end with an error; one that
// hands over an entry is waited for, 10 s at most. It may be called more than once.
func (e *Engine) Close() error {
	e.mu.Lock()
	again := e.closed
	e.closed = true
	e.mu.Unlock()
	if again {
		return nil
	}
	err := e.stopListening()
	if !e.owned {
		return err
	}
	return errors.Join(err, Backing{Log: e.log, DB: e.db}.close())
}

// TaskPlan describes what runs: sub-topologies, tasks, internal topics.
func (e *Engine) TaskPlan() string { return e.plan.Describe() }

// Phase says where an engine is in its life:
//
//	New -> Restoring -> Running -> Draining -> Stopped
//	            \___________\__________\______-> Failed
type Phase string

const (
	PhaseNew       Phase = "new"
	PhaseRestoring Phase = "restoring"
	PhaseRunning   Phase = "running"
	PhaseDraining  Phase = "draining"
	PhaseStopped   Phase = "stopped"
	PhaseFailed    Phase = "failed"
)
