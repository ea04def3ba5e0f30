package badgerstore

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/millstream-io/millstream/streams/state"
)

// prefixOf checks that db holds checkpoint r whole and of checkpoint r+1 a
// prefix, where checkpoint i puts n keys, each with the value i. It returns the
// length of the prefix.
func prefixOf(t *testing.T, db *DB, n int) (r, prefix int) {
	t.Helper()
	rec, _, err := db.CheckpointRecord(1)
	if err != nil {
		t.Fatal(err)
	}
	r, _ = strconv.Atoi(string(rec))
	i, old := 0, false
	err = db.Range(1, 1, nil, nil, func(k, v []byte) bool {
		if want := fmt.Sprintf("key-%06d", i); string(k) != want {
			t.Fatalf("key %q, expected %q", k, want)
		}
		switch string(v) {
		case fmt.Sprint(r + 1):
			if old {
				t.Fatalf("%s is of checkpoint %d, an earlier key is not: not a prefix", k, r+1)
			}
			prefix++
		case fmt.Sprint(r):
			old = true
		default:
			t.Fatalf("%s=%s under the record of checkpoint %d", k, v, r)
		}
		i++
		return true
	})
	if err != nil || (r > 0 && i != n) {
		t.Fatalf("%d keys under the record of checkpoint %d, expected %d; %v", i, r, n, err)
	}
	return r, prefix
}

func TestACrashBetweenTransactionsLeavesAPrefix(t *testing.T) {
	const n = 5000
	db := open(t, t.TempDir())
	if err := db.Checkpoint(1, []byte("1"), putMany(n, "1")); err != nil {
		t.Fatal(err)
	}
	var snaps []snapshot
	db.afterTransaction = func() { snaps = append(snaps, takeSnapshot(t, db.dir)) }
	if err := db.Checkpoint(1, []byte("2"), putMany(n, "2")); err != nil {
		t.Fatal(err)
	}
	if len(snaps) < 3 {
		t.Fatalf("%d transactions, expected several", len(snaps))
	}
	last := 0
	for i, s := range snaps {
		dir := filepath.Join(t.TempDir(), "crashed")
		s.write(t, dir)
		if found, err := Verify(dir); len(found) > 0 || err != nil {
			t.Fatalf("Verify after transaction %d: %v %v", i+1, found, err)
		}
		r, prefix := prefixOf(t, open(t, dir), n)
		if i == len(snaps)-1 {
			if r != 2 || prefix != 0 {
				t.Fatalf("after the last transaction: checkpoint %d and %d keys more", r, prefix)
			}
		} else if r != 1 || prefix <= last {
			t.Fatalf("after transaction %d: checkpoint %d and %d keys of the next, %d before", i+1, r, prefix, last)
		}
		last = prefix
	}
}

const childDir = "MILLSTREAM_TEST_CHECKPOINT_DIR"

// TestChildCheckpoints is the child of the test below: it checkpoints until it
// is killed.
func TestChildCheckpoints(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("runs as a child of TestKillDuringCheckpoints")
	}
	db := open(t, dir)
	rec, _, _ := db.CheckpointRecord(1)
	r, _ := strconv.Atoi(string(rec))
	db.afterTransaction = func() { fmt.Println("transaction") }
	for {
		r++
		if err := db.Checkpoint(1, fmt.Append(nil, r), putMany(4000, fmt.Sprint(r))); err != nil {
			t.Fatal(err)
		}
		fmt.Println("checkpoint", r)
	}
}

func TestKillDuringCheckpoints(t *testing.T) {
	dir := t.TempDir()
	partial, rounds := 0, 0
	for ; rounds < 4 || partial == 0 && rounds < 20; rounds++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChildCheckpoints$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked, seen := 0, 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, _ := fmt.Sscanf(lines.Text(), "checkpoint %d", &acked); n == 1 {
				seen++
			} else if seen == 2+2*min(rounds, 3) { // within the next one
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if seen == 0 {
			t.Fatal("the child finished no checkpoint")
		}
		db := open(t, dir)
		r, prefix := prefixOf(t, db, 4000)
		if r < acked {
			t.Fatalf("round %d: checkpoint %d was acknowledged, %d is found", rounds, acked, r)
		}
		if prefix > 0 {
			partial++
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if found, err := Verify(dir); len(found) > 0 || err != nil {
			t.Fatalf("round %d: %v %v", rounds, found, err)
		}
	}
	t.Logf("%d of %d kills left a partial checkpoint", partial, rounds)
	if partial == 0 {
		t.Error("no kill left a partial checkpoint: the test shows less than it says")
	}
}

var _ state.DB = (*DB)(nil)

// TestATableThatWasBeingWrittenIsNoDamage: a kill between the creation of a
// table and its entry in the MANIFEST leaves a file that Badger removes.
func TestATableThatWasBeingWrittenIsNoDamage(t *testing.T) {
	for _, content := range []string{"", "the first bytes of a table"} {
		dir := t.TempDir()
		if err := open(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "000077.sst")
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if found, err := Verify(dir); err != nil || len(found) > 0 {
			t.Errorf("Verify: %v %v, want nothing", found, err)
		}
		db, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatalf("open with a table of %d bytes that the MANIFEST does not name: %v", len(content), err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
