// Package state is what the operators need of a state store: bytes by key.
//
// A store belongs to one task. Its operators read what is committed through a
// Backend; what the running transaction has changed is theirs alone, in
// streams/internal/cache, until it is committed. A Spec describes a store to
// the planner; the database that checkpoints all stores of a process is a DB
// (runtime/badgerstore, runtime/memstore).
package state

import "github.com/millstream-io/millstream/streams/serde"

// Kind says how a store is keyed.
type Kind uint8

const (
	// KeyValue: the encoded key; values are timestamped (see AppendValue).
	KeyValue Kind = iota
	// Window: the window's start, then the encoded key (see AppendWindowKey), so
	// that live windows are neighbours and expiry is a range.
	Window
)

// Spec describes one store of a topology. It holds nothing typed but the two
// serdes, which the runtime only hands back to typed code (queries) and prints.
type Spec struct {
	// Name is what its changelog is named after, and the state itself is known by.
	Name string
	// Alias is what the program calls it now, where Name is its former name
	// (streams.FormerName); else empty.
	Alias     string
	Kind      Kind
	Changelog bool   // a changelog topic makes it survive the loss of the directory
	KeySerde  any    // serde.Serde[K]
	ValSerde  any    // serde.Serde[V]
	SerdeName string // "string,int64": part of the topology's fingerprint
	// KeyText and ValText are the serdes for those who do not know the types:
	// queries over HTTP. nil: nobody can read it.
	KeyText, ValText serde.Text
	// ByRecordKey says that an entry's key is the key of the records it was made of,
	// so that their partitioner has chosen its task too.
	ByRecordKey bool

	// Of window stores, in milliseconds.
	SizeMS, AdvanceMS, GraceMS int64
	RetentionMS                int64 // how long after its start a window is kept; at least size + grace
}

// Called is what the program and its queries call the store.
func (s Spec) Called() string {
	if s.Alias != "" {
		return s.Alias
	}
	return s.Name
}

// Backend reads the committed entries of one store of one task. It is called
// from the task's goroutine only.
type Backend interface {
	// Get appends the value of key to dst. ok is false if there is none.
	Get(key, dst []byte) (value []byte, ok bool, err error)
	// Range calls fn for the entries with from <= key < to in key order, until
	// fn returns false. A nil to has no end. Key and value are borrowed.
	Range(from, to []byte, fn func(key, value []byte) bool) error
}

// TaskKey and StoreKey are the short prefixes under which a DB keeps what
// belongs to a task and a store. The engine hands them out and records them.
type (
	TaskKey  uint32
	StoreKey uint16
)

// DB is the local database of one process: the checkpointed state of all its
// tasks. Calls for different tasks may run at once; calls for one task come
// from one goroutine at a time, but Get and Range may run beside a Checkpoint.
//
// Durability: a checkpoint is written in as many transactions as it takes. Any
// prefix of them may survive a crash; the checkpoint record is the last and
// survives only if everything before it did. Entries are absolute values, so
// rolling the changelog forward over a partial checkpoint gives the same state.
type DB interface {
	// Get appends the value to dst.
	Get(t TaskKey, s StoreKey, key, dst []byte) (value []byte, ok bool, err error)
	// Range is Backend.Range on one store.
	Range(t TaskKey, s StoreKey, from, to []byte, fn func(key, value []byte) bool) error
	// Checkpoint runs write, which puts and deletes entries through the Batch,
	// then writes record as the task's checkpoint record, and returns once all
	// of it is durable.
	Checkpoint(t TaskKey, record []byte, write func(Batch) error) error
	// CheckpointRecord returns the record of the last complete checkpoint.
	CheckpointRecord(t TaskKey) (record []byte, ok bool, err error)
	// Wipe deletes everything of a task, the checkpoint record first.
	Wipe(t TaskKey) error
	// SizeBytes is the database's size on disk.
	SizeBytes() int64
	Close() error
}

// Batch takes the entries of a checkpoint. It copies what it is given.
type Batch interface {
	Put(s StoreKey, key, value []byte) error
	Delete(s StoreKey, key []byte) error
	// DeleteRange deletes from <= key < to.
	DeleteRange(s StoreKey, from, to []byte) error
}
