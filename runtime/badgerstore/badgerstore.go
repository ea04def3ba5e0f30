package badgerstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/streams/state"
)

// Config says where and how a DB is kept. The zero value of every field but Dir
// is its documented default.
type Config struct {
	// Dir is the directory; it is created if missing.
	Dir string
	// MemTableBytes is the size of Badger's memtable and so, times 0.15, of the
	// largest transaction. Default 8 MiB: measured, larger ones write no faster
	// and cost ten times their size in resident memory when writes saturate.
	MemTableBytes int64
	// Logger gets Badger's messages. Default: none.
	Logger *slog.Logger
}

// DB is a state.DB on Badger.
type DB struct {
	dir   string
	bdg   *badger.DB
	lock  io.Closer
	notes *journal
	users users
	// patience is closePatience; tests have less.
	patience time.Duration

	// afterTransaction, set by tests only, is called after each transaction of a
	// checkpoint.
	afterTransaction func()

	mu   sync.Mutex
	seqs map[state.TaskKey]uint64 // of each task's checkpoint record in force
}

var _ state.DB = (*DB)(nil)

// Open opens or creates the database. Its errors are one line each, name the
// directory or file and say what to do: ErrLocked, ErrFormat, ErrCorrupt, or
// what the operating system said. Every file is read once, so that damage is
// found here and not, as a panic, in one of Badger's goroutines.
func Open(cfg Config) (db *DB, err error) {
	defer recovered(cfg.Dir, "opening", &err)
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, openError(cfg.Dir, err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	db = &DB{dir: cfg.Dir, lock: lock, seqs: map[state.TaskKey]uint64{}, users: users{idle: make(chan struct{}, 1)}, patience: closePatience}
	if err := db.open(cfg); err != nil {
		if db.bdg != nil {
			err = errors.Join(err, db.bdg.Close())
		}
		return nil, errors.Join(err, lock.Close())
	}
	return db, nil
}

func lockDir(dir string) (io.Closer, error) {
	lock, err := vfs.OS().Lock(filepath.Join(dir, lockName), fmt.Sprintf("pid %d", os.Getpid()))
	var held *vfs.LockedError
	switch {
	case errors.As(err, &held):
		return nil, fmt.Errorf("state directory %s is %w by %s: stop that process, or choose another directory", dir, ErrLocked, held.Owner)
	case err != nil:
		return nil, openError(dir, err)
	}
	return lock, nil
}

func (db *DB) open(cfg Config) error {
	if err := checkFormat(cfg.Dir); err != nil {
		return err
	}
	if err := removeUnborn(cfg.Dir); err != nil {
		return openError(cfg.Dir, err)
	}
	if findings, err := inspect(cfg.Dir, false); err != nil {
		return openError(cfg.Dir, err)
	} else if len(findings) > 0 {
		f := findings[0]
		return corrupt(f.Path, "at offset %d: %s", f.Offset, f.What)
	}
	if err := os.Remove(filepath.Join(cfg.Dir, sumsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return openError(cfg.Dir, err)
	}
	var err error
	if db.bdg, err = badger.Open(badgerOptions(cfg)); err != nil {
		return openError(cfg.Dir, err)
	}
	return db.openRecords()
}

// removeUnborn removes write-ahead and value logs that are shorter than their
// header: the process ended between making the file and its first write, which
// happens at every start. They hold nothing. If one did before, and a disk has
// cut it, the journal of checkpoints tells. One that was there at a clean close
// is left to inspect, which knows its size.
func removeUnborn(dir string) error {
	sums, _, _, err := readSums(dir)
	if err != nil {
		return err
	}
	names, err := summed(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, known := sums[name]; known || !isLog(name) {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() >= logHeader {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func badgerOptions(cfg Config) badger.Options {
	memTable := cfg.MemTableBytes
	if memTable <= 0 {
		memTable = 8 << 20
	}
	return badger.DefaultOptions(cfg.Dir).
		WithSyncWrites(true). // FACTS: with large transactions it costs nothing, without it I2 breaks
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithBloomFalsePositive(0.01).
		WithNumVersionsToKeep(1).
		WithNumCompactors(2).
		WithNumMemtables(2).
		WithValueLogFileSize(16 << 20).
		WithValueThreshold(min(1<<20, memTable*15/100)).
		WithMemTableSize(memTable).
		WithLogger(newLogger(cfg.Logger))
}

// openRecords reads the checkpoint records and compares them with the journal.
func (db *DB) openRecords() error {
	path := filepath.Join(db.dir, journalName)
	noted, _, err := readJournal(path)
	if err != nil {
		return openError(db.dir, err)
	}
	err = db.scan([]byte{kindRecord}, []byte{kindRecord + 1}, true, func(key, value []byte) error {
		seq, _, ok := splitRecord(value)
		if len(key) != taskPrefix || !ok {
			return corrupt("state directory "+db.dir, "the checkpoint record of %x does not match its checksum", key[1:])
		}
		db.seqs[taskOf(key)] = seq
		return nil
	})
	if err != nil {
		return err
	}
	for t, seq := range noted {
		if db.seqs[t] < seq {
			return corrupt("state directory "+db.dir, "checkpoint %d of task %d was acknowledged, but the last one found is %d: the end of the write-ahead log is damaged", seq, t, db.seqs[t])
		}
	}
	if db.notes, err = openJournal(path, db.seqs); err != nil {
		return openError(db.dir, err)
	}
	return nil
}

// Get implements state.DB.
func (db *DB) Get(t state.TaskKey, s state.StoreKey, key, dst []byte) (value []byte, ok bool, err error) {
	return db.get(appendEntry(make([]byte, 0, storePrefix+len(key)), t, s, key), dst)
}

func (db *DB) get(key, dst []byte) (value []byte, ok bool, err error) {
	if !db.users.enter() {
		return dst, false, ErrClosed
	}
	defer db.users.leave()
	defer recovered(db.dir, "reading", &err)
	txn := db.bdg.NewTransaction(false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return dst, false, nil
	}
	if err == nil {
		err = item.Value(func(v []byte) error { dst = append(dst, v...); return nil })
	}
	if err != nil {
		return dst, false, db.readError(err)
	}
	return dst, true, nil
}

func (db *DB) readError(err error) error {
	if errors.Is(err, badger.ErrDBClosed) {
		return ErrClosed
	}
	return corrupt("state directory "+db.dir, "%v", err)
}

// Range implements state.DB. fn may call the database. A panic of fn is passed on.
func (db *DB) Range(t state.TaskKey, s state.StoreKey, from, to []byte, fn func(key, value []byte) bool) error {
	prefix := appendEntry(nil, t, s, nil)
	end := prefixEnd(prefix)
	if to != nil {
		end = appendEntry(nil, t, s, to)
	}
	err := db.scan(appendEntry(nil, t, s, from), end, true, func(key, value []byte) error {
		if !fn(key[len(prefix):], value) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// errStop ends a scan.
var errStop = errors.New("stop")

// scan calls fn for the keys in [from, end) in order, with their values if
// values is set, until fn fails.
func (db *DB) scan(from, end []byte, values bool, fn func(key, value []byte) error) (err error) {
	if !db.users.enter() {
		return ErrClosed
	}
	defer db.users.leave()
	inner := false // a panic of fn is not Badger's
	defer func() {
		if r := recover(); r != nil {
			if inner {
				panic(r)
			}
			err = panicError(db.dir, "scanning", r)
		}
	}()
	txn := db.bdg.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		if db.users.closed() {
			return ErrClosed // what is read goes on slowly: Close waits for it
		}
		item := it.Item()
		if end != nil && string(item.Key()) >= string(end) {
			return nil
		}
		if !values {
			inner = true
			err = fn(item.Key(), nil)
			inner = false
			if err != nil {
				return err
			}
			continue
		}
		var fnErr error
		err = item.Value(func(v []byte) error {
			inner = true
			fnErr = fn(item.Key(), v)
			inner = false
			return nil
		})
		if err != nil {
			return db.readError(err)
		}
		if fnErr != nil {
			return fnErr
		}
	}
	return nil
}

// CheckpointRecord implements state.DB.
func (db *DB) CheckpointRecord(t state.TaskKey) (record []byte, ok bool, err error) {
	b, ok, err := db.get(appendTask(nil, kindRecord, t), nil)
	if err != nil || !ok {
		return nil, false, err
	}
	_, record, ok = splitRecord(b)
	if !ok {
		return nil, false, corrupt("state directory "+db.dir, "the checkpoint record of task %d does not match its checksum", t)
	}
	return record, true, nil
}

// SizeBytes implements state.DB: what the files occupy, sparse ones without
// their holes.
func (db *DB) SizeBytes() int64 {
	var n int64
	entries, _ := os.ReadDir(db.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += occupied(info)
		}
	}
	return n
}

// CollectGarbage gives back space of the value log, which holds only values
// above 1 MiB; call it seldom (minutes).
func (db *DB) CollectGarbage() (err error) {
	if !db.users.enter() {
		return ErrClosed
	}
	defer db.users.leave()
	defer recovered(db.dir, "collecting garbage", &err)
	err = db.bdg.RunValueLogGC(0.5)
	if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
		return nil
	}
	return err
}

// Close writes what is in memory, closes the directory and leaves the checksums
// of all files (docs/format/badger.md, "CHECKSUMS"). Calls under way end, a Range
// at its next entry, with ErrClosed; one that does not within 10 s, because its
// function hangs, is ErrInUse: the directory is left open then, as a crash would
// leave it, and loses nothing. The second call does nothing.
func (db *DB) Close() (err error) {
	first, idle := db.users.close(db.patience)
	if !first {
		return nil
	}
	if !idle {
		return fmt.Errorf("closing state directory %s: %w", db.dir, ErrInUse)
	}
	defer recovered(db.dir, "closing", &err)
	err = errors.Join(db.bdg.Close(), db.notes.close())
	if err == nil {
		err = writeSums(db.dir)
	}
	if err = errors.Join(err, db.lock.Close()); err != nil {
		return fmt.Errorf("closing state directory %s: %w", db.dir, err)
	}
	return nil
}
