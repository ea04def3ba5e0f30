//go:build unix

package wire

import (
	"errors"

	"golang.org/x/sys/unix"
)

const canPeek = true

// peerGone waits until there is something to read, or until the read deadline;
// true if that is the end of the connection.
func (c *conn) peerGone() (gone bool) {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	_ = raw.Read(func(fd uintptr) bool {
		n, err := again(func() (int, error) {
			n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
			return n, err
		})
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		gone = n <= 0
		return true
	})
	return gone
}

// again repeats an interrupted system call.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
