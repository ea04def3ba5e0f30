package badgerstore

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"

	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/state"
)

// contents is all that a database says of some tasks.
func contents(t *testing.T, db state.DB) string {
	t.Helper()
	var b bytes.Buffer
	for task := range state.TaskKey(3) {
		r, ok, err := db.CheckpointRecord(task)
		fmt.Fprintf(&b, "task %d: %q %v %v\n", task, r, ok, err)
		for s := range state.StoreKey(3) {
			err := db.Range(task, s, nil, nil, func(k, v []byte) bool {
				fmt.Fprintf(&b, "%d %x=%d:%.20x\n", s, k, len(v), v)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.String()
}

func randomKey(rng *rand.Rand) []byte {
	k := make([]byte, rng.Intn(4))
	for i := range k {
		k[i] = []byte{0, 1, 0x7f, 0xff}[rng.Intn(4)]
	}
	return k
}

// randomChanges returns a checkpoint's changes, the same for every Batch.
func randomChanges(rng *rand.Rand) func(state.Batch) error {
	seed, n := rng.Int63(), rng.Intn(60)
	return func(b state.Batch) error {
		rng := rand.New(rand.NewSource(seed))
		for range n {
			s := state.StoreKey(rng.Intn(3))
			var err error
			switch op := rng.Intn(20); {
			case op < 13:
				err = b.Put(s, randomKey(rng), bytes.Repeat([]byte{byte(op)}, rng.Intn(40)))
			case op == 13 && rng.Intn(4) == 0:
				err = b.Put(s, randomKey(rng), bytes.Repeat([]byte{0xee}, 300_000)) // to the value log
			case op < 18:
				err = b.Delete(s, randomKey(rng))
			case op == 18:
				err = b.DeleteRange(s, randomKey(rng), randomKey(rng))
			default:
				err = b.DeleteRange(s, nil, randomKey(rng))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func TestBadgerstoreAgreesWithMemstore(t *testing.T) {
	for seed := range int64(6) {
		rng := rand.New(rand.NewSource(seed))
		dir := t.TempDir()
		db, model := open(t, dir), memstore.New(1+rng.Intn(50))
		for i := range 40 {
			task := state.TaskKey(rng.Intn(3))
			switch op := rng.Intn(20); {
			case op < 15:
				changes, record := randomChanges(rng), fmt.Append(nil, "record ", i)
				for _, d := range []state.DB{db, model} {
					if err := d.Checkpoint(task, record, changes); err != nil {
						t.Fatal(err)
					}
				}
			case op < 16:
				for _, d := range []state.DB{db, model} {
					if err := d.Wipe(task); err != nil {
						t.Fatal(err)
					}
				}
			case op < 18:
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open(t, dir)
			}
			from, to := randomKey(rng), randomKey(rng)
			if got, want := read(db, task, from, to), read(model, task, from, to); got != want {
				t.Fatalf("seed %d step %d: task %d from %x to %x:\n got %s\nwant %s", seed, i, task, from, to, got, want)
			}
		}
		if got, want := contents(t, db), contents(t, model); got != want {
			t.Fatalf("seed %d:\n got %s\nwant %s", seed, got, want)
		}
		if err := db.CollectGarbage(); err != nil {
			t.Fatal(err)
		}
	}
}

// read is one Range and one Get as text.
func read(db state.DB, task state.TaskKey, from, to []byte) string {
	var s string
	err := db.Range(task, 1, from, to, func(k, v []byte) bool {
		s += fmt.Sprintf("%x=%d ", k, len(v))
		return len(s) < 100
	})
	v, ok, getErr := db.Get(task, 1, from, []byte("x"))
	return fmt.Sprintf("%s; %.20x %v %v %v", s, v, ok, err, getErr)
}
