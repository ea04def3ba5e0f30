package vfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// OS returns the operating system's file system.
//
// It is stateless: two calls return equal values. Directories are made with
// mode 0o755 and files with 0o644, before the umask.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (osFS) OpenReadWrite(name string) (File, error) { return openOS(name, os.O_RDWR) }

func openOS(name string, flags int) (File, error) {
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{f: f}, nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

func (osFS) Link(oldname, newname string) error { return os.Link(oldname, newname) }

func (osFS) MkdirAll(name string) error { return os.MkdirAll(name, 0o755) }

func (osFS) ReadDir(name string) ([]string, error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (osFS) Stat(name string) (os.FileInfo, error) { return os.Stat(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = syncDir(d)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (osFS) FreeBytes(name string) (uint64, error) {
	free, _, err := diskBytes(name)
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return free, nil
}

func (osFS) TotalBytes(name string) (uint64, error) {
	_, total, err := diskBytes(name)
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return total, nil
}

// osFile is an open file of the operating system.
type osFile struct{ f *os.File }

func (o *osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }
func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }
func (o *osFile) Truncate(size int64) error                { return o.f.Truncate(size) }
func (o *osFile) Close() error                             { return o.f.Close() }

func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	if off < 0 {
		return 0, o.wrap("pwritev", fmt.Errorf("negative offset %d", off))
	}
	n, err := writevAt(o.f, bufs, off)
	return n, o.wrap("pwritev", err)
}

func (o *osFile) Preallocate(size int64) error {
	return o.wrap("fallocate", preallocate(o.f, size))
}

func (o *osFile) Sync() error { return o.wrap("fdatasync", fdatasync(o.f)) }

// SyscallFile gives the descriptor behind a File of OS for sendfile; ok is
// false for every other file system, where the caller copies instead.
func SyscallFile(f File) (file *os.File, ok bool) {
	o, ok := f.(*osFile)
	if !ok {
		return nil, false
	}
	return o.f, true
}

// wrap names the file in an error of a call that package os does not make.
func (o *osFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*os.PathError); ok {
		return err
	}
	return &os.PathError{Op: op, Path: o.f.Name(), Err: err}
}

// lockPath is the name under which one process remembers its own locks.
func lockPath(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return filepath.Clean(name)
	}
	return abs
}
