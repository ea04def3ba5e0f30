package syslog

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetReader takes up to datagramBatch datagrams with one system call
// (recvmmsg). One goroutine at a time.
//
// Invariant: messages[i] points at vectors[i] and names[i], and vectors[i] at
// the i-th stride of buf.
type packetReader struct {
	raw      syscall.RawConn
	buf      []byte
	stride   int
	messages [datagramBatch]unix.Mmsghdr
	vectors  [datagramBatch]unix.Iovec
	names    [datagramBatch]unix.RawSockaddrAny

	receive func(fd uintptr) bool // made once: a closure per call would be garbage
	n       int
	errno   syscall.Errno
}

func newPacketReader(sock packetSocket, stride int) (*packetReader, error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &packetReader{raw: raw, stride: stride, buf: make([]byte, stride*datagramBatch)}
	for i := range r.messages {
		r.vectors[i].Base = &r.buf[i*stride]
		r.vectors[i].SetLen(stride)
		h := &r.messages[i].Hdr
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
	}
	r.receive = r.tryReceive
	return r, nil
}

// tryReceive is false if there is nothing to receive now.
func (r *packetReader) tryReceive(fd uintptr) bool {
	for i := range r.messages {
		r.messages[i].Hdr.Namelen = unix.SizeofSockaddrAny
		r.names[i].Addr.Family = unix.AF_UNSPEC
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages[0])), datagramBatch,
			unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		switch errno {
		case 0:
			r.n, r.errno = int(n), 0
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			r.n = 0
			return false
		default:
			r.n, r.errno = 0, errno
			return true
		}
	}
}

// read waits for datagrams and returns how many came.
func (r *packetReader) read() (int, error) {
	if err := r.raw.Read(r.receive); err != nil {
		return 0, err
	}
	if r.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", r.errno)
	}
	return r.n, nil
}

// datagram is the i-th of the last read, borrowed until the next one. size is
// how long it was; data may be less. from is not valid for unix sockets.
func (r *packetReader) datagram(i int) (data []byte, size int, from netip.AddrPort) {
	size = int(r.messages[i].Len)
	data = r.buf[i*r.stride:][:min(size, r.stride)]
	switch r.names[i].Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.names[i]))
		from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), networkOrder(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&r.names[i]))
		addr := netip.AddrFrom16(a.Addr)
		if a.Scope_id != 0 {
			addr = addr.WithZone(strconv.Itoa(int(a.Scope_id)))
		}
		from = netip.AddrPortFrom(addr, networkOrder(a.Port))
	}
	return data, size, from
}

func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// poll returns how many datagrams there are without waiting, whatever the
// socket's deadline.
func (r *packetReader) poll() (n int) {
	r.raw.Control(func(fd uintptr) {
		if r.tryReceive(fd) {
			n = r.n
		}
	})
	return n
}

// discard takes what the socket holds, about max bytes at most, and returns how
// many datagrams that were.
func (r *packetReader) discard(max int) (n int) {
	for taken := 0; taken < max; {
		got := r.poll()
		if got == 0 {
			break
		}
		n += got
		for i := range got {
			taken += int(r.messages[i].Len) + 1
		}
	}
	return n
}

// raiseReceiveBuffer asks for size bytes, past the system's limit where the
// process may, and returns what it got (the kernel doubles what it is asked for
// and uses half for bookkeeping).
func raiseReceiveBuffer(conn syscall.Conn, size int) (got int) {
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

// kernelDrops is the number of datagrams that the kernel dropped on this socket,
// modulo 2^32.
func kernelDrops(conn syscall.Conn) (drops uint32, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	raw.Control(func(fd uintptr) {
		var info [memInfoNumbers]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		drops, ok = info[memInfoDrops], errno == 0
	})
	return drops, ok
}

// peerCredentials says which process is at the other end of a unix socket.
func peerCredentials(conn net.Conn) (who string) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return ""
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return ""
	}
	raw.Control(func(fd uintptr) {
		if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			who = fmt.Sprintf("pid=%d,uid=%d", c.Pid, c.Uid)
		}
	})
	return who
}
