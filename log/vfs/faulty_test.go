package vfs_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

func TestRulesFailTheOperationsTheyName(t *testing.T) {
	f := vfs.Faulty(vfs.NewMem())
	must(t, f.MkdirAll("/p-0"))
	log, index := create(t, f, "/p-0/1.log", "abc"), create(t, f, "/p-0/1.index", "i")
	f.SetRules(
		vfs.Rule{Ops: vfs.OpSync, Name: "*.log", Nth: 2, Err: syscall.EIO},
		vfs.Rule{Ops: vfs.OpWrite, Name: "/p-0/*.index", Err: syscall.ENOSPC},
		vfs.Rule{Ops: vfs.OpRename | vfs.OpRemove, From: 2, Err: syscall.EROFS},
	)
	for i, bad := range []bool{false, true, false} {
		if err := log.Sync(); errors.Is(err, syscall.EIO) != bad {
			t.Errorf("sync %d: %v", i+1, err)
		}
		must(t, index.Sync())
	}
	if _, err := index.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("index write: %v", err)
	}
	if _, err := log.WriteAt([]byte("A"), 0); err != nil {
		t.Errorf("log write: %v", err)
	}
	must(t, f.Rename("/p-0/1.log", "/p-0/2.log"))
	if err := f.Rename("/p-0/2.log", "/p-0/3.log"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("second rename: %v", err)
	}
	if err := f.Remove("/p-0/2.log"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("remove after it: %v", err)
	}
	want(t, "log", content(t, f, "/p-0/2.log"), "Abc")
	want(t, "index", content(t, f, "/p-0/1.index"), "i")
	f.SetRules()
	must(t, f.Remove("/p-0/2.log"))
	if n := f.Count(vfs.OpSync); n != 6 {
		t.Errorf("%d syncs counted, want 6", n)
	}
	if n := f.Count(vfs.OpRename | vfs.OpRemove); n != 4 {
		t.Errorf("%d renames and removes counted, want 4", n)
	}
}

func TestShortWritesLeaveTheirBeginning(t *testing.T) {
	f := vfs.Faulty(vfs.NewMem())
	h := create(t, f, "/f", "")
	f.SetRules(vfs.Rule{Ops: vfs.OpWrite, Err: syscall.ENOSPC, Short: 4})
	n, err := h.WritevAt([][]byte{[]byte("abc"), []byte("def")}, 0)
	if n != 4 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v; want 4 and ENOSPC", n, err)
	}
	want(t, "file", content(t, f, "/f"), "abcd")
}

func TestHooksSeeEveryMutationAndMayClone(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.Faulty(m)
	var before, after []string
	var sizes []int
	f.SetHooks(
		func(e vfs.Event) { before = append(before, e.Op.String()+" "+e.Name) },
		func(e vfs.Event) {
			after = append(after, e.Op.String()+" "+e.Name)
			sizes = append(sizes, len(tree(t, crash(m, 100, 1), "/")))
			if e.Op == vfs.OpSyncDir && !errors.Is(e.Err, syscall.EIO) {
				t.Errorf("the hook does not see the failure: %v", e.Err)
			}
		})
	h := create(t, f, "/a", "x")
	must(t, h.Sync())
	must(t, f.Link("/a", "/b"))
	f.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Err: syscall.EIO})
	if err := f.SyncDir("/"); !errors.Is(err, syscall.EIO) {
		t.Errorf("SyncDir: %v", err)
	}
	_, _ = f.Stat("/a")
	wantOps := []string{"create /a", "write /a", "sync /a", "link /b", "syncdir /"}
	for i, op := range wantOps {
		if i >= len(before) || i >= len(after) || before[i] != op || after[i] != op {
			t.Fatalf("hooks saw %q and %q, want %q", before, after, wantOps)
		}
	}
	if len(before) != len(wantOps) || sizes[0] != 1 || sizes[3] != 2 {
		t.Errorf("hooks saw %q; files in the clones %v", before, sizes)
	}
}
