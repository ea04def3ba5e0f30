package segment

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

// A full disk: appends fail and leave nothing behind, reads go on, and when
// space returns the log goes on where it was, without a restart.
func TestAFullDiskLosesNothingAndHeals(t *testing.T) {
	for _, rule := range []vfs.Rule{
		{Ops: vfs.OpWrite, Name: "*.log", Err: syscall.ENOSPC, Short: 30},
		{Ops: vfs.OpCreate, Err: syscall.ENOSPC},
		{Ops: vfs.OpWrite | vfs.OpCreate, Err: syscall.ENOSPC},
	} {
		fs := vfs.Faulty(vfs.NewMem())
		cfg := testConfig(fs, Settings{SegmentBytes: 300, IndexIntervalBytes: 60})
		l, _ := mustOpen(t, cfg, OpenOptions{})
		var want []string
		for i := range 30 {
			broken := i%7 > 4
			if broken {
				fs.SetRules(rule)
			} else {
				fs.SetRules()
			}
			_, err := l.Append(buildBatch(t, batchOpts{pid: 1, seq: int32(len(want))}, kv{key: "k", value: fmt.Sprint(i)}), AppendOptions{Now: 1})
			switch {
			case err == nil:
				want = append(want, fmt.Sprintf("%d:k=%d", len(want), i))
			case !broken || !errors.Is(err, ErrStorage) || !errors.Is(err, syscall.ENOSPC):
				t.Fatalf("append %d, broken %v: %v", i, broken, err)
			}
			if info, err := fs.Stat(l.active().log.path); err != nil || info.Size() != l.active().size.Load() {
				t.Fatalf("after append %d: the file has %d bytes, %d of them whole batches (%v)", i, info.Size(), l.active().size.Load(), err)
			}
			if got := readAll(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("after append %d: got %v, want %v", i, got, want)
			}
		}
		fs.SetRules()
		if len(want) == 30 && rule.Name != "" {
			t.Error("the fault never hit")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l2, r := mustOpen(t, cfg, OpenOptions{Clean: true})
		if got := readAll(t, l2); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("reopened (%+v): got %v, want %v", r, got, want)
		}
		verifyClean(t, fs, l2)
	}
}

func TestAFailedFdatasyncIsNeverRepeated(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		fs := vfs.Faulty(vfs.NewMem())
		cfg := testConfig(fs, Settings{SegmentBytes: 100})
		l, _ := mustOpen(t, cfg, OpenOptions{})
		mustAppend(t, l, plain, kv{key: "a"})
		mustAppend(t, l, plain, kv{key: "b"}) // rolls: the directory is to be synced too
		fs.SetRules(vfs.Rule{Ops: op, Err: io.ErrUnexpectedEOF})
		if err := l.Sync(2); !errors.Is(err, ErrOffline) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: sync: %v", op, err)
		}
		fs.SetRules()
		before := fs.Count(vfs.OpSync | vfs.OpSyncDir)
		if err := l.Sync(2); !errors.Is(err, ErrOffline) || l.Durable() != 0 {
			t.Errorf("%v: second sync: %v, durable %d", op, err, l.Durable())
		}
		if n := fs.Count(vfs.OpSync | vfs.OpSyncDir); n != before {
			t.Errorf("%v: %d syncs after the failed one", op, n-before)
		}
		l.Abandon()
		if l2, _ := mustOpen(t, cfg, OpenOptions{}); l2.Durable() != 2 {
			t.Errorf("%v: reopened: durable %d, want 2", op, l2.Durable())
		}
	}
}

// The producer state of removed segments lives on in the next one's snapshot,
// which must be durable before they go.
func TestADuplicateIsKnownAfterItsSegmentIsRemovedAndThePowerFails(t *testing.T) {
	fs := vfs.NewMem()
	if err := errors.Join(fs.MkdirAll("/data"), fs.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(fs, Settings{})
	l, _ := mustOpen(t, cfg, OpenOptions{})
	batch := batchOpts{pid: 4, seq: 0}
	mustAppend(t, l, batch, kv{key: "a"})
	if err := errors.Join(l.Roll(0), l.DeleteBefore(1)); err != nil {
		t.Fatal(err)
	}
	cfg.FS = fs.CrashClone(vfs.CrashConfig{})
	l2, _ := mustOpen(t, cfg, OpenOptions{LogStart: 1})
	if res := mustAppend(t, l2, batch, kv{key: "a"}); !res.Duplicate || res.Base != 0 {
		t.Errorf("the retried batch was appended again: %+v", res)
	}
}
