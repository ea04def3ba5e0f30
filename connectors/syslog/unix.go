package syslog

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// maxUnixPath is the longest path of a unix socket that every system takes: the
// smallest sun_path has 104 bytes, the last of which is NUL.
const maxUnixPath = 103

// socketFile is the path of a unix socket that we made.
type socketFile struct {
	path string
	made fs.FileInfo
}

// clearPath makes a path free for a unix socket: one that nobody listens on any
// more is removed; a live one, or a file of another kind, is an error.
func clearPath(network, path string) error {
	if strings.HasPrefix(path, "@") {
		return nil
	}
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there and is no socket (%v): remove it or choose another path", path, fi.Mode())
	}
	conn, err := net.Dial(network, path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%s: %w", path, ErrSocketInUse)
	case errors.Is(err, syscall.EPROTOTYPE): // a live socket of the other kind
		return fmt.Errorf("%s: %w (of another kind than %s)", path, ErrSocketInUse, network)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("%s is there, and whether somebody listens on it cannot be found out: %w", path, err)
}

// remember takes down what was made at a path, after giving it its mode.
func remember(path string, mode fs.FileMode) (socketFile, error) {
	if strings.HasPrefix(path, "@") {
		return socketFile{}, nil
	}
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			return socketFile{}, err
		}
	}
	fi, err := os.Lstat(path)
	return socketFile{path, fi}, err
}

// remove removes the path if it is still the socket that was made.
func (f socketFile) remove() error {
	if f.made == nil {
		return nil
	}
	fi, err := os.Lstat(f.path)
	if err != nil || !os.SameFile(fi, f.made) {
		return nil // somebody else's now, or gone
	}
	return os.Remove(f.path)
}
