package syslog

import (
	"sync/atomic"
)

// Stats is what a source has counted since it was made, over all its listeners.
//
// For datagrams, once the sources are silent and Read has handed over what there
// was, sent = Lines + Dropped + Discarded, exactly, as far as the network brought
// them to the socket (Linux; elsewhere Dropped is not known).
type Stats struct {
	Lines     int64 // read from the sockets, good and bad
	Bytes     int64 // of those lines
	Bad       int64 // of those lines, dead letters; counted when Read hands them over
	Dropped   int64 // datagrams that the kernel dropped because the socket's buffer was full
	Discarded int64 // datagrams found in a socket's buffer when the time to drain was over
	Waiting   int64 // lines read from the sockets that Read has not handed over yet
	Conns     int64 // stream connections open now
	Accepted  int64 // stream connections accepted
	Refused   int64 // stream connections closed because there were too many
	TimedOut  int64 // stream connections closed by IdleTimeout or LineTimeout
	Failed    int64 // stream connections that broke: TLS handshakes, framing, resets
}

// ListenerStats is what one listener has counted.
type ListenerStats struct {
	Transport Transport
	Address   string // where it listens, with the port that the system chose
	Stats            // without Bad and Waiting
}

// Hooks are called on the source's goroutines, per batch and never per line, and
// must not block. nil is off.
type Hooks struct {
	// Received says that lines were read from a listener's socket.
	Received func(l ListenerID, lines, bytes int)
	// Dropped says that the kernel dropped datagrams; it is asked every second.
	Dropped func(l ListenerID, datagrams int64)
	// Connection says that a connection was accepted (+1) or ended (-1).
	Connection func(l ListenerID, change int)
}

// ListenerID names a listener in hooks.
type ListenerID struct {
	Transport Transport
	Address   string // where it listens, with the port that the system chose
}

// counters are those of one listener; they outlive its socket.
type counters struct {
	lines, bytes, dropped, discarded           atomic.Int64
	conns, accepted, refused, timedOut, failed atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{Lines: c.lines.Load(), Bytes: c.bytes.Load(), Dropped: c.dropped.Load(), Discarded: c.discarded.Load(),
		Conns: c.conns.Load(), Accepted: c.accepted.Load(), Refused: c.refused.Load(), TimedOut: c.timedOut.Load(), Failed: c.failed.Load()}
}

func (s *Stats) add(o Stats) {
	s.Lines += o.Lines
	s.Bytes += o.Bytes
	s.Dropped += o.Dropped
	s.Discarded += o.Discarded
	s.Conns += o.Conns
	s.Accepted += o.Accepted
	s.Refused += o.Refused
	s.TimedOut += o.TimedOut
	s.Failed += o.Failed
}
