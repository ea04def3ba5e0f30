//go:build unix

package broker

import "golang.org/x/sys/unix"

// halfOfOpenFiles is half of RLIMIT_NOFILE, at most 4096.
func halfOfOpenFiles() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 512
	}
	return int(min(uint64(r.Cur)/2, 4096))
}
