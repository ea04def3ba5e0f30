package syslog

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// retryAccept is how long the listener waits after an error that may pass, such
// as too many open files.
const retryAccept = 50 * time.Millisecond

func (s *Source) listenTCP() error {
	addr, err := net.ResolveTCPAddr("tcp", s.cfg.TCP)
	if err != nil {
		return err
	}
	s.tcp, err = net.ListenTCP("tcp", addr)
	if err != nil {
		s.tcp = nil
		return err
	}
	s.readers.Go(func() { s.accept(s.tcp) })
	return nil
}

// accept takes connections until the listener's deadline or end.
func (s *Source) accept(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			s.logger.Load().Warn("accepting a connection failed", "error", err)
			<-time.After(retryAccept)
			continue
		}
		if !s.keep(conn) {
			conn.Close()
			continue
		}
		s.readers.Go(func() {
			defer s.forget(conn)
			s.readTCP(conn)
		})
	}
}

// keep registers a connection; false if there are too many or the source ends.
func (s *Source) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if len(s.open) >= s.cfg.MaxConns {
		s.refused.Add(1)
		s.logger.Load().Warn("too many connections: closed the newest", "max", s.cfg.MaxConns, "remote", conn.RemoteAddr())
		return false
	}
	if !s.deadline.IsZero() {
		conn.SetReadDeadline(s.deadline)
	}
	s.open[conn] = struct{}{}
	s.conns.Add(1)
	return true
}

func (s *Source) forget(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
	s.conns.Add(-1)
}

// readTCP reads one connection's lines until it ends.
func (s *Source) readTCP(conn *net.TCPConn) {
	addr, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		s.logger.Load().Warn("a connection's address does not parse", "error", err)
		return
	}
	from := newSender(addr)
	f := frames{r: bufio.NewReaderSize(conn, 32<<10), limit: s.cfg.MaxLine}
	for {
		line, err := f.next()
		var bad error
		switch {
		case err == nil:
		case errors.Is(err, ErrTooLong), errors.Is(err, ErrTruncated):
			bad = err
		default:
			if len(line) > 0 { // the time to drain was over, or the peer is gone
				s.deliver(line, from, ErrTruncated)
			}
			if err != io.EOF && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				s.logger.Load().Info("a connection broke", "remote", addr, "error", err)
			}
			return
		}
		if !s.deliver(line, from, bad) {
			return
		}
	}
}
