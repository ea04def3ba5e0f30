package segment

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// smallPartition writes a closed directory with every kind of file: rolled
// segments, an aborted and an open transaction, snapshots, two leader epochs.
func smallPartition(t testing.TB, fs vfs.FS) Config {
	t.Helper()
	cfg := testConfig(fs, Settings{SegmentBytes: 500, IndexIntervalBytes: 60})
	l, _ := mustOpen(t, cfg, OpenOptions{})
	mustAppend(t, l, plain, kv{key: "k", value: "v", time: 5})
	l.Abandon()
	l, _ = mustOpen(t, cfg, OpenOptions{RecoveryPoint: 1})
	for i := range 3 {
		mustAppend(t, l, plain, kv{key: "k", value: fmt.Sprint(i), time: int64(10 + i)})
		mustAppend(t, l, batchOpts{pid: 5, seq: int32(i), txn: true}, kv{key: "t", value: "x", time: int64(20 + i)})
	}
	if _, err := l.AppendMarker(5, 0, record.Marker{Type: record.AbortMarker, CoordinatorEpoch: 1}, 30); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, batchOpts{pid: 6, seq: 0, txn: true, codec: record.Zstd}, kv{key: "t", value: "y", time: 31})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func findings(t testing.TB, fs vfs.FS, cfg Config) (list []Finding) {
	t.Helper()
	if _, err := Verify(fs, cfg.Dir, VerifyOptions{TopicID: cfg.TopicID}, func(f Finding) { list = append(list, f) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestVerifyReportsEveryFlippedByte(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallPartition(t, fs)
	if list := findings(t, fs, cfg); len(list) != 0 {
		t.Fatalf("findings in a good directory: %v", list)
	}
	names, err := fs.ReadDir(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	flips := 0
	for _, name := range names {
		path := filepath.Join(cfg.Dir, name)
		b, err := readFile(fs, path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := fs.OpenReadWrite(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := range b {
			for _, mask := range []byte{0x01, 0x04, 0x80, 0xff} {
				flips++
				if _, err := f.WriteAt([]byte{b[at] ^ mask}, int64(at)); err != nil {
					t.Fatal(err)
				}
				if list := findings(t, fs, cfg); len(list) == 0 {
					t.Errorf("%s: byte %d flipped by %#x: not reported", name, at, mask)
				}
			}
			if _, err := f.WriteAt(b[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	t.Logf("%d flips in %d files", flips, len(names))
}

// A live partition grows between the look at a segment's size and that at its indexes.
func TestVerifyOfALivePartitionAllowsIndexesThatAreNewer(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(fs, Settings{IndexIntervalBytes: 60})
	l, _ := mustOpen(t, cfg, OpenOptions{})
	for i := range 5 {
		mustAppend(t, l, plain, kv{key: "k", value: fmt.Sprint(i), time: int64(i)})
	}
	path := fileName(cfg.Dir, 0, suffixLog)
	b, err := readFile(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plain, kv{key: "k", value: "newer", time: 9})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenReadWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
	for upTo, good := range map[record.Offset]bool{5: true, 0: false} {
		var list []Finding
		if _, err := Verify(fs, cfg.Dir, VerifyOptions{TopicID: cfg.TopicID, UpTo: upTo}, func(f Finding) { list = append(list, f) }); err != nil {
			t.Fatal(err)
		}
		if good != (len(list) == 0) {
			t.Errorf("up to %d: findings %v, want none: %v", upTo, list, good)
		}
	}
}
