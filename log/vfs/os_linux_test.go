//go:build linux

package vfs_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

func TestPreallocateReservesWithoutLength(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f := create(t, vfs.OS(), name, "x")
	defer f.Close()
	must(t, f.Preallocate(1<<20))
	info, err := vfs.OS().Stat(name)
	must(t, err)
	if info.Size() != 1 {
		t.Errorf("size %d, want 1", info.Size())
	}
	st := info.Sys().(*syscall.Stat_t)
	t.Logf("%d KiB allocated", st.Blocks/2) // 0 where the file system cannot
	if _, ok := vfs.SyscallFile(f); !ok {
		t.Error("no descriptor behind a file of OS")
	}
}
