package memstore

import (
	"slices"

	"github.com/millstream-io/millstream/streams/state"
)

// write is one change of a batch.
type write struct {
	p   partKey
	key string
	val []byte // nil deletes
}

// batch collects a transaction and commits it when it is full.
type batch struct {
	db     *DB
	t      state.TaskKey
	writes []write
}

// Checkpoint implements state.DB. If write fails, the transactions that were
// full before stay, as in Badger.
func (db *DB) Checkpoint(t state.TaskKey, record []byte, write func(state.Batch) error) error {
	b := &batch{db: db, t: t}
	if err := write(b); err != nil {
		return err
	}
	b.commit(append([]byte{}, record...))
	return nil
}

// Put implements state.Batch.
func (b *batch) Put(s state.StoreKey, key, value []byte) error {
	b.add(write{partKey{b.t, s}, string(key), append([]byte{}, value...)})
	return nil
}

// Delete implements state.Batch.
func (b *batch) Delete(s state.StoreKey, key []byte) error {
	b.add(write{partKey{b.t, s}, string(key), nil})
	return nil
}

// DeleteRange implements state.Batch. It also deletes what this checkpoint has put.
func (b *batch) DeleteRange(s state.StoreKey, from, to []byte) error {
	p := partKey{b.t, s}
	in := func(w write) bool {
		return w.p == p && w.key >= string(from) && (to == nil || w.key < string(to))
	}
	b.writes = slices.DeleteFunc(b.writes, in)
	for _, k := range b.db.keys(p, from, to) {
		b.add(write{p, k, nil})
	}
	return nil
}

func (b *batch) add(w write) {
	if len(b.writes) == b.db.txnEntries {
		b.commit(nil)
	}
	b.writes = append(b.writes, w)
}

// commit applies the collected writes as one transaction, with the record if it
// is the last one.
func (b *batch) commit(record []byte) {
	db := b.db
	db.mu.Lock()
	u := undo{task: b.t, old: make([]oldEntry, 0, len(b.writes))}
	for _, w := range b.writes {
		u.old = append(u.old, oldEntry{w.p, w.key, db.put(w.p, w.key, w.val)})
	}
	b.writes = b.writes[:0]
	if record != nil {
		u.record, u.wrote = db.records[b.t], true
		db.records[b.t] = record
	}
	db.pending = append(db.pending, u)
	after := db.after
	db.mu.Unlock()
	if after != nil {
		after()
	}
	if record != nil { // durable, and so is all that was committed before
		db.mu.Lock()
		clear(db.pending)
		db.pending = db.pending[:0]
		db.mu.Unlock()
	}
}
