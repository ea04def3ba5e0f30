package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

var (
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("in use")
	// ErrCorrupt: the directory cannot be trusted. The way out is to delete it:
	// the state is rebuilt from the changelogs.
	ErrCorrupt = errors.New("corrupt")
	// ErrFormat: the directory was written by a newer version.
	ErrFormat = errors.New("of a newer format")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("the state database is closed")
	// ErrInUse: Close has waited in vain for a call under way.
	ErrInUse = errors.New("a query still reads it; nothing is lost, the next start reads it as after a crash")
)

// corrupt is the error of a file that cannot be trusted.
func corrupt(path, format string, args ...any) error {
	return fmt.Errorf("%s is %w: %s; delete the state directory, the state is rebuilt from the changelogs", path, ErrCorrupt, oneLine(fmt.Sprintf(format, args...)))
}

// openError says in one line what kept dir from being opened.
func openError(dir string, err error) error {
	switch msg := oneLine(err.Error()); {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("state directory %s cannot be written: %w; give this user the right to write there, or choose another directory", dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("state directory %s: %w; make room on that disk, nothing is lost", dir, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("state directory %s is not a directory: %w; choose another one", dir, err)
	case strings.Contains(msg, "unsupported version"):
		return fmt.Errorf("state directory %s is %w (%s); use the version that wrote it, or delete the directory, the state is rebuilt from the changelogs", dir, ErrFormat, msg)
	default:
		return corrupt("state directory "+dir, "%s", msg)
	}
}

// oneLine keeps Badger's stack traces and advice out of messages.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(s)
}

// recovered turns a panic of Badger into err: no panic crosses the API. It must
// be deferred itself, not called by what is deferred.
func recovered(dir, doing string, err *error) {
	if r := recover(); r != nil {
		*err = panicError(dir, doing, r)
	}
}

func panicError(dir, doing string, r any) error {
	return corrupt("state directory "+dir, "Badger panicked while %s: %v", doing, r)
}
