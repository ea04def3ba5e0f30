package syslog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Config is where a Source listens. The zero value of a field is its default.
type Config struct {
	UDP, TCP string // addresses like "127.0.0.1:514"; port 0 is the system's choice; "": not at all

	Parser ParserConfig // Years is NearestYear unless it is FixedYear

	MaxLine       int // longest line in bytes; longer ones are dead letters. Default 64 KiB
	QueueBytes    int // lines between the sockets and the log. Default 4 MiB
	ReceiveBuffer int // SO_RCVBUF of the UDP socket in bytes, as far as the system lets it. Default 8 MiB
	UDPReaders    int // goroutines that read the UDP socket. Default 2
	MaxConns      int // TCP connections at once; more are closed. Default 1024
	// DrainFor is how long the sockets are read on after the end, for what is in
	// their buffers. Default 100 ms.
	DrainFor time.Duration
	Logger   *slog.Logger // until Open brings one
}

// Source listens for syslog lines. What it has read is not in the log until the
// engine commits it: a crash loses it, as syslog has no acknowledgement.
type Source struct {
	cfg    Config
	parser *Parser
	queue  *queue
	logger atomic.Pointer[slog.Logger]

	now     chunk // what Read is working through, from next on
	next    int
	time    [8]byte
	headers [3]record.Header

	lines, bytes, bad, conns, refused atomic.Int64

	drainOnce sync.Once
	drained   chan struct{} // closed when no socket is read any more
	readers   sync.WaitGroup

	mu       sync.Mutex
	udp      *net.UDPConn
	tcp      *net.TCPListener
	open     map[net.Conn]struct{}
	deadline time.Time // of reads, once draining
	dropped  int64     // of the UDP socket when it was closed
	closed   bool
}

var _ connectors.Source = (*Source)(nil)

// New makes a source. Listen or Open binds the sockets.
func New(cfg Config) *Source {
	setDefault(&cfg.MaxLine, 64<<10)
	setDefault(&cfg.QueueBytes, 4<<20)
	setDefault(&cfg.ReceiveBuffer, 8<<20)
	setDefault(&cfg.UDPReaders, 2)
	setDefault(&cfg.MaxConns, 1024)
	if cfg.DrainFor == 0 {
		cfg.DrainFor = 100 * time.Millisecond
	}
	if cfg.Parser.Years != FixedYear {
		cfg.Parser.Years = NearestYear
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{cfg: cfg, parser: NewParser(cfg.Parser), queue: newQueue(cfg.QueueBytes),
		drained: make(chan struct{}), open: map[net.Conn]struct{}{}}
	s.logger.Store(cfg.Logger)
	return s
}

func setDefault(v *int, to int) {
	if *v == 0 {
		*v = to
	}
}

// Listen binds the sockets and begins to read them, so that an address that is
// taken is an error before anything else starts. Open does it otherwise.
func (s *Source) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.udp != nil || s.tcp != nil:
		return nil
	case s.cfg.UDP == "" && s.cfg.TCP == "":
		return errors.New("syslog source: neither a UDP nor a TCP address is given")
	}
	if s.cfg.UDP != "" {
		if err := s.listenUDP(); err != nil {
			return fmt.Errorf("syslog source: %w", err)
		}
	}
	if s.cfg.TCP != "" {
		if err := s.listenTCP(); err != nil {
			if s.udp != nil {
				s.udp.Close()
			}
			return fmt.Errorf("syslog source: %w", err)
		}
	}
	return nil
}

// UDPAddr is the address listened on, nil if there is none.
func (s *Source) UDPAddr() *net.UDPAddr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.udp == nil {
		return nil
	}
	return s.udp.LocalAddr().(*net.UDPAddr)
}

// TCPAddr is the address listened on, nil if there is none.
func (s *Source) TCPAddr() *net.TCPAddr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr().(*net.TCPAddr)
}

// Stats is what a source has counted.
type Stats struct {
	Lines   int64 // read from the sockets, good and bad
	Bytes   int64 // of those lines
	Bad     int64 // of those lines, dead letters; counted when Read takes them
	Dropped int64 // datagrams that the kernel dropped because the socket's buffer was full
	Conns   int64 // TCP connections open now
	Refused int64 // TCP connections closed because there were too many
}

// Stats may be called at any time, also after Close.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	dropped := s.dropped
	if s.udp != nil && !s.closed {
		dropped = kernelDrops(s.udp)
	}
	s.mu.Unlock()
	return Stats{Lines: s.lines.Load(), Bytes: s.bytes.Load(), Bad: s.bad.Load(), Dropped: dropped,
		Conns: s.conns.Load(), Refused: s.refused.Load()}
}

// Open begins to listen. The position is always nil: sockets do not replay.
func (s *Source) Open(_ context.Context, cfg connectors.SourceContext, _ []byte) error {
	if cfg.Logger != nil {
		s.logger.Store(cfg.Logger)
	}
	return s.Listen()
}

// Position is nil: sockets do not replay.
func (s *Source) Position() []byte { return nil }

// readBytes is about how much one Read returns at most.
const readBytes = 256 << 10

// Read waits for lines, or until ctx's deadline. When ctx is canceled the
// sockets are read on for DrainFor; Read returns what is left, call by call, and
// then ctx.Err().
func (s *Source) Read(ctx context.Context, out *connectors.Batch) error {
	for {
		if s.next < len(s.now.lines) {
			for s.next < len(s.now.lines) && out.Bytes() < readBytes {
				s.add(&s.now.lines[s.next], out)
				s.next++
			}
			return nil
		}
		done := ctx.Done()
		switch err := ctx.Err(); {
		case errors.Is(err, context.DeadlineExceeded): // the engine wants to commit
			return err
		case err != nil:
			s.drain(time.Now().Add(s.cfg.DrainFor))
			done = nil
		}
		select {
		case <-done:
		case <-s.queue.ready:
			s.take()
		case <-s.drained:
			if s.take(); len(s.now.lines) == 0 {
				if err := ctx.Err(); err != nil {
					return err
				}
				return net.ErrClosed
			}
		}
	}
}

func (s *Source) take() {
	s.queue.take(&s.now)
	s.next = 0
}

// add makes a record, or a dead letter, of a line.
func (s *Source) add(r *received, out *connectors.Batch) {
	line := s.now.arena[r.from:r.to]
	binary.BigEndian.PutUint64(s.time[:], uint64(r.at))
	s.headers[0] = record.Header{Key: HeaderReceived, Value: s.time[:]}
	s.headers[1] = record.Header{Key: HeaderRemote, Value: r.sender.remote}
	headers := s.headers[:2]

	var parsed Parsed
	err := r.bad
	if err == nil {
		parsed, err = s.parser.Parse(line, time.Unix(0, r.at))
	}
	if err != nil {
		s.bad.Add(1)
		out.Add(connectors.Out{Value: line, Headers: headers, Timestamp: record.NoTimestamp, Partition: -1, DeadLetter: err.Error()})
		return
	}
	if parsed.NoPriority {
		s.headers[2] = record.Header{Key: HeaderNoPriority, Value: []byte{}}
		headers = s.headers[:3]
	}
	if parsed.TimeMS == record.NoTimestamp {
		parsed.TimeMS = time.Unix(0, r.at).UnixMilli()
	}
	if parsed.Host == nil {
		parsed.Host = r.sender.host
	}
	out.Add(connectors.Out{Key: parsed.Host, Value: line, Headers: headers, Timestamp: parsed.TimeMS, Partition: -1})
}

// deliver hands a line to Read; false once the source is closed.
func (s *Source) deliver(line []byte, from *sender, bad error) bool {
	if !s.queue.push(line, received{at: time.Now().UnixNano(), sender: from, bad: bad}) {
		return false
	}
	s.lines.Add(1)
	s.bytes.Add(int64(len(line)))
	return true
}

// drain lets the sockets be read until a deadline, then no more.
func (s *Source) drain(until time.Time) {
	s.drainOnce.Do(func() {
		s.mu.Lock()
		s.deadline = until
		if s.tcp != nil {
			s.tcp.SetDeadline(until)
		}
		if s.udp != nil {
			s.udp.SetReadDeadline(until)
		}
		for c := range s.open {
			c.SetReadDeadline(until)
		}
		s.mu.Unlock()
		go func() {
			s.readers.Wait()
			close(s.drained)
		}()
	})
}

// Close stops listening. What Read has not returned is lost; let Read drain first.
func (s *Source) Close() error {
	s.queue.close()
	s.drain(time.Unix(1, 0))
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var errs []error
	if s.udp != nil {
		s.dropped = kernelDrops(s.udp)
		errs = append(errs, s.udp.Close())
	}
	if s.tcp != nil {
		errs = append(errs, s.tcp.Close())
	}
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	<-s.drained
	return errors.Join(errs...)
}
