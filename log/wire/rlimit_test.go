//go:build unix

package wire

import "golang.org/x/sys/unix"

// descriptors is the limit of open files, raised as far as it may be.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 256
	}
	l.Cur = l.Max
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return int(min(l.Cur, 1<<20))
}
