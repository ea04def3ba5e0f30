package connectortest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// Pipes is a listener in memory: no sockets, so that HTTP runs in the virtual
// time of testing/synctest. It may be used from any goroutine.
type Pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*Pipes)(nil)

// NewPipes makes a listener.
func NewPipes() *Pipes { return &Pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: dialing is refused from now on.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *Pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// Dial connects to the listener.
func (p *Pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ServePipes serves HTTP in memory until stop is called; the transport reaches
// it under any name.
func ServePipes(h http.Handler) (tr *http.Transport, stop func()) {
	p := NewPipes()
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(p) })
	tr = &http.Transport{DialContext: p.Dial, MaxIdleConnsPerHost: 8}
	return tr, func() {
		tr.CloseIdleConnections()
		srv.Close()
		wg.Wait()
	}
}
