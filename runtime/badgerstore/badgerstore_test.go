package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/streams/state"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(Config{Dir: dir, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func putMany(n int, value string) func(state.Batch) error {
	return func(b state.Batch) error {
		for i := range n {
			if err := b.Put(1, fmt.Appendf(nil, "key-%06d", i), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestWhatWasCheckpointedIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if err := db.Checkpoint(3, []byte("position 1"), putMany(5000, "v")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	if r, ok, err := db.CheckpointRecord(3); string(r) != "position 1" || !ok || err != nil {
		t.Fatalf("record %q %v %v", r, ok, err)
	}
	if v, ok, err := db.Get(3, 1, []byte("key-004999"), []byte("x")); string(v) != "xv" || !ok || err != nil {
		t.Fatalf("got %q %v %v", v, ok, err)
	}
	if _, ok, err := db.Get(3, 2, []byte("key-004999"), nil); ok || err != nil {
		t.Fatalf("another store has it: %v %v", ok, err)
	}
	n := 0
	err := db.Range(3, 1, []byte("key-000010"), []byte("key-000020"), func(k, v []byte) bool { n++; return true })
	if n != 10 || err != nil {
		t.Fatalf("range of %d entries, %v; expected 10", n, err)
	}
}

func TestWipeLeavesOtherTasksAndCheckpointsGoOn(t *testing.T) {
	db := open(t, t.TempDir())
	for _, task := range []state.TaskKey{1, 2} {
		if err := db.Checkpoint(task, []byte("r"), putMany(10, "v")); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Wipe(1); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := db.CheckpointRecord(1); ok {
		t.Fatal("the wiped task has a record")
	}
	for task, want := range map[state.TaskKey]int{1: 0, 2: 10} {
		n := 0
		_ = db.Range(task, 1, nil, nil, func(k, v []byte) bool { n++; return true })
		if n != want {
			t.Fatalf("task %d has %d entries, expected %d", task, n, want)
		}
	}
	if err := db.Checkpoint(1, []byte("again"), putMany(1, "w")); err != nil {
		t.Fatal(err)
	}
	dir := db.dir
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, _, _ := open(t, dir).CheckpointRecord(1); string(r) != "again" {
		t.Fatalf("record %q after a wipe", r)
	}
}

func TestOpenErrorsNameTheDirectoryAndTheWayOut(t *testing.T) {
	base := t.TempDir()
	written := filepath.Join(base, "written")
	db := open(t, written)
	if err := db.Checkpoint(1, []byte("r"), putMany(100, "v")); err != nil {
		t.Fatal(err)
	}
	_, locked := Open(Config{Dir: written})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(base, "newer")
	file := filepath.Join(base, "file")
	for _, err := range []error{
		os.CopyFS(newer, os.DirFS(written)),
		os.WriteFile(filepath.Join(newer, formatName), []byte(formatPrefix+"9\n"), 0o644),
		os.WriteFile(file, nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, format := Open(Config{Dir: newer})
	_, notDir := Open(Config{Dir: file})
	for _, c := range []struct {
		err, is error
		names   string
	}{
		{locked, ErrLocked, "pid "}, {format, ErrFormat, newer}, {notDir, nil, file},
	} {
		if c.err == nil || (c.is != nil && !errors.Is(c.err, c.is)) || !strings.Contains(c.err.Error(), c.names) || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%v: expected one line that is %v and names %s", c.err, c.is, c.names)
		}
	}
}

func TestALostCheckpointIsNoticed(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	for i := range 3 {
		if err := db.Checkpoint(1, fmt.Append(nil, i), putMany(50, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	crashed := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	wals, _ := filepath.Glob(filepath.Join(crashed, "*.mem"))
	b, err := os.ReadFile(wals[0])
	if err != nil {
		t.Fatal(err)
	}
	b[4000] ^= 1
	if err := os.WriteFile(wals[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: crashed, MemTableBytes: 1 << 20}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a WAL with a flipped bit opened: %v", err)
	}
}
