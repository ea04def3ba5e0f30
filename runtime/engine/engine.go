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
	owned  bool         // Close closes log and db
	server *wire.Server // of Config.Listen; nil: none

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
	workers         []*worker
	sources         []*sourceRunner
	sinks           []*sinkRunner
	ckpt            *checkpointer
	trim            *trimmer
	work            context.Context // of the run: set before its goroutines begin

	status status
	panics panics

	mu         sync.Mutex
	generation logclient.Generation
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
		topo: topo, cfg: cfg, log: b.Log, db: b.DB,
		logger:   cfg.Logger.With("app", topo.Name),
		topicIDs: map[string][16]byte{}, connected: map[string]logclient.TopicInfo{}, readers: map[plan.TaskID]task.Reader{},
	}
	e.status.init()
	ctx := context.Background()
	if err := e.makePlan(ctx); err != nil {
		return nil, err
	}
	if err := e.endOldTransactions(ctx); err != nil {
		return nil, err
	}
	ps, err := e.readPositions(ctx)
	if err != nil {
		return nil, err
	}
	old, err := e.checkFingerprint(ps)
	if err != nil {
		return nil, err
	}
	if err := e.ensure(ctx); err != nil {
		return nil, err
	}
	e.started = true
	if err := e.recordFingerprint(ctx, old); err != nil {
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

func (e *Engine) startID() logclient.TxnID { return logclient.TxnID(e.topo.Name + "-start") }
func (e *Engine) workerID(n int) logclient.TxnID {
	return logclient.TxnID(fmt.Sprintf("%s-worker-%d", e.topo.Name, n))
}
func (e *Engine) sourceID(name string) logclient.TxnID {
	return logclient.TxnID(e.topo.Name + "-source-" + name)
}
func (e *Engine) sinkID(name string) logclient.TxnID {
	return logclient.TxnID(e.topo.Name + "-sink-" + name)
}

// Close releases the log and the database. After an error of Run nothing is
// flushed: the next start recovers. It may be called more than once.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
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
