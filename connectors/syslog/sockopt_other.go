//go:build !linux

package syslog

import "net"

func raiseReceiveBuffer(conn *net.UDPConn, size int) (got int) {
	if conn.SetReadBuffer(size) != nil {
		return 0
	}
	return size
}

// kernelDrops is 0: only Linux tells per socket.
func kernelDrops(*net.UDPConn) int64 { return 0 }
