package engine

import (
	"context"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Engine is one topology on one log.
type Engine struct {
	topo *topology.Topology
	cfg  Config
}

// New checks the topology and the configuration, reporting every problem at
// once, and opens the log. It refuses a topology that does not fit the state
// that an earlier one left there (*ChangedError).
func New(topo *topology.Topology, cfg Config) (*Engine, error) {
	panic("engine.New: not written yet")
}

// Backing is what an engine stands on when a caller brings it: streamstest and
// the engine's own tests.
type Backing struct {
	Log logclient.Log // closed by its owner, not by the engine
	DB  state.DB      // likewise
}

// NewOn is New on a log and a database that are open already.
func NewOn(topo *topology.Topology, cfg Config, b Backing) (*Engine, error) {
	panic("engine.NewOn: not written yet")
}

// Run restores the tasks' state and works until ctx is done (then it commits,
// checkpoints and returns nil), a bounded run has ended (nil), or an error that
// the package comment lists. It may be called once.
func (e *Engine) Run(ctx context.Context) error { panic("engine.Run: not written yet") }

// Close releases the log and the database. After an error of Run nothing is
// flushed: the next start recovers. It may be called more than once.
func (e *Engine) Close() error { panic("engine.Close: not written yet") }

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

// Live is nil unless the engine has failed: what /healthz answers.
func (e *Engine) Live() error { panic("engine.Live: not written yet") }

// Ready is nil while the engine runs and every source and sink is connected:
// what /readyz answers.
func (e *Engine) Ready() error { panic("engine.Ready: not written yet") }

// State is a snapshot for people and for HTTP.
func (e *Engine) State() Snapshot { panic("engine.State: not written yet") }

// Snapshot is an engine at one moment, as of the last commits.
type Snapshot struct {
	Name    string           `json:"name"`
	Phase   Phase            `json:"phase"`
	Error   string           `json:"error,omitempty"`
	Workers int              `json:"workers"`
	Tasks   []TaskSnapshot   `json:"tasks"`
	Sources []SourceSnapshot `json:"sources,omitempty"`
	Sinks   []SinkSnapshot   `json:"sinks,omitempty"`
	Totals  Totals           `json:"totals"`
}

// TaskSnapshot is one task.
type TaskSnapshot struct {
	ID           string          `json:"id"` // "<sub-topology>_<partition>"
	Worker       int             `json:"worker"`
	StreamTimeMS int64           `json:"stream_time_ms"`
	Positions    []Position      `json:"positions"`
	Stores       []StoreSnapshot `json:"stores,omitempty"`
	Checkpoint   time.Time       `json:"checkpoint,omitzero"` // of the last finished one
}

// Position is the committed offset of one input partition: the next to read.
type Position struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Lag       int64  `json:"lag"` // records to the end, as of the last commit
}

// StoreSnapshot is one store of a task.
type StoreSnapshot struct {
	Name string `json:"name"`
	// Overlay is what is committed and waits for a checkpoint.
	OverlayEntries int64 `json:"overlay_entries"`
	OverlayBytes   int64 `json:"overlay_bytes"`
}

// SourceSnapshot is one source.
type SourceSnapshot struct {
	Name    string `json:"name"`
	Topic   string `json:"topic"`
	State   string `json:"state"` // opening, running, ended, failed
	Records int64  `json:"records"`
	Error   string `json:"error,omitempty"`
}

// SinkSnapshot is one sink.
type SinkSnapshot struct {
	Name    string `json:"name"`
	Topic   string `json:"topic"`
	State   string `json:"state"` // opening, running, retrying, ended, failed
	Records int64  `json:"records"`
	Error   string `json:"error,omitempty"`
}

// Totals count since New, at committed transactions only.
type Totals struct {
	RecordsIn        int64 `json:"records_in"`  // read by tasks
	RecordsOut       int64 `json:"records_out"` // written by tasks to topics that are not internal
	Late             int64 `json:"late"`
	DeadLettered     int64 `json:"dead_lettered"` // by sources, tasks and sinks
	Commits          int64 `json:"commits"`
	Aborts           int64 `json:"aborts"`
	Checkpoints      int64 `json:"checkpoints"`
	ChangelogRecords int64 `json:"changelog_records"`
	Restored         int64 `json:"restored_records"` // replayed from changelogs at start
	Rebuilt          int64 `json:"rebuilt_tasks"`    // whose local state was unusable
	StateBytes       int64 `json:"state_bytes"`      // of the local database
}
