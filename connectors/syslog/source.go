package syslog

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Source listens for syslog lines. What it has read is in the log when the
// engine has committed it; until then it is in this process only, and a crash
// loses it: syslog has no acknowledgement.
type Source struct {
	cfg    Config
	parser *Parser
	queue  *queue
	ledger *ledger
	logger atomic.Pointer[slog.Logger]

	received [8]byte
	headers  [6]record.Header

	bad, handed             atomic.Int64
	drops, refusals, breaks seldom

	listeners []Listener
	counters  []*counters

	mu        sync.Mutex
	addresses []string // to bind, one for each listener; with the port once the system has chosen one
	session   *session // nil: not listening
}

var (
	_ connectors.Source    = (*Source)(nil)
	_ connectors.Measurer  = (*Source)(nil)
	_ connectors.Ephemeral = (*Source)(nil)
)

// New makes a source. Listen or Open binds the sockets, and says what is wrong
// with the configuration.
func New(cfg Config) *Source {
	cfg = cfg.withDefaults()
	s := &Source{cfg: cfg, parser: NewParser(cfg.Parser), queue: newQueue(cfg.QueueBytes), ledger: newLedger(), listeners: cfg.listeners()}
	for _, l := range s.listeners {
		s.addresses = append(s.addresses, l.Address)
		s.counters = append(s.counters, new(counters))
	}
	s.logger.Store(cfg.Logger)
	return s
}

func (s *Source) log() *slog.Logger { return s.logger.Load() }

// Listen binds the sockets and begins to read them, so that an address that is
// taken is an error before anything else starts. Open does it otherwise.
func (s *Source) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return nil
	}
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	s.queue.hurry(false)
	ses, err := s.open()
	if err != nil {
		return err
	}
	s.session = ses
	return nil
}

// UDPAddr is the first UDP address listened on, nil if there is none.
func (s *Source) UDPAddr() *net.UDPAddr {
	a, _ := s.Addr(UDP).(*net.UDPAddr)
	return a
}

// TCPAddr is the first address listened on for plain TCP, nil if there is none.
func (s *Source) TCPAddr() *net.TCPAddr {
	a, _ := s.Addr(TCP).(*net.TCPAddr)
	return a
}

// Addr is the first address of a transport that is listened on, nil if there is none.
func (s *Source) Addr(t Transport) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		for _, l := range s.session.listeners {
			if l.cfg.Transport == t {
				return l.addr()
			}
		}
	}
	return nil
}

// Stats may be called at any time, also after Close.
func (s *Source) Stats() Stats {
	var sum Stats
	for _, l := range s.ListenerStats() {
		sum.add(l.Stats)
	}
	sum.Bad = s.bad.Load()
	sum.Waiting = max(0, sum.Lines-s.handed.Load())
	return sum
}

// ListenerStats are the counts of each listener: UDP and TCP of Config first, then
// its Listeners. It may be called at any time.
func (s *Source) ListenerStats() []ListenerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		for _, l := range s.session.listeners {
			l.pollDrops()
		}
	}
	out := make([]ListenerStats, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = ListenerStats{Transport: l.Transport, Address: s.addresses[i], Stats: s.counters[i].stats()}
	}
	return out
}

// Measures tells the engine's metrics how many lines wait and how many were lost.
func (s *Source) Measures() connectors.Measures {
	st := s.Stats()
	return connectors.Measures{LagRecords: st.Waiting, LagBytes: -1, Dropped: st.Dropped + st.Discarded}
}

// Open begins to listen. A position of this Source brings back the lines that
// Read returned after it; of another process's there is nothing to bring back,
// sockets do not replay.
func (s *Source) Open(_ context.Context, cfg connectors.SourceContext, position []byte) error {
	if cfg.Logger != nil {
		s.logger.Store(cfg.Logger)
	}
	s.ledger.rewind(position)
	return s.Listen()
}

// Position is the number of lines that Read has returned, with this Source's id.
func (s *Source) Position() []byte { return s.ledger.mark() }

// Ephemeral says that a position is this process's: another cannot replay.
func (s *Source) Ephemeral() {}

// readBytes is about how much one Read returns at most.
const readBytes = 256 << 10

// Read waits for lines, or until ctx's deadline. When ctx is canceled the
// listeners close and the sockets are read on for DrainFor; Read returns what is
// left, call by call, and then ctx.Err().
func (s *Source) Read(ctx context.Context, out *connectors.Batch) error {
	s.ledger.committed()
	s.mu.Lock()
	ses := s.session
	s.mu.Unlock()
	if ses == nil {
		return net.ErrClosed
	}
	for {
		if s.hand(out) > 0 {
			return nil
		}
		done := ctx.Done()
		switch err := ctx.Err(); {
		case errors.Is(err, context.DeadlineExceeded): // the engine wants to commit
			return err
		case err != nil:
			ses.drain(time.Now().Add(s.cfg.DrainFor))
			done = nil
		}
		select {
		case <-done:
		case <-s.queue.ready:
			s.ledger.fill(s.queue)
		case <-ses.drained:
			if !s.ledger.fill(s.queue) {
				if err := ctx.Err(); err != nil {
					return err
				}
				return net.ErrClosed
			}
		}
	}
}

// hand puts lines that the ledger has into out and returns how many.
func (s *Source) hand(out *connectors.Batch) int {
	n, fresh := 0, int64(0)
	for ; out.Bytes() < readBytes; n++ {
		c, r, again := s.ledger.line()
		if r == nil {
			break
		}
		good := s.add(c.arena[r.from:r.to], r, out)
		if again {
			continue
		}
		if fresh++; !good {
			s.bad.Add(1)
		}
	}
	s.handed.Add(fresh)
	return n
}

// add makes a record, or a dead letter, of a line.
func (s *Source) add(line []byte, r *received, out *connectors.Batch) (good bool) {
	binary.BigEndian.PutUint64(s.received[:], uint64(r.at))
	headers := append(s.headers[:0],
		record.Header{Key: HeaderReceived, Value: s.received[:]},
		record.Header{Key: HeaderRemote, Value: r.sender.remote},
		record.Header{Key: HeaderTransport, Value: r.sender.transport})
	if r.sender.subject != nil {
		headers = append(headers, record.Header{Key: HeaderSubject, Value: r.sender.subject})
	}
	var parsed Parsed
	err := r.bad
	if err == nil {
		parsed, err = s.parser.Parse(line, time.Unix(0, r.at))
	}
	if err != nil {
		out.Add(connectors.Out{Value: line, Headers: headers, Timestamp: record.NoTimestamp, Partition: -1, DeadLetter: err.Error()})
		return false
	}
	if parsed.NoPriority {
		headers = append(headers, record.Header{Key: HeaderNoPriority, Value: []byte{}})
	}
	came := time.Unix(0, r.at).UnixMilli()
	switch {
	case parsed.TimeMS == record.NoTimestamp:
		parsed.TimeMS = came
	case s.cfg.MaxAhead > 0 && parsed.TimeMS-came > s.cfg.MaxAhead.Milliseconds():
		headers = append(headers, record.Header{Key: HeaderAhead, Value: strconv.AppendInt(nil, parsed.TimeMS, 10)})
		parsed.TimeMS = came
	}
	if parsed.Host == nil {
		parsed.Host = r.sender.host
	}
	out.Add(connectors.Out{Key: parsed.Host, Value: line, Headers: headers, Timestamp: parsed.TimeMS, Partition: -1})
	return true
}

// Close stops listening. Lines that Read has not returned, or that were not
// committed, come after the next Open of this Source, and are lost without one:
// let Read drain first.
func (s *Source) Close() error {
	s.mu.Lock()
	ses := s.session
	s.mu.Unlock()
	if ses == nil {
		return nil
	}
	s.queue.hurry(true)
	err := ses.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = nil
	return err
}

// seldom keeps a flood of events from flooding the log: one line in ten seconds.
type seldom struct{ last atomic.Int64 }

func (s *seldom) now() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return (last == 0 || now-last >= int64(10*time.Second)) && s.last.CompareAndSwap(last, now)
}
