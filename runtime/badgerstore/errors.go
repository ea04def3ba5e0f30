package badgerstore

import "errors"

var (
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("another process has it open")
	// ErrCorrupt: the directory cannot be trusted. The way out is to delete it:
	// the state is rebuilt from the changelogs.
	ErrCorrupt = errors.New("corrupt state directory")
	// ErrFormat: the directory was written by a newer version.
	ErrFormat = errors.New("written by a newer version")
)
