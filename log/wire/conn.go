package wire

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is one connection.
//
// Invariant: one goroutine at a time writes: the serving one while nothing is
// pending, else the answering one.
type conn struct {
	srv      *Server
	listener *bound
	nc       net.Conn
	tcp      *net.TCPConn // nc where it is plaintext, for sendfile; nil with TLS
	sock     *net.TCPConn // what is below nc, in any case
	remote   string
	ip       netip.Addr
	host     string // ip as access control lists spell it

	// principal is who authenticated ("User:name"); "User:ANONYMOUS" before and without.
	principal string

	sasl *sasl // nil on listeners without SASL

	ctx    context.Context // ends with the connection or the server
	cancel context.CancelFunc

	in    frameReader
	muted time.Time // nothing is read before; see throttle.go

	pending atomic.Int32 // answers handed to the answering goroutine
	queue   chan answer  // nil until the first answer that waits; the serving goroutine's
	done    sync.WaitGroup
	failure atomic.Pointer[closing]
}

// CloseReason says why a connection ended.
type CloseReason string

// Reasons of the Disconnected hook.
const (
	ClosedByPeer    CloseReason = "peer"      // end of file, or a reset
	ClosedMalformed CloseReason = "malformed" // what came was no request
	ClosedIdle      CloseReason = "idle"      // nothing came, or nothing was taken, for too long
	ClosedPanic     CloseReason = "panic"     // a handler failed
	ClosedServer    CloseReason = "server"    // the server ended
	ClosedAuth      CloseReason = "auth"      // handshake or authentication failed
	ClosedProduce   CloseReason = "produce"   // a produce with acks=0 failed
)

// closing is why a connection ends.
type closing struct {
	reason CloseReason
	err    error
}

// answer is one that waits for its turn.
type answer struct {
	r    *request
	resp kmsg.Response
}

const anonymous = "User:ANONYMOUS"

func newConn(s *Server, b *bound, nc net.Conn) *conn {
	c := &conn{srv: s, listener: b, nc: nc, remote: nc.RemoteAddr().String(), ip: remoteIP(nc), principal: anonymous}
	c.sock, _ = nc.(*net.TCPConn)
	c.host = c.ip.WithZone("").String()
	if b.TLS != nil {
		c.nc = tls.Server(nc, b.TLS)
	} else {
		c.tcp, _ = nc.(*net.TCPConn)
	}
	c.in = frameReader{nc: c.nc, min: minHeader, max: s.cfg.MaxRequestBytes}
	if len(b.SASL) > 0 {
		c.sasl = &sasl{offered: b.SASL}
		c.in.max = min(c.in.max, maxBeforeAuth)
	}
	return c
}

// serve reads and handles requests until the connection ends.
func (c *conn) serve() {
	s := c.srv
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	defer s.wg.Done()
	err := c.handshake()
	for err == nil {
		err = c.next()
	}
	if c.queue != nil {
		close(c.queue)
	}
	if !s.draining.Load() {
		c.cancel() // what waits for a client that is gone need not
	}
	c.done.Wait()
	c.cancel()
	s.forget(c) // before anybody can see that it is closed, and comes in its place
	_ = c.nc.Close()
	c.told(c.why(err))
}

// handshake of TLS, where there is one.
func (c *conn) handshake() error {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.FrameTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return c.fail(ClosedAuth, fmt.Errorf("TLS handshake: %w", err))
	}
	if err := c.certified(t); err != nil {
		return c.fail(ClosedAuth, err)
	}
	return nil
}

// next reads one request and handles it.
func (c *conn) next() error {
	if c.srv.draining.Load() {
		return c.fail(ClosedServer, nil)
	}
	if !c.muted.IsZero() {
		c.unmuted()
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(c.patience())); err != nil {
		return err
	}
	if c.srv.draining.Load() { // stopReading was before the deadline, or will be
		return c.fail(ClosedServer, nil)
	}
	size, err := c.in.size()
	if err != nil {
		return err
	}
	key := int16(-1)
	if c.sasl == nil || !c.sasl.raw {
		if key, err = c.in.key(); err != nil {
			return err
		}
		if limit := c.srv.memory.maxOther(); size > int(limit) && key != keyProduce && key != keyFetch {
			return malformed(fmt.Sprintf("at most %d bytes of a request other than produce and fetch", limit), size)
		}
	}
	fr, err := c.in.body(c.ctx, c.srv.memory, size, key == keyProduce, c.srv.cfg.FrameTimeout)
	if err != nil {
		return err
	}
	if c.sasl != nil && c.sasl.raw {
		return c.rawToken(&fr)
	}
	r := &request{conn: c, frame: fr, size: size, arrived: c.srv.cfg.Now()}
	resp, err := c.dispatch(r)
	if err != nil {
		r.frame.release()
		return err
	}
	r.charge()
	if err := c.answer(r, resp); err != nil || r.last == nil {
		return err
	}
	return c.fail(ClosedAuth, r.last)
}

// dispatch decodes a request and runs its handler.
func (c *conn) dispatch(r *request) (resp kmsg.Response, err error) {
	h, err := parseHeader(r.frame.b)
	if err != nil {
		return nil, err
	}
	r.clientID, r.correlation = h.clientID, h.correlation
	r.api = c.srv.api(h.key)
	switch {
	case r.api == nil:
		return nil, malformed("an API key that is served", h.key)
	case c.sasl != nil && c.admits(r.api) != nil:
		return nil, c.failure.Load().err
	case h.key == keyApiVersions && (h.version < r.api.min || h.version > r.api.max):
		return unsupportedApiVersions(c.srv), nil
	case h.version < r.api.min || h.version > r.api.max:
		return nil, malformed(fmt.Sprintf("%s versions %d to %d", kmsg.NameForKey(h.key), r.api.min, r.api.max), h.version)
	}
	if r.req, err = c.decode(&h, &r.frame); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(r, p)
		}
	}()
	return r.api.handle(c.ctx, c.srv, r)
}

// decode waits for the memory that decoding may take. What a produce or fetch
// reserves, its frame gives back.
func (c *conn) decode(h *header, fr *frame) (kmsg.Request, error) {
	if h.key != keyProduce && h.key != keyFetch {
		done, err := c.srv.memory.decode(c.ctx, len(fr.b))
		if err != nil {
			return nil, err
		}
		defer done()
		// A member that joins may wait for minutes: it does not keep room from others.
		defer fr.unreserve()
	}
	return decode(h, func(elements int) (err error) {
		fr.done, err = c.srv.memory.elements(c.ctx, h.key, elements)
		return err
	})
}

// panicked turns a panic of a handler into the end of its connection.
func (c *conn) panicked(r *request, p any) error {
	c.srv.cfg.Logger.Error("a handler panicked; its connection is closed", "api", kmsg.NameForKey(r.api.key), "version", r.version(),
		"remote", c.remote, "client", r.clientID, "panic", p, "stack", string(debug.Stack()))
	return c.fail(ClosedPanic, fmt.Errorf("panic in %s: %v", kmsg.NameForKey(r.api.key), p))
}

// answer writes a response, at once if none is pending before it.
func (c *conn) answer(r *request, resp kmsg.Response) error {
	if f := c.failure.Load(); f != nil {
		discard(r, resp)
		return f.err
	}
	if r.wait == nil && c.pending.Load() == 0 {
		return c.write(r, resp)
	}
	if c.queue == nil {
		c.queue = make(chan answer, c.srv.cfg.MaxPipelined)
		c.done.Add(1)
		go c.answering(c.queue)
	}
	c.pending.Add(1)
	c.queue <- answer{r, resp}
	return nil
}

// answering writes the answers that had to wait, in order.
func (c *conn) answering(queue chan answer) {
	defer c.done.Done()
	for a := range queue {
		if c.failure.Load() != nil {
			discard(a.r, a.resp)
			c.pending.Add(-1)
			continue
		}
		if err := c.settle(a); err != nil {
			c.fail(ClosedByPeer, err)
			_ = c.nc.Close() // wakes the reading goroutine
		}
		c.pending.Add(-1)
	}
}

// discard gives back what an answer holds that is not sent.
func discard(r *request, resp kmsg.Response) {
	r.frame.release()
	if a, ok := resp.(*fetchAnswer); ok {
		a.done()
	}
}

// settle waits for what an answer waits for, and writes it.
func (c *conn) settle(a answer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.r.frame.release()
			err = c.panicked(a.r, p)
		}
	}()
	if a.r.wait != nil {
		a.resp = a.r.wait()
	}
	return c.write(a.r, a.resp)
}

// maxAnswer is the largest encoding whose buffer is kept.
const maxAnswer = 1 << 20

// outPool holds the buffers in which answers are encoded.
var outPool = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// write encodes and sends one answer; nil sends nothing. It gives the frame back.
func (c *conn) write(r *request, resp kmsg.Response) error {
	var sent int64
	var err error
	if resp != nil {
		r.throttled(resp)
		buf := outPool.Get().(*[]byte)
		b := (*buf)[:0]
		if a, ok := resp.(*fetchAnswer); ok {
			b, sent, err = c.writeFetch(r, a, b)
		} else {
			b = resp.AppendTo(beginAnswer(b, r.correlation, resp))
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			r.frame.release()
			sent, err = int64(len(b)-4), c.send(b)
		}
		if cap(b) <= maxAnswer {
			*buf = b[:0]
			outPool.Put(buf)
		}
	} else {
		r.frame.release()
	}
	if h := c.srv.cfg.Hooks.Served; h != nil && err == nil {
		h(r.served(c, sent))
	}
	return err
}

// beginAnswer appends the answer's size, to be filled in, and its header.
func beginAnswer(b []byte, correlation int32, resp kmsg.Response) []byte {
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	if resp.IsFlexible() && resp.Key() != keyApiVersions {
		b = append(b, 0)
	}
	return b
}

// send writes bytes; a peer that takes none of them for IdleTimeout is given up.
func (c *conn) send(b []byte) error {
	for len(b) > 0 {
		if err := c.takeTime(); err != nil {
			return err
		}
		n, err := c.nc.Write(b)
		b = b[n:]
		if err != nil && !(n > 0 && errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
}

// served describes the request for metrics.
func (r *request) served(c *conn, out int64) Served {
	sv := Served{Listener: c.listener.Name, BytesIn: r.size, BytesOut: out, Errors: r.errors, Took: c.srv.cfg.Now().Sub(r.arrived), Key: r.api.key}
	if r.req != nil {
		sv.Version = r.version()
	}
	return sv
}

// stopReading lets a connection that waits for a request end; one that handles
// a request answers it first.
func (c *conn) stopReading() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// abort ends the connection at once.
func (c *conn) abort() { _ = c.nc.Close() }

// fail notes why the connection ends; the first reason counts.
func (c *conn) fail(reason CloseReason, err error) error {
	if err == nil {
		err = ErrServerClosed
	}
	c.failure.CompareAndSwap(nil, &closing{reason, err})
	return err
}

// why classifies the error that ended the connection.
func (c *conn) why(err error) closing {
	if f := c.failure.Load(); f != nil {
		return *f
	}
	var bad *MalformedError
	switch {
	case errors.As(err, &bad), errors.Is(err, io.ErrUnexpectedEOF):
		return closing{ClosedMalformed, err}
	case c.srv.draining.Load():
		return closing{ClosedServer, err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return closing{ClosedIdle, err}
	}
	return closing{ClosedByPeer, err}
}

// told logs the end once and calls the hook.
func (c *conn) told(f closing) {
	switch log := c.srv.cfg.Logger; f.reason {
	case ClosedMalformed, ClosedAuth:
		log.Warn("connection closed", "reason", string(f.reason), "listener", c.listener.Name, "remote", c.remote, "err", f.err)
	case ClosedPanic: // told with its stack
	default:
		log.Debug("connection closed", "reason", string(f.reason), "listener", c.listener.Name, "remote", c.remote, "err", f.err)
	}
	if h := c.srv.cfg.Hooks.Disconnected; h != nil {
		h(c.listener.Name, f.reason)
	}
}
