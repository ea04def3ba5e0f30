package engine

import "time"

// Snapshot is an engine at one moment, as of the last commits.
type Snapshot struct {
	Name    string         `json:"name"`
	Phase   Phase          `json:"phase"`
	Error   string         `json:"error,omitempty"`
	Workers int            `json:"workers"`
	Tasks   []TaskSnapshot `json:"tasks"`
	// Standbys are the tasks of other instances whose state is copied here.
	Standbys []StandbySnapshot `json:"standbys,omitempty"`
	Sources  []SourceSnapshot  `json:"sources,omitempty"`
	Sinks    []SinkSnapshot    `json:"sinks,omitempty"`
	Totals   Totals            `json:"totals"`
}

// TaskSnapshot is one task.
type TaskSnapshot struct {
	ID           string          `json:"id"` // "<sub-topology>_<partition>"
	Phase        string          `json:"phase"`
	Worker       int             `json:"worker"` // -1 while it is restored
	StreamTimeMS int64           `json:"stream_time_ms"`
	Positions    []Position      `json:"positions"`
	Stores       []StoreSnapshot `json:"stores,omitempty"`
	Checkpoint   time.Time       `json:"checkpoint,omitzero"` // of the last finished one
	// Restore is how far the restore of its stores is, while it is restored.
	Restore *RestoreSnapshot `json:"restore,omitempty"`
}

// Phases of a task.
const (
	TaskRestoring = "restoring" // its stores are brought to the last commit
	TaskRunning   = "running"
)

// RestoreSnapshot is how far the replay of changelogs is, in records by offsets,
// and how many bytes of keys and values that were.
type RestoreSnapshot struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	Bytes int64 `json:"bytes"`
}

// StandbySnapshot is the copy of another instance's task.
type StandbySnapshot struct {
	ID         string    `json:"id"`
	Lag        int64     `json:"lag"`     // records of its changelogs that the copy is behind
	Records    int64     `json:"records"` // replayed since it is followed
	Bytes      int64     `json:"bytes"`
	Checkpoint time.Time `json:"checkpoint,omitzero"` // of the last finished one
	Error      string    `json:"error,omitempty"`     // why it is not followed at the moment
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

// ConnectorSnapshot is what sources and sinks have in common. Counts are since
// New; Error is the last one while the connector does not run because of it.
type ConnectorSnapshot struct {
	Name        string    `json:"name"`
	Topic       string    `json:"topic"`
	State       string    `json:"state"` // opening, running, retrying, ended, stopped, elsewhere, failed
	Since       time.Time `json:"since,omitzero"`
	Records     int64     `json:"records"`
	Bytes       int64     `json:"bytes"` // of keys and values
	Errors      int64     `json:"errors"`
	Retries     int64     `json:"retries"`
	DeadLetters int64     `json:"dead_letters"`
	InFlight    int64     `json:"in_flight"` // records in hand: not committed yet by a source, not acknowledged yet to a sink
	LastSuccess time.Time `json:"last_success,omitzero"`
	Error       string    `json:"error,omitempty"`
	Attempts    int       `json:"attempts,omitempty"` // that failed in a row
	NextAttempt time.Time `json:"next_attempt,omitzero"`
}

// SourceSnapshot is one source.
type SourceSnapshot struct {
	ConnectorSnapshot
	LagRecords int64 `json:"lag_records"` // not read yet, as far as the source knows; -1: it does not
	LagBytes   int64 `json:"lag_bytes"`   // likewise
	Dropped    int64 `json:"dropped"`     // arrived and lost before they could be read
}

// SinkSnapshot is one sink.
type SinkSnapshot struct {
	ConnectorSnapshot
	Lag     int64 `json:"lag"`     // records from the committed offsets to the end of its topic
	Skipped int64 `json:"skipped"` // records that retention deleted before they could be written
}

// Totals count since New, at committed transactions only.
type Totals struct {
	RecordsIn        int64 `json:"records_in"`  // read by tasks
	RecordsOut       int64 `json:"records_out"` // written by tasks to topics that are not internal
	Late             int64 `json:"late"`
	Dropped          int64 `json:"dropped"`       // by operators that need a key or a value that was null
	DeadLettered     int64 `json:"dead_lettered"` // by sources, tasks and sinks
	Commits          int64 `json:"commits"`
	Aborts           int64 `json:"aborts"`
	Checkpoints      int64 `json:"checkpoints"`
	ChangelogRecords int64 `json:"changelog_records"`
	Restored         int64 `json:"restored_records"` // replayed from changelogs at start
	RestoredBytes    int64 `json:"restored_bytes"`   // of their keys and values
	StandbyRecords   int64 `json:"standby_records"`  // replayed for copies of other instances' tasks
	StandbyBytes     int64 `json:"standby_bytes"`
	Rebuilt          int64 `json:"rebuilt_tasks"` // whose local state was unusable
	StateBytes       int64 `json:"state_bytes"`   // of the local database
}
