package kafka

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// silenceFirst is how long an address is left alone that gave no answer in time;
	// twice as long each time after that, up to silenceMost.
	silenceFirst = 5 * time.Second
	silenceMost  = 40 * time.Second
	// silencePatience is the least that a deadline must allow to say anything: shorter
	// ones interrupt.
	silencePatience = time.Second
)

// errSilent is why an address is not called.
var errSilent = errors.New("the broker did not answer in time, and is called again later")

// silence knows the brokers that accept connections and answer nothing, because
// their machine or process stands still. The client takes a broker for gone only
// when it cannot be called: it would ask a group's coordinator that stands still
// for ever, when the group has another one long since. So who did not answer in
// time is not called for a while. A cluster of one broker has nobody else to ask.
//
// Any goroutine may use it.
type silence struct {
	now    func() time.Time
	others atomic.Bool // there are other brokers

	some  atomic.Int32 // len(quiet)
	mu    sync.Mutex
	quiet map[string]quiet // by address
}

type quiet struct {
	until time.Time
	wait  time.Duration
}

func newSilence() *silence {
	return &silence{now: time.Now, quiet: map[string]quiet{}}
}

// dialer leaves silent addresses alone and listens to what comes from the others.
func (s *silence) dialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if s.is(addr) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errSilent}
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &heard{Conn: conn, addr: addr, silence: s}, nil
	}
}

// heardOf says how many brokers the cluster has now.
func (s *silence) heardOf(brokers int) { s.others.Store(brokers > 1) }

func (s *silence) is(addr string) bool {
	if s.some.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Before(s.quiet[addr].until)
}

// missed notes that an answer did not come in time.
func (s *silence) missed(addr string) {
	if !s.others.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, q := s.now(), s.quiet[addr]
	if now.Before(q.until) {
		return // several connections wait for the same broker
	}
	q.wait = min(max(2*q.wait, silenceFirst), silenceMost)
	q.until = now.Add(q.wait)
	s.quiet[addr] = q
	s.some.Store(int32(len(s.quiet)))
}

// spoke notes that something came.
func (s *silence) spoke(addr string) {
	if s.some.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.quiet, addr)
	s.some.Store(int32(len(s.quiet)))
}

// heard is a connection to an address.
type heard struct {
	net.Conn
	addr     string
	silence  *silence
	patience atomic.Int64 // ns that the read deadline allowed when it was set
}

// Read implements net.Conn.
func (c *heard) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch {
	case n > 0:
		c.silence.spoke(c.addr)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.patience.Load() >= int64(silencePatience):
		c.silence.missed(c.addr)
	}
	return n, err
}

// SetReadDeadline implements net.Conn.
func (c *heard) SetReadDeadline(t time.Time) error {
	c.allow(t)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *heard) SetDeadline(t time.Time) error {
	c.allow(t)
	return c.Conn.SetDeadline(t)
}

func (c *heard) allow(t time.Time) {
	if t.IsZero() {
		c.patience.Store(0)
		return
	}
	c.patience.Store(int64(time.Until(t)))
}
