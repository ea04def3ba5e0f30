package syslog

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raiseReceiveBuffer asks for size bytes, past the system's limit where the
// process may, and returns what it got (the kernel doubles what it is asked for
// and uses half for bookkeeping).
func raiseReceiveBuffer(conn *net.UDPConn, size int) (got int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
		got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return got / 2
}

// SO_MEMINFO's answer, from linux/sock_diag.h: nine 32-bit numbers, the last of
// which counts the datagrams dropped on this socket.
const (
	memInfoNumbers = 9
	memInfoDrops   = 8
)

// kernelDrops is the number of datagrams that the kernel dropped on this socket.
func kernelDrops(conn *net.UDPConn) (drops int64) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		var info [memInfoNumbers]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 {
			drops = int64(info[memInfoDrops])
		}
	})
	return drops
}
