package syslog

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// retryAccept is how long a listener waits after an error that may pass, such
// as too many open files.
const retryAccept = 50 * time.Millisecond

// conn is one sender's connection. Its reader owns it; others only drain it.
type conn struct {
	patience
	socket net.Conn // as it was accepted
	l      *listener
	peer   netip.Addr // not valid on unix sockets
	from   *sender
}

// accept takes connections until the listener's deadline or end.
func (l *listener) accept() {
	src := l.ses.src
	for {
		socket, err := l.stream.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			l.closeQuietly()
			return
		default:
			src.log().Warn("accepting a connection failed", "transport", l.id.Transport, "address", l.id.Address, "error", err)
			<-time.After(retryAccept)
			continue
		}
		c := &conn{socket: socket, l: l}
		c.sock = socket
		c.from, c.peer = peerOf(socket, l.cfg.Transport)
		if !l.ses.keep(c) {
			socket.Close()
			continue
		}
		l.ses.readers.Go(func() {
			defer l.ses.forget(c)
			c.serve()
		})
	}
}

// keep registers a connection; false if there are too many.
func (ses *session) keep(c *conn) bool {
	cfg := &ses.src.cfg
	ses.mu.Lock()
	many, fromPeer := len(ses.conns) >= cfg.MaxConns, ses.peers[c.peer]
	tooMany := many || cfg.MaxConnsPerPeer > 0 && c.peer.IsValid() && fromPeer >= cfg.MaxConnsPerPeer
	if !tooMany {
		ses.conns[c] = struct{}{}
		if c.peer.IsValid() {
			ses.peers[c.peer]++
		}
		if !ses.until.IsZero() {
			c.drain(ses.until)
		}
	}
	ses.mu.Unlock()
	if tooMany {
		c.l.refused.Add(1)
		if ses.src.refusals.now() {
			ses.src.log().Warn("too many connections: the newest are closed", "max", cfg.MaxConns, "max_per_peer", cfg.MaxConnsPerPeer,
				"remote", string(c.from.remote), "refused_here", c.l.refused.Load())
		}
		return false
	}
	c.l.accepted.Add(1)
	c.l.conns.Add(1)
	if h := cfg.Hooks.Connection; h != nil {
		h(c.l.id, 1)
	}
	return true
}

func (ses *session) forget(c *conn) {
	c.socket.Close()
	ses.mu.Lock()
	delete(ses.conns, c)
	if c.peer.IsValid() {
		if ses.peers[c.peer]--; ses.peers[c.peer] == 0 {
			delete(ses.peers, c.peer)
		}
	}
	ses.mu.Unlock()
	c.l.conns.Add(-1)
	if h := ses.src.cfg.Hooks.Connection; h != nil {
		h(c.l.id, -1)
	}
}

// serve reads a connection's lines until it ends.
func (c *conn) serve() {
	src := c.l.ses.src
	var stream io.Reader = c.socket
	if c.l.certs != nil {
		c.arm(src.cfg.LineTimeout)
		secure := tls.Server(c.socket, c.l.certs.server(src.log))
		if err := secure.Handshake(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			c.ended(err, "the TLS handshake failed")
			return
		}
		if peers := secure.ConnectionState().PeerCertificates; len(peers) > 0 {
			c.from.subject = []byte(peers[0].Subject.String())
		}
		stream = secure
	}
	f := framer{framing: c.l.cfg.Framing, limit: src.cfg.MaxLine}
	var lines []piece
	for {
		wait := src.cfg.IdleTimeout
		if f.inLine() {
			wait = src.cfg.LineTimeout
		}
		c.arm(wait)
		n, err := stream.Read(f.space())
		f.filled(n)
		lines = lines[:0]
		for {
			line, bad, ok := f.next()
			if !ok {
				break
			}
			lines = append(lines, piece{line, c.from, bad})
		}
		if err != nil {
			if line, bad, ok := f.last(err == io.EOF); ok {
				lines = append(lines, piece{line, c.from, bad})
			}
		}
		c.l.deliver(lines)
		switch {
		case err != nil:
			c.ended(err, "a connection broke")
			return
		case f.broken:
			c.ended(ErrFraming, "a connection is closed")
			return
		}
	}
}

// ended counts how a connection ended, and says so if it is worth a line.
func (c *conn) ended(err error, what string) {
	switch {
	case err == io.EOF, errors.Is(err, net.ErrClosed):
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.draining() {
			return
		}
		c.l.timedOut.Add(1)
	default:
		c.l.failed.Add(1)
	}
	if src := c.l.ses.src; src.breaks.now() {
		src.log().Info(what, "transport", c.l.id.Transport, "remote", string(c.from.remote), "error", err)
	}
}

// deliver hands lines that came now to Read; it waits while the queue is full.
func (l *listener) deliver(lines []piece) {
	if len(lines) == 0 {
		return
	}
	src, size := l.ses.src, 0
	for _, p := range lines {
		size += len(p.line)
	}
	l.lines.Add(int64(len(lines))) // before Read can hand them over: Stats never lags behind it
	l.bytes.Add(int64(size))
	src.queue.push(lines, time.Now().UnixNano())
	if h := src.cfg.Hooks.Received; h != nil {
		h(l.id, len(lines), size)
	}
}

// peerOf says who is at the other end.
func peerOf(socket net.Conn, t Transport) (*sender, netip.Addr) {
	if t == Unix {
		return localSender(t, peerCredentials(socket)), netip.Addr{}
	}
	at := socket.RemoteAddr().(*net.TCPAddr).AddrPort()
	from := newSender(at, t)
	return from, at.Addr().Unmap().WithZone("")
}
