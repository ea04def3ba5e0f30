package badgerstore

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// slowRead reads a database until let is closed within its first entry; done gets
// what Range returned, and how many entries it handed over.
func slowRead(t *testing.T, db *DB) (let chan struct{}, done chan error, seen *int) {
	t.Helper()
	if err := db.Checkpoint(1, []byte("r"), putMany(5000, "v")); err != nil {
		t.Fatal(err)
	}
	let, done, seen = make(chan struct{}), make(chan error, 1), new(int)
	began := make(chan struct{})
	go func() {
		done <- db.Range(1, 1, nil, nil, func(_, value []byte) bool {
			if *seen++; *seen == 1 {
				close(began)
				<-let
			}
			return string(value) == "v"
		})
	}()
	<-began
	return let, done, seen
}

func TestCloseWaitsForWhoReads(t *testing.T) {
	db := open(t, t.TempDir())
	let, done, seen := slowRead(t, db)
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	for !db.users.closed() {
		runtime.Gosched()
	}
	if _, _, err := db.Get(1, 1, []byte("key-000001"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Get while it closes: %v, expected ErrClosed", err)
	}
	if err := db.Wipe(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Wipe while it closes: %v, expected ErrClosed", err)
	}
	select {
	case err := <-closed:
		t.Fatalf("closed beside a reader: %v", err)
	default:
	}
	close(let)
	if err := <-done; !errors.Is(err, ErrClosed) || *seen != 1 {
		t.Errorf("the reader got %d entries and %v, expected one and ErrClosed", *seen, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestCloseLeavesOpenWhatIsReadForGood(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	let, done, _ := slowRead(t, db)
	db.patience = time.Millisecond
	if err := db.Close(); !errors.Is(err, ErrInUse) {
		t.Errorf("Close: %v, expected ErrInUse", err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("opening what is still read: %v, expected ErrLocked", err)
	}
	close(let)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the reader got %v, expected ErrClosed", err)
	}
	if err := errors.Join(db.bdg.Close(), db.notes.close(), db.lock.Close()); err != nil { // as the process's end would
		t.Fatal(err)
	}
	if r, ok, err := open(t, dir).CheckpointRecord(1); string(r) != "r" || !ok || err != nil {
		t.Errorf("after it the checkpoint record is %q, %v, %v", r, ok, err)
	}
}
