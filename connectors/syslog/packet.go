package syslog

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
)

// maxSenders bounds the addresses that a reader remembers in printed form.
const maxSenders = 4096

const (
	maxDatagram   = 64 << 10 // no datagram is longer
	datagramBatch = 64
)

// readPackets reads datagrams, a line each, until the socket's deadline or end.
func (l *listener) readPackets(p *patience) {
	src := l.ses.src
	r, err := newPacketReader(l.packet, min(src.cfg.MaxLine+frameSlack, maxDatagram))
	if err != nil {
		src.log().Error("a datagram socket cannot be read", "transport", l.id.Transport, "address", l.id.Address, "error", err)
		return
	}
	senders := senderCache{transport: l.cfg.Transport, known: map[netip.AddrPort]*sender{}}
	lines := make([]piece, 0, datagramBatch)
	take := func(n int) (size int) {
		lines = lines[:0]
		for i := range n {
			data, whole, from := r.datagram(i)
			lines = append(lines, src.datagram(data, whole, senders.of(from)))
			size += whole + 1
		}
		l.deliver(lines)
		return size
	}
	for {
		p.arm(0)
		n, err := r.read()
		switch {
		case err == nil:
			take(n)
		case errors.Is(err, os.ErrDeadlineExceeded): // what the socket holds is still taken
			for left := src.cfg.ReceiveBuffer; left > 0; {
				if n = r.poll(); n == 0 {
					break
				}
				left -= take(n)
			}
			l.discarded.Add(int64(r.discard(src.cfg.ReceiveBuffer)))
			l.closeQuietly()
			return
		case errors.Is(err, net.ErrClosed):
			return
		case src.breaks.now():
			src.log().Warn("reading a datagram failed", "transport", l.id.Transport, "address", l.id.Address, "error", err)
		}
	}
}

// datagram makes a line of a datagram's bytes, of which there were size.
func (s *Source) datagram(data []byte, size int, from *sender) piece {
	line := trimFrame(data)
	if size <= len(data) && len(line) <= s.cfg.MaxLine {
		return piece{line: line, sender: from}
	}
	bad := fmt.Errorf("%w of %d bytes: it has %d", ErrTooLong, s.cfg.MaxLine, size)
	return piece{data[:min(len(data), s.cfg.MaxLine)], from, bad}
}

// senderCache remembers senders, so that a line does not print an address.
type senderCache struct {
	transport Transport
	known     map[netip.AddrPort]*sender
	lastAddr  netip.AddrPort
	last      *sender
}

func (c *senderCache) of(addr netip.AddrPort) *sender {
	if c.last != nil && addr == c.lastAddr {
		return c.last
	}
	from := c.known[addr]
	if from == nil {
		if len(c.known) >= maxSenders {
			clear(c.known)
		}
		if addr.IsValid() {
			from = newSender(addr, c.transport)
		} else {
			from = localSender(c.transport, "")
		}
		c.known[addr] = from
	}
	c.lastAddr, c.last = addr, from
	return from
}

func newSender(addr netip.AddrPort, t Transport) *sender {
	host := addr.Addr().Unmap()
	return &sender{
		host:      []byte(host.WithZone("").String()),
		remote:    []byte(netip.AddrPortFrom(host, addr.Port()).String()),
		transport: []byte(t),
	}
}

// localSender is a sender on this machine: lines of unix sockets name no host.
func localSender(t Transport, who string) *sender {
	return &sender{host: []byte(localHost()), remote: []byte(who), transport: []byte(t)}
}

var localHost = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
})
