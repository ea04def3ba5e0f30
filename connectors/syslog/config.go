package syslog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Transport is how lines come in.
type Transport string

// The transports of a Listener.
const (
	UDP      Transport = "udp"      // a datagram is a line (RFC 5426)
	TCP      Transport = "tcp"      // frames of a stream (RFC 6587)
	TLS      Transport = "tls"      // the same, encrypted (RFC 5425)
	Unix     Transport = "unix"     // a stream socket in the file system
	Unixgram Transport = "unixgram" // a datagram socket in the file system, as /dev/log is
)

// stream says whether a transport has connections.
func (t Transport) stream() bool { return t == TCP || t == TLS || t == Unix }

// Framing is how lines are cut out of a stream.
type Framing string

// The framings of a Listener with a stream transport.
const (
	// FramingAuto looks at each message: "LEN SP <" is octet-counted, everything
	// else ends at LF or NUL. Once a connection has had a counted message, "LEN SP"
	// alone is one.
	FramingAuto    Framing = ""
	FramingOctets  Framing = "octets"  // octet-counted only; anything else is a framing error, which ends the connection
	FramingNewline Framing = "newline" // LF ends a line, digits at its beginning are text
	FramingNUL     Framing = "nul"     // NUL ends a line, LF is text
)

// Listener is one address to listen on.
type Listener struct {
	Transport Transport
	// Address is "host:port" (port 0: the system's choice), or the path of a unix
	// socket ("@name": Linux's abstract namespace). A path is removed when the
	// source closes; a socket that is there already is taken over if nobody
	// listens on it, and refused otherwise.
	Address string
	Framing Framing     // of stream transports
	TLS     TLSConfig   // of transport TLS
	Mode    fs.FileMode // of a unix socket's path; 0: what the umask leaves
}

// TLSConfig is a server's certificate and what it asks of its clients. The files
// are PEM; when they change, connections from then on see the new ones, and a
// file that cannot be read leaves the old ones in force with a warning.
type TLSConfig struct {
	CertFile, KeyFile string // the server's certificate, followed by intermediate ones, and its key
	ClientCAFile      string // who may sign clients' certificates; "": clients are not asked for one
	// ClientOptional lets clients without a certificate in. Without it, and with a
	// ClientCAFile, they are refused. A certificate that does not verify is
	// refused in any case.
	ClientOptional bool
	MinVersion     string // "1.2" (default) or "1.3"
}

// Config is where a Source listens. The zero value of a field is its default.
type Config struct {
	// UDP and TCP are addresses like "127.0.0.1:514"; port 0 is the system's
	// choice. Each is short for one of Listeners.
	UDP, TCP  string
	Listeners []Listener // any number of every kind, after UDP and TCP

	Parser ParserConfig // Years is NearestYear unless it is FixedYear

	// MaxAhead bounds how far a line's own time may be ahead of its coming. A line
	// beyond has the time at which it came, and its own in HeaderAhead: else one
	// sender's wrong clock makes the lines of all others late, whose windows it
	// closes. Default 0: not bounded.
	MaxAhead time.Duration
	// MaxLine is the longest line in bytes, at most 1,000,000. Of longer ones the
	// beginning becomes a dead letter, the rest is skipped. Default 64 KiB.
	MaxLine int
	// QueueBytes bounds the lines between the sockets and the log. When it is full,
	// sockets are not read: stream senders are held back, of UDP the kernel
	// keeps what ReceiveBuffer holds and counts what it drops. Default 4 MiB.
	QueueBytes    int
	ReceiveBuffer int // SO_RCVBUF of datagram sockets in bytes, as far as the system lets it. Default 8 MiB
	// UDPReaders is the number of goroutines that read each datagram socket. With
	// more than one, lines of one sender may change places. Default 1.
	UDPReaders int

	MaxConns        int // stream connections at once over all listeners; more are closed. Default 1024
	MaxConnsPerPeer int // of these, from one IP address. Default 0: no bound of its own
	// IdleTimeout closes a connection that has sent nothing for so long. Default 0:
	// never, because syslog senders may have nothing to say for days (dead peers
	// are found by TCP keepalives).
	IdleTimeout time.Duration
	// LineTimeout closes a connection that stopped in the middle of a line for so
	// long; what came is a dead letter. It bounds the TLS handshake too. Default 1 minute.
	LineTimeout time.Duration

	// DrainFor bounds how long the sockets are read on after the end, for what is
	// in their buffers; a socket that is silent for 100 ms is done. Default 1 s.
	DrainFor time.Duration

	Hooks  Hooks
	Logger *slog.Logger // until Open brings one
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	setDefault(&c.MaxLine, 64<<10)
	setDefault(&c.QueueBytes, 4<<20)
	setDefault(&c.ReceiveBuffer, 8<<20)
	setDefault(&c.UDPReaders, 1)
	setDefault(&c.MaxConns, 1024)
	setDefault(&c.LineTimeout, time.Minute)
	setDefault(&c.DrainFor, time.Second)
	if c.Parser.Years != FixedYear {
		c.Parser.Years = NearestYear
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// listeners are all of them, UDP and TCP first.
func (c *Config) listeners() []Listener {
	var all []Listener
	if c.UDP != "" {
		all = append(all, Listener{Transport: UDP, Address: c.UDP})
	}
	if c.TCP != "" {
		all = append(all, Listener{Transport: TCP, Address: c.TCP})
	}
	return append(all, c.Listeners...)
}

// mostMaxLine leaves room for a record's headers within the log's default
// max.message.bytes.
const mostMaxLine = 1_000_000

// Validate reports every problem of a configuration at once: what New would not
// accept and Listen returns. It reads certificate files, and binds nothing.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	problem := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("syslog source: "+format, args...))
	}
	positive := func(name string, v int) {
		if v < 0 {
			problem("%s is %d, it must be positive", name, v)
		}
	}
	positive("MaxLine", c.MaxLine)
	positive("QueueBytes", c.QueueBytes)
	positive("ReceiveBuffer", c.ReceiveBuffer)
	positive("UDPReaders", c.UDPReaders)
	positive("MaxConns", c.MaxConns)
	positive("MaxConnsPerPeer", c.MaxConnsPerPeer)
	if c.MaxLine > mostMaxLine {
		problem("MaxLine is %d, it can be at most %d: a record of the log is not larger", c.MaxLine, mostMaxLine)
	}
	for name, d := range map[string]time.Duration{"IdleTimeout": c.IdleTimeout, "LineTimeout": c.LineTimeout, "DrainFor": c.DrainFor, "MaxAhead": c.MaxAhead} {
		if d < 0 {
			problem("%s is %v, it must not be negative", name, d)
		}
	}
	all := c.listeners()
	if len(all) == 0 {
		problem("it listens nowhere: give UDP, TCP or Listeners")
	}
	seen := map[string]bool{}
	for i, l := range all {
		if err := l.validate(); err != nil {
			problem("listener %d (%s %s): %w", i+1, l.Transport, l.Address, err)
		}
		at := l.network() + " " + l.Address
		if seen[at] && !strings.HasSuffix(l.Address, ":0") {
			problem("listener %d (%s %s): the address is given twice", i+1, l.Transport, l.Address)
		}
		seen[at] = true
	}
	return errors.Join(errs...)
}

// network is the name under which package net knows a transport.
func (l *Listener) network() string {
	if l.Transport == TLS {
		return string(TCP)
	}
	return string(l.Transport)
}

func (l *Listener) validate() error {
	var errs []error
	switch l.Transport {
	case UDP, TCP, TLS:
		if _, _, err := net.SplitHostPort(l.Address); err != nil {
			errs = append(errs, fmt.Errorf("the address is not host:port: %w", err))
		}
		if l.Mode != 0 {
			errs = append(errs, errors.New("a mode is for unix sockets"))
		}
	case Unix, Unixgram:
		switch {
		case l.Address == "":
			errs = append(errs, errors.New("the address must be a path"))
		case len(l.Address) > maxUnixPath:
			errs = append(errs, fmt.Errorf("the path has %d bytes, unix sockets allow %d: use a shorter one", len(l.Address), maxUnixPath))
		}
		if l.Mode&^fs.ModePerm != 0 {
			errs = append(errs, fmt.Errorf("the mode %v has more than permission bits", l.Mode))
		}
	default:
		return fmt.Errorf("unknown transport %q: use %s, %s, %s, %s or %s", l.Transport, UDP, TCP, TLS, Unix, Unixgram)
	}
	switch l.Framing {
	case FramingAuto:
	case FramingOctets, FramingNewline, FramingNUL:
		if !l.Transport.stream() {
			errs = append(errs, fmt.Errorf("framing %q is for streams: a datagram is one line", l.Framing))
		}
	default:
		errs = append(errs, fmt.Errorf("unknown framing %q: use %q, %q, %q, or nothing for detection", l.Framing, FramingOctets, FramingNewline, FramingNUL))
	}
	if l.Transport == TLS {
		if _, err := newCertificates(l.TLS); err != nil {
			errs = append(errs, err)
		}
	} else if l.TLS != (TLSConfig{}) {
		errs = append(errs, errors.New("TLS settings are for transport tls"))
	}
	return errors.Join(errs...)
}
