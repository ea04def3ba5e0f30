package vfs

import (
	"io"
	"os"
	"strings"
	"sync"
)

// heldLocks are the lock files that this process holds, by absolute path.
//
// An advisory lock belongs to the open file description, so flock alone
// already excludes a second holder in the same process; the table serves the
// platforms without flock and gives the owner even when the file is unreadable.
var heldLocks = struct {
	mu     sync.Mutex
	owners map[string]string // absolute path -> owner
}{owners: map[string]string{}}

// maxOwner bounds how much of a lock file is read for an error message.
const maxOwner = 256

// Lock takes the lock in two steps: the table of this process, then the
// system's advisory lock. The owner is written only once both are held. The
// file stays after the release: removing it would race with the next holder.
func (osFS) Lock(name, owner string) (io.Closer, error) {
	path := lockPath(name)
	heldLocks.mu.Lock()
	defer heldLocks.mu.Unlock()
	if holder, ok := heldLocks.owners[path]; ok {
		return nil, &LockedError{Name: name, Owner: holder}
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	locked, err := tryLock(f)
	if err == nil && !locked {
		err = &LockedError{Name: name, Owner: readOwner(f)}
	}
	if err == nil {
		err = writeOwner(f, owner)
	}
	if err != nil {
		_ = f.Close() // releases the lock too
		return nil, err
	}
	heldLocks.owners[path] = owner
	return &osLock{path: path, f: f}, nil
}

type osLock struct {
	path string
	once sync.Once
	f    *os.File
	err  error
}

// Close releases the lock; a second call does nothing.
func (l *osLock) Close() error {
	l.once.Do(func() {
		heldLocks.mu.Lock()
		defer heldLocks.mu.Unlock()
		delete(heldLocks.owners, l.path)
		l.err = l.f.Close()
	})
	return l.err
}

func readOwner(f *os.File) string {
	buf := make([]byte, maxOwner)
	n, _ := f.ReadAt(buf, 0)
	owner := strings.TrimSpace(string(buf[:n]))
	if owner == "" {
		return "an unknown process"
	}
	return owner
}

func writeOwner(f *os.File, owner string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(owner+"\n"), 0)
	return err
}
