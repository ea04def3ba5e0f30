package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

// TestFileSystemsAgree runs what the log relies on against every
// implementation, each in an empty directory.
func TestFileSystemsAgree(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (vfs.FS, string){
		"OS":     func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() },
		"Mem":    func(t *testing.T) (vfs.FS, string) { return memWithDir(t) },
		"Faulty": func(t *testing.T) (vfs.FS, string) { m, d := memWithDir(t); return vfs.Faulty(m), d },
	} {
		t.Run(name, func(t *testing.T) {
			for claim, test := range map[string]func(*testing.T, vfs.FS, string){
				"reads what was written":       testReadWrite,
				"writes vectors":               testVectors,
				"truncates and extends":        testTruncate,
				"create truncates":             testCreateTruncates,
				"renames over and links":       testRenameLink,
				"lists and removes":            testDirectories,
				"reports what is missing":      testMissing,
				"removed files stay usable":    testRemovedOpen,
				"locks exclude and name owner": testLock,
			} {
				t.Run(claim, func(t *testing.T) {
					fsys, dir := open(t)
					test(t, fsys, dir)
				})
			}
		})
	}
}

func memWithDir(t *testing.T) (*vfs.Mem, string) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("/d"))
	return m, "/d"
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, fsys vfs.FS, name, data string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	if n, err := f.WriteAt([]byte(data), 0); n != len(data) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(data), err)
	}
	return f
}

func content(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	return fileContent(t, f)
}

func fileContent(t testing.TB, f vfs.File) string {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size+1))
	must(t, err)
	if int64(len(b)) != size {
		t.Fatalf("read %d bytes of a file of %d", len(b), size)
	}
	return string(b)
}

func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}

func testReadWrite(t *testing.T, fsys vfs.FS, dir string) {
	name := path.Join(dir, "f")
	f := create(t, fsys, name, "hello")
	_, err := f.WriteAt([]byte("J"), 0)
	must(t, err)
	_, err = f.WriteAt([]byte("!"), 7)
	must(t, err)
	want(t, "hole", fileContent(t, f), "Jello\x00\x00!")
	buf := make([]byte, 4)
	if n, err := f.ReadAt(buf, 6); n != 2 || err != io.EOF {
		t.Errorf("read across the end: %d, %v; want 2, EOF", n, err)
	}
	if n, err := f.ReadAt(buf, 100); n != 0 || err != io.EOF {
		t.Errorf("read behind the end: %d, %v; want 0, EOF", n, err)
	}
	must(t, f.Preallocate(1<<16))
	if size, err := f.Size(); size != 8 || err != nil {
		t.Errorf("size after Preallocate %d, %v; want 8", size, err)
	}
	must(t, f.Sync())
	must(t, fsys.SyncDir(dir))
	must(t, f.Close())
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write to a closed file: %v", err)
	}
	r, err := fsys.Open(name)
	must(t, err)
	defer r.Close()
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	if n, err := fsys.FreeBytes(dir); n == 0 || err != nil {
		t.Errorf("free bytes %d, %v", n, err)
	} else if all, err := fsys.TotalBytes(dir); all < n || err != nil {
		t.Errorf("%d bytes in all, %d free, %v", all, n, err)
	}
}

func testVectors(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, path.Join(dir, "f"), "0123456789")
	defer f.Close()
	var bufs [][]byte
	var all []byte
	for i := range 2500 { // more than one system call takes
		b := bytes.Repeat([]byte{byte('a' + i%26)}, i%5)
		bufs, all = append(bufs, b), append(all, b...)
	}
	n, err := f.WritevAt(bufs, 4)
	if n != len(all) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(all), err)
	}
	want(t, "vectors", fileContent(t, f), "0123"+string(all))
	for i := range bufs {
		if len(bufs[i]) != i%5 {
			t.Fatal("the caller's buffers were changed")
		}
	}
	if n, err := f.WritevAt(nil, 0); n != 0 || err != nil {
		t.Errorf("no buffers: %d, %v", n, err)
	}
}

func testTruncate(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, path.Join(dir, "f"), "0123456789")
	defer f.Close()
	must(t, f.Truncate(3))
	must(t, f.Truncate(6))
	want(t, "cut and extended", fileContent(t, f), "012\x00\x00\x00")
}

func testCreateTruncates(t *testing.T, fsys vfs.FS, dir string) {
	name := path.Join(dir, "f")
	must(t, create(t, fsys, name, "old old").Close())
	must(t, create(t, fsys, name, "new").Close())
	f, err := fsys.OpenReadWrite(name)
	must(t, err)
	_, err = f.WriteAt([]byte("er"), 3)
	must(t, err)
	must(t, f.Close())
	want(t, "after Create and OpenReadWrite", content(t, fsys, name), "newer")
}

func testRenameLink(t *testing.T, fsys vfs.FS, dir string) {
	a, b, c := path.Join(dir, "a"), path.Join(dir, "b"), path.Join(dir, "c")
	must(t, create(t, fsys, a, "A").Close())
	must(t, create(t, fsys, b, "B").Close())
	must(t, fsys.Link(b, c))
	must(t, fsys.Rename(a, b))
	want(t, "renamed over", content(t, fsys, b), "A")
	want(t, "linked", content(t, fsys, c), "B")
	if err := fsys.Link(b, c); !errors.Is(err, fs.ErrExist) {
		t.Errorf("link over a file: %v", err)
	}
	names, err := fsys.ReadDir(dir)
	if err != nil || !slices.Equal(names, []string{"b", "c"}) {
		t.Errorf("names %v, %v", names, err)
	}
	must(t, fsys.MkdirAll(path.Join(dir, "sub", "x")))
	must(t, fsys.Rename(path.Join(dir, "sub"), path.Join(dir, "moved")))
	if _, err := fsys.Stat(path.Join(dir, "moved", "x")); err != nil {
		t.Errorf("a directory moves with what it holds: %v", err)
	}
	if err := fsys.Rename(path.Join(dir, "moved"), path.Join(dir, "moved", "x", "y")); err == nil {
		t.Error("a directory moved into itself")
	}
}

func testDirectories(t *testing.T, fsys vfs.FS, dir string) {
	sub := path.Join(dir, "x", "y")
	must(t, fsys.MkdirAll(sub))
	must(t, fsys.MkdirAll(sub))
	must(t, create(t, fsys, path.Join(sub, "f"), "1").Close())
	if err := fsys.Remove(sub); err == nil {
		t.Error("a directory with a file in it was removed")
	}
	info, err := fsys.Stat(sub)
	if err != nil || !info.IsDir() || info.Name() != "y" {
		t.Errorf("stat of a directory: %v, %v", info, err)
	}
	info, err = fsys.Stat(path.Join(sub, "f"))
	if err != nil || info.IsDir() || info.Size() != 1 {
		t.Errorf("stat of a file: %v, %v", info, err)
	}
	must(t, fsys.Remove(path.Join(sub, "f")))
	must(t, fsys.Remove(sub))
	must(t, fsys.RemoveAll(path.Join(dir, "x")))
	must(t, fsys.RemoveAll(path.Join(dir, "x")))
	if names, err := fsys.ReadDir(dir); len(names) != 0 || err != nil {
		t.Errorf("left over: %v, %v", names, err)
	}
}

func testMissing(t *testing.T, fsys vfs.FS, dir string) {
	no := path.Join(dir, "no")
	_, openErr := fsys.Open(no)
	_, rwErr := fsys.OpenReadWrite(no)
	_, statErr := fsys.Stat(no)
	_, readErr := fsys.ReadDir(no)
	_, createErr := fsys.Create(path.Join(no, "f"))
	_, freeErr := fsys.FreeBytes(no)
	_, totalErr := fsys.TotalBytes(no)
	for op, err := range map[string]error{
		"Open": openErr, "OpenReadWrite": rwErr, "Stat": statErr, "ReadDir": readErr, "Create": createErr, "FreeBytes": freeErr, "TotalBytes": totalErr,
		"Remove": fsys.Remove(no), "Rename": fsys.Rename(no, no+"2"), "Link": fsys.Link(no, no+"2"), "SyncDir": fsys.SyncDir(no),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a missing name: %v, want fs.ErrNotExist", op, err)
		}
	}
}

func testRemovedOpen(t *testing.T, fsys vfs.FS, dir string) {
	name := path.Join(dir, "f")
	f := create(t, fsys, name, "still here")
	defer f.Close()
	must(t, fsys.Remove(name))
	want(t, "removed but open", fileContent(t, f), "still here")
	must(t, create(t, fsys, name, "another").Close())
	want(t, "another of that name", fileContent(t, f), "still here")
}

func testLock(t *testing.T, fsys vfs.FS, dir string) {
	name := path.Join(dir, "LOCK")
	l, err := fsys.Lock(name, "pid 4711")
	must(t, err)
	want(t, "lock file", content(t, fsys, name), "pid 4711\n")
	var locked *vfs.LockedError
	if _, err := fsys.Lock(name, "pid 2"); !errors.As(err, &locked) || locked.Owner != "pid 4711" || locked.Name != name {
		t.Fatalf("second holder: %v", err)
	}
	must(t, l.Close())
	must(t, l.Close())
	l, err = fsys.Lock(name, "pid 3")
	must(t, err)
	want(t, "next owner", content(t, fsys, name), "pid 3\n")
	must(t, l.Close())
}
