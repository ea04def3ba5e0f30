package wire

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// accept takes connections of one listener until it is closed.
func (s *Server) accept(b *bound) {
	defer s.wg.Done()
	delay := time.Duration(0)
	for {
		nc, err := b.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // most likely out of descriptors: try again, later and later
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Logger.Error("cannot accept a connection; trying again", "listener", b.Name, "err", err, "in", delay)
			select {
			case <-time.After(delay):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		delay = 0
		s.admit(b, nc)
	}
}

// admit starts serving a connection, or closes it where a bound says so.
func (s *Server) admit(b *bound, nc net.Conn) {
	c := newConn(s, b, nc)
	if why := s.add(c); why != "" {
		_ = nc.Close()
		if h := s.cfg.Hooks.Rejected; h != nil {
			h(b.Name)
		}
		now := s.cfg.Now().UnixNano()
		if last := s.refusals.Load(); now-last >= int64(time.Second) && s.refusals.CompareAndSwap(last, now) {
			s.cfg.Logger.Warn("connection refused", "listener", b.Name, "remote", c.remote, "why", why)
		}
		return
	}
	if h := s.cfg.Hooks.Connected; h != nil {
		h(b.Name)
	}
	go c.serve()
}

// add registers a connection; it says why not where a bound is reached.
func (s *Server) add(c *conn) (refused string) {
	all, each := s.maxConnections(c.ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.draining.Load():
		return "the server is closing"
	case int64(len(s.conns)) >= all:
		return "max.connections is reached"
	case int64(s.perIP[c.ip]) >= each:
		return "max.connections.per.ip is reached"
	case s.tooFast(c.host):
		return "connection_creation_rate of its address is reached"
	}
	s.conns[c] = struct{}{}
	s.perIP[c.ip]++
	s.wg.Add(1)
	return ""
}

// maxConnections is how many connections there may be, in all and from an address.
func (s *Server) maxConnections(ip netip.Addr) (all, each int64) {
	all, each = int64(s.cfg.MaxConnections), int64(s.cfg.MaxConnectionsPerIP)
	if all == 0 {
		all = s.b.SettingInt("max.connections")
	}
	if each > 0 {
		return all, each
	}
	each = s.b.SettingInt("max.connections.per.ip")
	for entry := range fields(s.b.Setting("max.connections.per.ip.overrides")) {
		at := strings.LastIndexByte(entry, ':')
		host, err := netip.ParseAddr(strings.Trim(entry[:max(at, 0)], "[]"))
		if n, bad := strconv.ParseInt(entry[at+1:], 10, 64); err == nil && bad == nil && host.Unmap() == ip {
			each = n
		}
	}
	return all, each
}

// forget leaves room for another connection in the place of one that ends.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perIP[c.ip]--; s.perIP[c.ip] == 0 {
		delete(s.perIP, c.ip)
	}
}

func remoteIP(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
