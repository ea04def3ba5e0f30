package wire

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const canSendfile = true

// sendfileStep is how much one call may send before the deadline is renewed.
const sendfileStep = 4 << 20

// sendMore sends bytes that more will follow at once: the kernel need not make
// a packet of them alone (MSG_MORE).
func (c *conn) sendMore(b []byte) error {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return err
	}
	for len(b) > 0 {
		if err := c.takeTime(); err != nil {
			return err
		}
		var n int
		var serr error
		err := raw.Write(func(fd uintptr) bool {
			n, serr = again(func() (int, error) {
				return unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			})
			return !errors.Is(serr, unix.EAGAIN)
		})
		if err = errors.Join(err, serr); err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
		b = b[n:]
	}
	return nil
}

// sendfile sends size bytes of f from pos without reading them.
//
// net.TCPConn.ReadFrom would use the file's own position, which all readers of
// a segment share; so the offset is passed to the system call.
func (c *conn) sendfile(f *os.File, pos, size int64) (sent int64, err error) {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	// The range keeps the file open, so the descriptor stays valid.
	in := int(f.Fd())
	for sent < size {
		if err := c.takeTime(); err != nil {
			return sent, err
		}
		var n int
		var serr error
		err := raw.Write(func(fd uintptr) bool {
			n, serr = again(func() (int, error) {
				at := pos + sent
				return unix.Sendfile(int(fd), in, &at, int(min(size-sent, sendfileStep)))
			})
			return !errors.Is(serr, unix.EAGAIN)
		})
		if err = errors.Join(err, serr); err != nil {
			return sent, os.NewSyscallError("sendfile", err)
		}
		if n == 0 {
			return sent, errShortRange
		}
		sent += int64(n)
	}
	runtime.KeepAlive(f)
	return sent, nil
}
