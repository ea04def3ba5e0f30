package syslog_test

import (
	"net"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams sends many datagrams with one system call: the sender must not be
// what limits a test on two processors.
type datagrams struct {
	raw      syscall.RawConn
	buf      []byte
	ends     []int
	messages []unix.Mmsghdr
	vectors  []unix.Iovec
}

func newDatagrams(t *testing.T, conn net.Conn) batchWriter {
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return &datagrams{raw: raw}
}

func (d *datagrams) add(line []byte) {
	d.buf = append(d.buf, line...)
	d.ends = append(d.ends, len(d.buf))
}

func (d *datagrams) flush() (lines int64, err error) {
	d.messages, d.vectors = make([]unix.Mmsghdr, len(d.ends)), make([]unix.Iovec, len(d.ends))
	from := 0
	for i, end := range d.ends {
		d.vectors[i].Base = &d.buf[from]
		d.vectors[i].SetLen(end - from)
		d.messages[i].Hdr.Iov = &d.vectors[i]
		d.messages[i].Hdr.SetIovlen(1)
		from = end
	}
	for done := 0; done < len(d.messages) && err == nil; {
		werr := d.raw.Write(func(fd uintptr) bool {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&d.messages[done])), uintptr(len(d.messages)-done), 0, 0, 0)
			switch errno {
			case 0:
				done += int(n)
				lines += int64(n)
			case unix.EAGAIN:
				return false
			case unix.EINTR:
			default:
				err = errno
			}
			return true
		})
		if err == nil {
			err = werr
		}
	}
	d.buf, d.ends = d.buf[:0], d.ends[:0]
	return lines, err
}
