package peers

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is the network between one client and its brokers, with its faults. It
// listens on a loopback port for each broker and forwards to it. A client must
// dial through it (Dial, or Via in a process of its own), because brokers tell
// clients their own addresses. Methods may be called from any goroutine.
//
// Invariant: every byte that is forwarded is forwarded in order and once; a fault
// holds bytes back or ends connections, as a network does.
type Proxy struct {
	via       map[string]string // address of a broker -> ours
	listeners []net.Listener
	running   sync.WaitGroup

	mu      sync.Mutex
	state   network
	changed chan struct{} // closed when state changes
	conns   map[net.Conn]bool
}

// network is the state of the network.
type network struct {
	cut             bool // no connection lives
	mute, deaf      bool // nothing comes to the brokers; nothing from them
	delay           time.Duration
	closed          bool
	sentTo, sentFro int64
}

// NewProxy makes a network, without faults yet, to the addresses. The caller closes it.
func NewProxy(addrs ...string) (*Proxy, error) {
	p := &Proxy{via: map[string]string{}, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	for _, addr := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("proxy to %s: %w", addr, err)
		}
		p.listeners = append(p.listeners, l)
		p.via[addr] = l.Addr().String()
		p.running.Go(func() { p.accept(l, addr) })
	}
	return p, nil
}

// StartProxy gives a proxy that ends with the test.
func StartProxy(t testing.TB, addrs ...string) *Proxy {
	t.Helper()
	p, err := NewProxy(addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Via are the addresses to dial instead of those of the brokers.
func (p *Proxy) Via() map[string]string { return p.via }

// Dial dials one of the brokers through the proxy: as engine.Config.Cluster.Dial.
func (p *Proxy) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return DialVia(p.via)(ctx, network, addr)
}

// DialVia dials what Via says instead of an address; an address that is not there
// is an error, because a client must not go around its network.
func DialVia(via map[string]string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, ok := via[addr]
		if !ok {
			return nil, fmt.Errorf("the proxy knows no broker %s", addr)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}
}

// Cut resets all connections, and new ones as soon as they are there.
func (p *Proxy) Cut() {
	p.set(func(n *network) { n.cut = true })
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// Blackhole keeps connections, old and new, and forwards nothing. What was sent
// meanwhile arrives after Heal, as after a network's partition.
func (p *Proxy) Blackhole() { p.set(func(n *network) { n.mute, n.deaf = true, true }) }

// Mute lets nothing come to the brokers; their bytes still arrive.
func (p *Proxy) Mute() { p.set(func(n *network) { n.mute, n.deaf = true, false }) }

// Deafen lets nothing come from the brokers; ours still arrive there.
func (p *Proxy) Deafen() { p.set(func(n *network) { n.mute, n.deaf = false, true }) }

// Delay holds what is sent in either direction for so long.
func (p *Proxy) Delay(d time.Duration) { p.set(func(n *network) { n.delay = d }) }

// Heal ends every fault.
func (p *Proxy) Heal() {
	p.set(func(n *network) { n.cut, n.mute, n.deaf, n.delay = false, false, false, 0 })
}

// Sent is how many bytes came to the brokers and from them.
func (p *Proxy) Sent() (to, from int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.sentTo, p.state.sentFro
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	for _, l := range p.listeners {
		l.Close()
	}
	p.set(func(n *network) { n.closed, n.cut = true, true })
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) set(change func(*network)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) now() (network, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.changed
}

// track adds a connection; false if the network is cut.
func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.state.cut {
		p.conns[c] = true
	}
	return !p.state.cut
}

func (p *Proxy) end(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		c.Close()
	}
}

// reset closes a connection with RST, as a peer sees it whose network is gone.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

func (p *Proxy) accept(l net.Listener, addr string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		if !p.track(client) {
			reset(client)
			continue
		}
		p.running.Go(func() {
			defer p.end(client)
			if !p.open(false, nil) { // a SYN is not answered in a black hole
				return
			}
			broker, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				reset(client)
				return
			}
			if !p.track(broker) {
				reset(broker)
				return
			}
			var both sync.WaitGroup
			both.Go(func() { p.pump(broker, client, true); p.end(client, broker) })
			both.Go(func() { p.pump(client, broker, false); p.end(client, broker) })
			both.Wait()
		})
	}
}

// pump forwards one direction until an end closes.
func (p *Proxy) pump(to, from net.Conn, toBroker bool) {
	type piece struct {
		at   time.Time
		data []byte
	}
	pieces := make(chan piece, 64) // bounds what a fault holds back: then the sender waits
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		defer close(pieces)
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case pieces <- piece{time.Now(), append([]byte(nil), buf[:n]...)}:
				case <-gone:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for next := range pieces {
		if !p.open(toBroker, &next.at) {
			return
		}
		n, err := to.Write(next.data)
		p.mu.Lock()
		if toBroker {
			p.state.sentTo += int64(n)
		} else {
			p.state.sentFro += int64(n)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
}

// open waits until a direction is open, and until what came at a time is old
// enough; false if the network is cut. Without a time it waits for either.
func (p *Proxy) open(toBroker bool, at *time.Time) bool {
	for {
		n, changed := p.now()
		held := toBroker && n.mute || !toBroker && n.deaf
		if at == nil {
			held = n.mute || n.deaf
		}
		switch {
		case n.cut:
			return false
		case held:
			<-changed
			continue
		}
		if at == nil {
			return true
		}
		wait := n.delay - time.Since(*at)
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}
