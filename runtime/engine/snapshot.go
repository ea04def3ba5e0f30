package engine

import "time"

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
