package memstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/streams/state"
)

func read(db *DB, t state.TaskKey) string {
	var s string
	_ = db.Range(t, 1, nil, nil, func(k, v []byte) bool { s += fmt.Sprintf("%s=%s ", k, v); return true })
	if r, ok, _ := db.CheckpointRecord(t); ok {
		s += "record " + string(r)
	}
	return s
}

func TestACrashKeepsAPrefixOfTheTransactions(t *testing.T) {
	db := New(2)
	first := func(b state.Batch) error {
		for _, k := range []string{"a", "b", "c", "d"} {
			if err := b.Put(1, []byte(k), []byte("1")); err != nil {
				return err
			}
		}
		return nil
	}
	if err := db.Checkpoint(7, []byte("R1"), first); err != nil {
		t.Fatal(err)
	}
	const r1 = "a=1 b=1 c=1 d=1 record R1"
	var clones []string
	db.AfterTransaction(func() {
		clones = clones[:0]
		for i := range db.Pending() + 1 {
			clones = append(clones, read(db.CrashClone(i), 7))
		}
	})
	err := db.Checkpoint(7, []byte("R2"), func(b state.Batch) error {
		return errors.Join(b.Put(1, []byte("a"), []byte("2")), b.Delete(1, []byte("b")),
			b.DeleteRange(1, []byte("c"), nil), b.Put(1, []byte("e"), []byte("2")))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{r1, "a=2 c=1 d=1 record R1", "a=2 record R1", "a=2 e=2 record R2"}
	if fmt.Sprint(clones) != fmt.Sprint(want) {
		t.Fatalf("crash clones\n got %q\nwant %q", clones, want)
	}
	if got := read(db.CrashClone(0), 7); got != want[3] {
		t.Fatalf("after the checkpoint returned a crash leaves %q, expected %q", got, want[3])
	}
}

func TestWipeTakesOneTaskOnly(t *testing.T) {
	db := New(0)
	for _, task := range []state.TaskKey{1, 2} {
		_ = db.Checkpoint(task, []byte("R"), func(b state.Batch) error { return b.Put(1, []byte("k"), []byte("v")) })
	}
	if err := db.Wipe(1); err != nil {
		t.Fatal(err)
	}
	if a, b := read(db, 1), read(db, 2); a != "" || b != "k=v record R" {
		t.Fatalf("task 1 %q, task 2 %q", a, b)
	}
	if n := db.SizeBytes(); n != 2 {
		t.Fatalf("%d bytes, expected 2", n)
	}
}

// A Range shows the entries of its beginning, in one look at the map or in several:
// not those of a checkpoint beside it, and not the end of a task that is given up.
func TestARangeReadsWhatWasThereWhenItBegan(t *testing.T) {
	const entries = 1000
	fill := func(value string) func(b state.Batch) error {
		return func(b state.Batch) error {
			for i := range entries {
				if err := b.Put(1, fmt.Appendf(nil, "%04d", i), []byte(value)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for what, meanwhile := range map[string]func(*DB) error{
		"written": func(db *DB) error {
			return errors.Join(db.Checkpoint(1, nil, fill("new")), db.Checkpoint(1, nil, fill("newer")))
		},
		"deleted": func(db *DB) error {
			return db.Checkpoint(1, nil, func(b state.Batch) error { return b.DeleteRange(1, nil, nil) })
		},
		"added": func(db *DB) error {
			return db.Checkpoint(1, nil, func(b state.Batch) error { return b.Put(1, []byte("0000+"), []byte("new")) })
		},
		"wiped":            func(db *DB) error { return db.Wipe(1) },
		"wiped and filled": func(db *DB) error { return errors.Join(db.Wipe(1), db.Checkpoint(1, nil, fill("new"))) },
	} {
		db := New(0)
		if err := db.Checkpoint(1, nil, fill("old")); err != nil {
			t.Fatal(err)
		}
		seen := 0
		err := db.Range(1, 1, []byte("0100"), nil, func(key, value []byte) bool {
			if seen++; seen == 1 {
				if err := meanwhile(db); err != nil {
					t.Error(err)
				}
			}
			if string(value) != "old" {
				t.Errorf("%s meanwhile: %s is %q", what, key, value)
			}
			return !t.Failed()
		})
		if err != nil || seen != entries-100 {
			t.Errorf("%s meanwhile: %d entries seen of %d, error %v", what, seen, entries-100, err)
		}
		for k, p := range db.parts {
			if len(p.views) > 0 {
				t.Errorf("%s meanwhile: part %v keeps a view", what, k)
			}
		}
	}
}
