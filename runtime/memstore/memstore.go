// Package memstore is a state.DB in memory with Badger's durability model: what
// tests of tasks and engines run on, the model that badgerstore is tested
// against, and the engine's choice when state need not be kept.
//
// A checkpoint is a sequence of transactions; a crash keeps any prefix of the
// sequence (CrashClone). Every method may be called from any goroutine.
package memstore

import "github.com/millstream-io/millstream/streams/state"

// DB is a database in memory.
type DB struct{}

var _ state.DB = (*DB)(nil)

// New returns an empty database whose transactions hold at most txnEntries
// entries (0: 1000).
func New(txnEntries int) *DB { panic("soon") }

// CrashClone returns the database as a crash would leave it: of the
// transactions that a running Checkpoint has written but not yet made durable,
// the first keep. Finished checkpoints are whole.
func (db *DB) CrashClone(keep int) *DB { panic("soon") }

// Pending is the number of transactions that CrashClone chooses from.
func (db *DB) Pending() int { panic("soon") }

// Get implements state.DB.
func (db *DB) Get(t state.TaskKey, s state.StoreKey, key, dst []byte) (value []byte, ok bool, err error) {
	panic("soon")
}

// Range implements state.DB. fn may call the database.
func (db *DB) Range(t state.TaskKey, s state.StoreKey, from, to []byte, fn func(key, value []byte) bool) error {
	panic("soon")
}

// Checkpoint implements state.DB.
func (db *DB) Checkpoint(t state.TaskKey, record []byte, write func(state.Batch) error) error {
	panic("soon")
}

// CheckpointRecord implements state.DB.
func (db *DB) CheckpointRecord(t state.TaskKey) (record []byte, ok bool, err error) { panic("soon") }

// Wipe implements state.DB.
func (db *DB) Wipe(t state.TaskKey) error { panic("soon") }

// SizeBytes implements state.DB.
func (db *DB) SizeBytes() int64 { panic("soon") }

// Close implements state.DB.
func (db *DB) Close() error { panic("soon") }
