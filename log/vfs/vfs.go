// Package vfs is the file-system seam of the log: everything that the log and
// the checkpoints read or write on disk goes through an FS.
//
// Two implementations exist. OS is the operating system's file system. Mem is
// an in-memory twin that remembers which bytes and which directory entries
// were synced, so that a test can clone it as it might look after a power cut
// (CrashClone), and that fails on demand by rules (Faulty).
//
// Everything here may be called from several goroutines at once. Names are
// slash-separated paths as in package path/filepath on Unix.
package vfs

import (
	"io"
	"io/fs"
)

// FS opens, lists and changes files and directories.
//
// Durability follows POSIX as Linux practises it: File.Sync makes a file's
// bytes and length durable; a created, renamed or removed directory entry is
// durable only after SyncDir of its directory.
type FS interface {
	// Create makes an empty file for reading and writing, truncating one that exists.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenReadWrite opens an existing file for reading and writing, without truncating it.
	OpenReadWrite(name string) (File, error)
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename replaces newname by oldname atomically; both are in one file system.
	Rename(oldname, newname string) error
	// Link makes newname another name of the file oldname.
	Link(oldname, newname string) error
	// MkdirAll creates a directory with its parents.
	MkdirAll(name string) error
	// ReadDir lists the names in a directory in lexical order.
	ReadDir(name string) ([]string, error)
	// Stat describes a file or directory. A missing one gives fs.ErrNotExist.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive advisory lock on a file, creating it if needed,
	// and writes owner into it. Held by another process (or another holder of
	// the same Mem), it fails with *LockedError that names that owner.
	Lock(name, owner string) (io.Closer, error)
	// Gate opens a gate of that name; see Gate.
	Gate(name string) (Gate, error)
	// FreeBytes is the space left for this process in the file system of name.
	FreeBytes(name string) (uint64, error)
	// TotalBytes is the size of the file system of name.
	TotalBytes(name string) (uint64, error)
}

// File is an open file. ReadAt and WriteAt may run at once on disjoint ranges.
type File interface {
	io.Closer
	io.ReaderAt
	io.WriterAt
	// WritevAt writes the buffers one after the other from offset off, in one
	// system call where the platform can. It returns the bytes written.
	WritevAt(bufs [][]byte, off int64) (int, error)
	// Size is the length in bytes.
	Size() (int64, error)
	// Truncate cuts or extends (with zeros) to size bytes.
	Truncate(size int64) error
	// Preallocate reserves space up to size bytes without changing the length
	// (FALLOC_FL_KEEP_SIZE); a platform or file system that cannot, does nothing.
	Preallocate(size int64) error
	// Sync makes the bytes and the length durable (fdatasync).
	Sync() error
}

// LockedError says that a directory is in use.
type LockedError struct {
	Name  string // the lock file
	Owner string // what the holder wrote into it, e.g. "pid 4711"
}

func (e *LockedError) Error() string {
	return e.Name + " is locked by " + e.Owner + ": another process uses this directory; stop it, or choose another directory"
}
