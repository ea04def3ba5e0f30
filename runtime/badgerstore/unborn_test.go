package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Badger makes a WAL and a value log at every start. A process that is killed
// between that and the first write leaves them without their header.
func TestALogThatWasJustMadeIsNoDamage(t *testing.T) {
	db := open(t, t.TempDir())
	if err := db.Checkpoint(3, []byte("position 1"), putMany(100, "v")); err != nil {
		t.Fatal(err)
	}
	killed := takeSnapshot(t, db.dir)
	for _, size := range []int{0, 1, logHeader - 1} {
		for _, name := range []string{"00077.mem", "000077.vlog"} {
			t.Run(fmt.Sprintf("%s of %d bytes", name, size), func(t *testing.T) {
				dir := t.TempDir()
				killed.write(t, dir)
				if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
					t.Fatal(err)
				}
				again := open(t, dir)
				if r, ok, err := again.CheckpointRecord(3); string(r) != "position 1" || !ok || err != nil {
					t.Fatalf("record %q %v %v", r, ok, err)
				}
			})
		}
	}
}

func TestALogThatWasCutToNothingIsNoticed(t *testing.T) {
	db := open(t, t.TempDir())
	if err := db.Checkpoint(3, []byte("position 1"), putMany(100, "v")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	takeSnapshot(t, db.dir).write(t, dir)
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(names) == 0 {
		t.Fatalf("found no WAL: %v", err)
	}
	for _, name := range names {
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "checkpoint 1 of task 3 was acknowledged") {
		t.Fatalf("expected the loss of a checkpoint, found %v", err)
	}
}
