package badgerstore

import (
	"log/slog"

	"github.com/millstream-io/millstream/streams/state"
)

// Config says where and how a DB is kept. The zero value of every field but Dir
// is its documented default.
type Config struct {
	// Dir is the directory; it is created if missing.
	Dir string
	// MemTableBytes is the size of Badger's memtable and so, times 0.15, of the
	// largest transaction. Default 16 MiB.
	MemTableBytes int64
	// Logger gets Badger's messages. Default: none.
	Logger *slog.Logger
}

// DB is a state.DB on Badger.
type DB struct{}

var _ state.DB = (*DB)(nil)

// Open opens or creates the database. Its errors are one line each, name the
// directory or file and say what to do; see errors.go.
func Open(cfg Config) (*DB, error) { panic("soon") }

// Get implements state.DB.
func (db *DB) Get(t state.TaskKey, s state.StoreKey, key, dst []byte) (value []byte, ok bool, err error) {
	panic("soon")
}

// Range implements state.DB.
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

// CollectGarbage gives back space of the value log; call it seldom (minutes).
func (db *DB) CollectGarbage() error { panic("soon") }

// Close writes what is in memory and closes the directory cleanly.
func (db *DB) Close() error { panic("soon") }
