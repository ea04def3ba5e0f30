package syslog

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// maxSenders bounds the addresses that a reader remembers in printed form.
const maxSenders = 4096

func (s *Source) listenUDP() error {
	addr, err := net.ResolveUDPAddr("udp", s.cfg.UDP)
	if err != nil {
		return err
	}
	s.udp, err = net.ListenUDP("udp", addr)
	if err != nil {
		s.udp = nil
		return err
	}
	if got := raiseReceiveBuffer(s.udp, s.cfg.ReceiveBuffer); got < s.cfg.ReceiveBuffer {
		s.logger.Load().Info("the UDP receive buffer is smaller than asked for: raise net.core.rmem_max to lose fewer datagrams in bursts",
			"bytes", got, "asked", s.cfg.ReceiveBuffer)
	}
	for range s.cfg.UDPReaders {
		s.readers.Go(func() { s.readUDP(s.udp) })
	}
	return nil
}

// readUDP reads datagrams, a line each, until the socket's deadline or end.
func (s *Source) readUDP(conn *net.UDPConn) {
	senders := map[netip.AddrPort]*sender{}
	buf := make([]byte, 64<<10) // no datagram is longer
	for {
		n, addr, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			s.logger.Load().Warn("reading a datagram failed", "error", err)
			continue
		}
		from := senders[addr]
		if from == nil {
			if len(senders) >= maxSenders {
				clear(senders)
			}
			from = newSender(addr)
			senders[addr] = from
		}
		line, bad := TrimEnd(buf[:n]), error(nil)
		if len(line) > s.cfg.MaxLine {
			bad = fmt.Errorf("%w of %d bytes: it has %d", ErrTooLong, s.cfg.MaxLine, len(line))
			line = line[:s.cfg.MaxLine]
		}
		if !s.deliver(line, from, bad) {
			return
		}
	}
}

func newSender(addr netip.AddrPort) *sender {
	host := addr.Addr().Unmap()
	return &sender{
		remote: []byte(netip.AddrPortFrom(host, addr.Port()).String()),
		host:   []byte(host.WithZone("").String()),
	}
}
