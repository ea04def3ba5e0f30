// Package memstore is a state.DB in memory with Badger's durability model: what
// tests of tasks and engines run on, the model that badgerstore is tested
// against, and the engine's choice when state need not be kept.
//
// A checkpoint is a sequence of transactions; a crash keeps any prefix of the
// sequence (CrashClone). Every method may be called from any goroutine.
package memstore

import (
	"maps"
	"slices"
	"sync"

	"github.com/millstream-io/millstream/streams/state"
)

// DefaultTxnEntries is the size of a transaction unless New is told another.
const DefaultTxnEntries = 1000

// DB is a database in memory.
type DB struct {
	txnEntries int

	mu      sync.Mutex
	parts   map[partKey]*part
	records map[state.TaskKey][]byte
	pending []undo // of transactions whose checkpoint has not finished, in the order of their commit
	bytes   int64
	after   func()
}

var _ state.DB = (*DB)(nil)

type partKey struct {
	t state.TaskKey
	s state.StoreKey
}

// part is one store of one task.
type part struct {
	views []*view           // of the Ranges under way
	m     map[string][]byte // values are never written in place
	keys  []string          // sorted; nil when it must be made again
}

// undo takes one transaction back: what stood there before it.
type undo struct {
	task   state.TaskKey
	old    []oldEntry
	record []byte // the task's record before
	wrote  bool   // the transaction wrote the record
}

type oldEntry struct {
	p   partKey
	key string
	val []byte // nil: there was none
}

// New returns an empty database whose transactions hold at most txnEntries
// entries (0: DefaultTxnEntries).
func New(txnEntries int) *DB {
	if txnEntries <= 0 {
		txnEntries = DefaultTxnEntries
	}
	return &DB{txnEntries: txnEntries, parts: map[partKey]*part{}, records: map[state.TaskKey][]byte{}}
}

// AfterTransaction has fn called after every transaction of a checkpoint, from
// the goroutine that checkpoints: the instant for a crash clone.
func (db *DB) AfterTransaction(fn func()) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.after = fn
}

// CrashClone returns the database as a crash would leave it: of the
// transactions whose checkpoint has not finished (Pending), the first keep.
// Finished checkpoints are whole, and with them all that was written before.
func (db *DB) CrashClone(keep int) *DB {
	db.mu.Lock()
	defer db.mu.Unlock()
	c := New(db.txnEntries)
	c.bytes = db.bytes
	c.records = maps.Clone(db.records)
	for k, p := range db.parts {
		c.parts[k] = &part{m: maps.Clone(p.m)}
	}
	for i := len(db.pending) - 1; i >= max(keep, 0); i-- {
		u := db.pending[i]
		for _, o := range slices.Backward(u.old) {
			c.put(o.p, o.key, o.val)
		}
		if u.wrote {
			c.setRecord(u.task, u.record)
		}
	}
	return c
}

// Pending is the number of transactions that CrashClone chooses from.
func (db *DB) Pending() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.pending)
}

// put sets or (nil) deletes an entry and returns what was there.
func (db *DB) put(k partKey, key string, value []byte) (old []byte) {
	p := db.parts[k]
	if p == nil {
		p = &part{m: map[string][]byte{}}
		db.parts[k] = p
	}
	old, had := p.m[key]
	p.keep(key, old)
	switch {
	case value == nil && had:
		delete(p.m, key)
		p.keys = nil
		db.bytes -= int64(len(key))
	case value != nil && !had:
		p.keys = nil
		db.bytes += int64(len(key))
	}
	if value != nil {
		p.m[key] = value
	}
	db.bytes += int64(len(value)) - int64(len(old))
	return old
}

func (db *DB) setRecord(t state.TaskKey, record []byte) {
	if record == nil {
		delete(db.records, t)
	} else {
		db.records[t] = record
	}
}

// Get implements state.DB.
func (db *DB) Get(t state.TaskKey, s state.StoreKey, key, dst []byte) (value []byte, ok bool, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if p := db.parts[partKey{t, s}]; p != nil {
		if v, ok := p.m[string(key)]; ok {
			return append(dst, v...), true, nil
		}
	}
	return dst, false, nil
}

// Range implements state.DB. It reads the entries as they are when it begins,
// whatever is written or wiped meanwhile. fn may call the database.
func (db *DB) Range(t state.TaskKey, s state.StoreKey, from, to []byte, fn func(key, value []byte) bool) error {
	v, keys := db.open(partKey{t, s}, from, to)
	if v == nil {
		return nil
	}
	defer db.done(v)
	const chunk = 128
	var kb, vb []byte // borrowed by fn: the next call overwrites them, as Badger's would be
	values := make([][]byte, 0, min(chunk, len(keys)))
	for len(keys) > 0 {
		n := min(chunk, len(keys))
		values = db.values(values[:0], v, keys[:n])
		for i, k := range keys[:n] {
			kb, vb = append(kb[:0], k...), append(vb[:0], values[i]...)
			if !fn(kb, vb) {
				return nil
			}
		}
		keys = keys[n:]
	}
	return nil
}

// view is a part as it was at a moment, for one Range.
type view struct {
	p      *part             // also once it is wiped
	before map[string][]byte // of what was written since: what was there
}

// open begins a view of a part, of its keys in [from, to), or nil where there are none.
func (db *DB) open(k partKey, from, to []byte) (*view, []string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	p := db.parts[k]
	if p == nil {
		return nil, nil
	}
	keys := p.sorted(from, to)
	if len(keys) == 0 {
		return nil, nil
	}
	v := &view{p: p}
	p.views = append(p.views, v)
	return v, keys
}

// keys are those of a part in [from, to), sorted; the slice is never written again.
func (db *DB) keys(k partKey, from, to []byte) []string {
	db.mu.Lock()
	defer db.mu.Unlock()
	if p := db.parts[k]; p != nil {
		return p.sorted(from, to)
	}
	return nil
}

func (p *part) sorted(from, to []byte) []string {
	if p.keys == nil {
		p.keys = slices.Sorted(maps.Keys(p.m))
	}
	i, _ := slices.BinarySearch(p.keys, string(from))
	j := len(p.keys)
	if to != nil {
		j, _ = slices.BinarySearch(p.keys, string(to))
	}
	return p.keys[i:max(i, j)]
}

func (db *DB) done(v *view) {
	db.mu.Lock()
	defer db.mu.Unlock()
	v.p.views = slices.DeleteFunc(v.p.views, func(other *view) bool { return other == v })
}

// values appends the value that each key had when the view was opened.
func (db *DB) values(dst [][]byte, v *view, keys []string) [][]byte {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, key := range keys {
		value, written := v.before[key]
		if !written {
			value = v.p.m[key]
		}
		dst = append(dst, value)
	}
	return dst
}

// keep notes in the views of a part what was there before a write.
func (p *part) keep(key string, old []byte) {
	for _, v := range p.views {
		if _, written := v.before[key]; written {
			continue
		}
		if v.before == nil {
			v.before = map[string][]byte{}
		}
		v.before[key] = old
	}
}

// CheckpointRecord implements state.DB.
func (db *DB) CheckpointRecord(t state.TaskKey) (record []byte, ok bool, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	r, ok := db.records[t]
	return slices.Clone(r), ok, nil
}

// Wipe implements state.DB.
func (db *DB) Wipe(t state.TaskKey) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.records, t)
	for k, p := range db.parts {
		if k.t == t {
			for key, v := range p.m {
				db.bytes -= int64(len(key) + len(v))
			}
			delete(db.parts, k)
		}
	}
	db.pending = slices.DeleteFunc(db.pending, func(u undo) bool { return u.task == t })
	return nil
}

// SizeBytes implements state.DB: keys and values.
func (db *DB) SizeBytes() int64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.bytes
}

// Close implements state.DB. The database stays readable.
func (db *DB) Close() error { return nil }
