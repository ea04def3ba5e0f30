package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/quota"
)

// Server serves a broker; see the package comment.
//
//	New -> Listen (addresses are known) -> Serve (until ctx ends or Close) -> done
type Server struct {
	cfg        Config
	b          *broker.Broker
	table      []api // the api table; a field, so that handlers may read it
	byKey      []*api
	memory     *memory
	authorizer *authorizer // nil: everything is allowed
	security   *security
	meters     *quota.Meters
	bound      []*bound
	ctx        context.Context // of every handler; ends when draining begins
	cancel     context.CancelFunc
	draining   atomic.Bool
	fetches    *fetchSessions
	traffic    traffic
	refusals   atomic.Int64 // unix nanoseconds of the last log line about refused connections

	wg sync.WaitGroup // accept loops and connections

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[*conn]struct{}
	perIP  map[netip.Addr]int
}

// bound is a listener that has its address.
type bound struct {
	Listener
	ln   net.Listener
	host string // advertised
	port int32
}

// ErrServerClosed: Close was called, or Serve has returned.
var ErrServerClosed = errors.New("wire: server closed")

// New checks the configuration. It opens nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Broker.Logger("log.wire", cfg.Logger)
	s := &Server{
		cfg: cfg, b: cfg.Broker, table: apis[:],
		memory: newMemory(cfg.MaxInFlightBytes),
		conns:  map[*conn]struct{}{}, perIP: map[netip.Addr]int{},
	}
	s.byKey = indexTable(s.table)
	s.fetches = newFetchSessions(cfg.MaxFetchSessions, cfg.Now)
	s.meters = quota.NewMeters()
	if err := s.secure(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Listen binds every listener, so that Addrs are known; nothing is served yet.
func (s *Server) Listen() error {
	for i := range s.cfg.Listeners {
		l := &s.cfg.Listeners[i]
		ln, err := net.Listen("tcp", l.Addr)
		if err != nil {
			return errors.Join(fmt.Errorf("wire: listener %s: %w", l.Name, err), s.Close())
		}
		b := &bound{Listener: *l, ln: ln}
		if err := b.resolve(); err != nil {
			_ = ln.Close()
			return errors.Join(err, s.Close())
		}
		s.mu.Lock()
		s.bound = append(s.bound, b)
		s.mu.Unlock()
	}
	return nil
}

// resolve finds the address to advertise.
func (b *bound) resolve() error {
	addr := b.ln.Addr().(*net.TCPAddr)
	b.host, b.port = addr.IP.String(), int32(addr.Port)
	if b.Advertised == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(b.Advertised)
	if err != nil {
		return fmt.Errorf("wire: advertised address %q: %w", b.Advertised, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("wire: advertised address %q: %w", b.Advertised, err)
	}
	b.host = host
	if n != 0 {
		b.port = int32(n)
	}
	return nil
}

// Addrs are the bound addresses, in the order of Config.Listeners.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []net.Addr
	for _, b := range s.bound {
		out = append(out, b.ln.Addr())
	}
	return out
}

// Serve accepts and serves until ctx ends; then it takes no more requests, lets
// those in flight finish for up to DrainTimeout (long polls answer at once), and
// returns nil. After Close it returns ErrServerClosed.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	for _, b := range s.bound {
		s.wg.Add(1)
		go s.accept(b)
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-s.ctx.Done():
		s.wg.Wait()
		return ErrServerClosed
	}
	s.drain()
	return s.Close()
}

// drain ends the accepting and lets every connection finish what it has read.
func (s *Server) drain() {
	s.draining.Store(true)
	s.cancel()
	s.mu.Lock()
	for _, b := range s.bound {
		_ = b.ln.Close()
	}
	for c := range s.conns {
		c.stopReading()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	t := time.NewTimer(s.cfg.DrainTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// Close ends everything at once: listeners and connections. It returns when
// their goroutines have ended. It may be called more than once.
func (s *Server) Close() error {
	s.draining.Store(true)
	s.cancel()
	s.mu.Lock()
	s.closed = true
	for _, b := range s.bound {
		_ = b.ln.Close()
	}
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}
