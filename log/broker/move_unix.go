//go:build unix

package broker

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lockedByKafka asks whether a process holds Kafka's lock file, which Java locks
// with fcntl.
func lockedByKafka(name string) (bool, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return false, err
	}
	return l.Type != syscall.F_UNLCK, nil
}
