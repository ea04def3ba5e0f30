package syslog

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// session is a source's sockets between Listen and Close.
//
// Invariant: drained is closed when no socket is read any more and no connection
// is open; after until is set no reader waits longer than that.
type session struct {
	src       *Source
	listeners []*listener
	readers   sync.WaitGroup
	drainOnce sync.Once
	drained   chan struct{}
	closeOnce sync.Once
	stopPolls chan struct{}

	mu    sync.Mutex
	conns map[*conn]struct{}
	peers map[netip.Addr]int // connections per address
	until time.Time          // once draining
}

// packetSocket is a UDP or unixgram socket.
type packetSocket interface {
	net.PacketConn
	syscall.Conn
}

// streamSocket is a listening TCP or unix socket.
type streamSocket interface {
	net.Listener
	SetDeadline(time.Time) error
}

// listener is one bound address: packet or stream is its socket.
type listener struct {
	*counters
	ses    *session
	cfg    Listener
	id     ListenerID
	packet packetSocket
	stream streamSocket
	certs  *certificates
	file   socketFile

	patience []*patience // of the packet socket's readers

	mu     sync.Mutex
	asked  bool // drops before the first answer are not ours
	drops  uint32
	closed bool
}

// backlogFor is how long a listener goes on after the end, for connections that
// the system has accepted already.
const backlogFor = 20 * time.Millisecond

// bind binds one address.
func (ses *session) bind(cfg Listener, address string, c *counters) (*listener, error) {
	l := &listener{counters: c, ses: ses, cfg: cfg}
	var err error
	if cfg.Transport == TLS {
		if l.certs, err = newCertificates(cfg.TLS); err != nil {
			return nil, err
		}
	}
	file := cfg.Transport == Unix || cfg.Transport == Unixgram
	if file {
		if err := clearPath(cfg.network(), address); err != nil {
			return nil, err
		}
	}
	at := address
	if cfg.Transport.stream() {
		socket, err := net.Listen(cfg.network(), address)
		if err != nil {
			return nil, err
		}
		l.stream = socket.(streamSocket)
		at = socket.Addr().String()
		if u, ok := socket.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // only what is still ours is removed
		}
	} else {
		socket, err := net.ListenPacket(cfg.network(), address)
		if err != nil {
			return nil, err
		}
		l.packet = socket.(packetSocket)
		at = socket.LocalAddr().String()
		l.pollDrops()
	}
	if file {
		at = address
		if l.file, err = remember(address, cfg.Mode); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	l.id = ListenerID{Transport: cfg.Transport, Address: at}
	return l, nil
}

// addr is where it listens.
func (l *listener) addr() net.Addr {
	if l.stream != nil {
		return l.stream.Addr()
	}
	return l.packet.LocalAddr()
}

// start begins to read.
func (l *listener) start() {
	src := l.ses.src
	if l.stream != nil {
		l.ses.readers.Go(l.accept)
		return
	}
	if got := raiseReceiveBuffer(l.packet, src.cfg.ReceiveBuffer); got < src.cfg.ReceiveBuffer && l.cfg.Transport == UDP {
		src.log().Info("the UDP receive buffer is smaller than asked for: raise net.core.rmem_max to lose fewer datagrams in bursts",
			"bytes", got, "asked", src.cfg.ReceiveBuffer)
	}
	for range src.cfg.UDPReaders {
		p := &patience{sock: l.packet}
		l.patience = append(l.patience, p)
		l.ses.readers.Go(func() { l.readPackets(p) })
	}
}

// pollDrops adds what the kernel dropped on a datagram socket since it was asked
// last. The kernel's counter has 32 bits and wraps.
func (l *listener) pollDrops() {
	if l.packet == nil {
		return
	}
	more := l.newDrops()
	if more == 0 {
		return
	}
	l.dropped.Add(more)
	if h := l.ses.src.cfg.Hooks.Dropped; h != nil {
		h(l.id, more)
	}
}

func (l *listener) newDrops() (more int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	drops, ok := kernelDrops(l.packet)
	if !ok {
		return 0
	}
	if l.asked {
		more = int64(drops - l.drops)
	}
	l.drops, l.asked = drops, true
	return more
}

func (l *listener) close() error {
	l.pollDrops()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.stream != nil {
		err = l.stream.Close()
	} else {
		err = l.packet.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, l.file.remove())
}

// closeQuietly closes where nobody waits for the error.
func (l *listener) closeQuietly() {
	if err := l.close(); err != nil {
		l.ses.src.log().Warn("closing a listener failed", "transport", l.id.Transport, "address", l.id.Address, "error", err)
	}
}

// open binds every address and reads them; it binds all or none.
func (s *Source) open() (*session, error) {
	ses := &session{src: s, drained: make(chan struct{}), stopPolls: make(chan struct{}),
		conns: map[*conn]struct{}{}, peers: map[netip.Addr]int{}}
	for i, cfg := range s.listeners {
		l, err := ses.bind(cfg, s.addresses[i], s.counters[i])
		if err != nil {
			for _, l := range ses.listeners {
				l.close()
			}
			return nil, fmt.Errorf("syslog source: %s: %w", cfg.Transport, err)
		}
		ses.listeners = append(ses.listeners, l)
	}
	for i, l := range ses.listeners {
		s.addresses[i] = l.id.Address // a later Open has the same ports
		l.start()
	}
	go ses.poll()
	return ses, nil
}

// dropsEvery is the time between questions to the kernel.
const dropsEvery = time.Second

// poll asks for drops, so that hooks and the log tell of them in time.
func (ses *session) poll() {
	tick := time.NewTicker(dropsEvery)
	defer tick.Stop()
	var said int64
	for {
		select {
		case <-ses.stopPolls:
			return
		case <-tick.C:
		}
		var dropped int64
		for _, l := range ses.listeners {
			l.pollDrops()
			dropped += l.dropped.Load()
		}
		if dropped > said && ses.src.drops.now() {
			ses.src.log().Warn("the kernel dropped datagrams: lines come faster than they are taken", "dropped_in_all", dropped)
			said = dropped
		}
	}
}

// drain lets the sockets be read until a time, then no more. Listeners close first.
func (ses *session) drain(until time.Time) {
	ses.mu.Lock()
	if ses.until.IsZero() || until.Before(ses.until) {
		ses.until = until
	}
	backlog := time.Now().Add(backlogFor)
	if until.Before(backlog) {
		backlog = until
	}
	for _, l := range ses.listeners {
		if l.stream != nil {
			l.stream.SetDeadline(backlog)
		}
		for _, p := range l.patience {
			p.drain(until)
		}
	}
	for c := range ses.conns {
		c.drain(until)
	}
	ses.mu.Unlock()
	ses.drainOnce.Do(func() {
		go func() {
			ses.readers.Wait()
			close(ses.drained)
		}()
	})
}

// close ends everything and waits for it. Readers get a moment for what the
// sockets hold, because the source may be opened again.
func (ses *session) close() error {
	ses.drain(time.Now().Add(backlogFor))
	<-ses.drained
	ses.closeOnce.Do(func() { close(ses.stopPolls) })
	var errs []error
	for _, l := range ses.listeners {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
