//go:build !linux

package syslog

import (
	"net"
	"net/netip"
	"syscall"
)

// packetReader takes datagrams one by one: recvmmsg is Linux's.
type packetReader struct {
	sock packetSocket
	buf  []byte
	size int
	from netip.AddrPort
}

func newPacketReader(sock packetSocket, stride int) (*packetReader, error) {
	return &packetReader{sock: sock, buf: make([]byte, stride)}, nil
}

func (r *packetReader) read() (int, error) {
	n, addr, err := r.sock.ReadFrom(r.buf)
	if err != nil {
		return 0, err
	}
	r.size, r.from = n, netip.AddrPort{}
	if u, ok := addr.(*net.UDPAddr); ok {
		r.from = u.AddrPort()
	}
	return 1, nil
}

func (r *packetReader) datagram(int) (data []byte, size int, from netip.AddrPort) {
	return r.buf[:r.size], r.size, r.from
}

// poll and discard are for exact counts, which only Linux gives.
func (r *packetReader) poll() int       { return 0 }
func (r *packetReader) discard(int) int { return 0 }

func raiseReceiveBuffer(conn packetSocket, size int) (got int) {
	c, ok := conn.(interface{ SetReadBuffer(int) error })
	if !ok || c.SetReadBuffer(size) != nil {
		return 0
	}
	return size
}

// kernelDrops is not known: only Linux tells per socket.
func kernelDrops(syscall.Conn) (uint32, bool) { return 0, false }

func peerCredentials(net.Conn) string { return "" }
