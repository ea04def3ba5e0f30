package wire

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/millstream-io/millstream/log/broker"
)

// Config of a server. The zero value of every field but Broker and Listeners
// is the default named.
type Config struct {
	Broker    *broker.Broker // required; the caller closes it after Serve has returned
	Listeners []Listener     // at least one

	// NoAutoCreate refuses to make topics that a metadata request names
	// (auto.create.topics.enable=false).
	NoAutoCreate bool

	// MaxRequestBytes closes a connection that announces a larger request
	// (socket.request.max.bytes); 100 MiB.
	MaxRequestBytes int32
	// MaxInFlightBytes bounds the memory of requests that are being read or
	// handled, over all connections; who comes above it is not read until others
	// are done. Half of it is for requests above 1 MiB; those up to 16 KiB are not
	// counted. A request other than
	// produce and fetch has at most a 128th, because it may grow that much when it
	// is decoded. 512 MiB, at least twice MaxRequestBytes.
	MaxInFlightBytes int64
	// MaxFetchBytes bounds one fetch's answer (fetch.max.bytes); 55 MiB.
	MaxFetchBytes int32
	// MaxConnections over all listeners; 0: the broker's max.connections, as it
	// is when a connection comes.
	MaxConnections int
	// MaxConnectionsPerIP; 0: the broker's max.connections.per.ip, and
	// max.connections.per.ip.overrides for single addresses, likewise.
	MaxConnectionsPerIP int
	// MaxPipelined is how many requests of one connection may wait for their
	// answers; 64.
	MaxPipelined int
	// MaxFetchSessions bounds the cache of incremental fetch sessions
	// (max.incremental.fetch.session.cache.slots); 1000.
	MaxFetchSessions int
	// IdleTimeout closes a connection on which nothing came and nothing could be
	// sent for so long (connections.max.idle.ms); 10 min.
	IdleTimeout time.Duration
	// FrameTimeout closes a connection that stops in the middle of a request; 30 s.
	FrameTimeout time.Duration
	// DrainTimeout is how long Serve lets requests finish after ctx ended; 5 s.
	DrainTimeout time.Duration

	// Now is the wall clock of throttling and metrics; time.Now.
	Now func() time.Time

	// Security says who may come and what they may do; nobody is asked by default.
	Security Security

	Hooks  Hooks
	Logger *slog.Logger // discards
}

// Listener is one address that is served.
type Listener struct {
	// Name tells listeners apart in logs and metrics (Kafka's listener name); "PLAINTEXT", "SSL", ... by what is set.
	Name string
	// Addr to bind, host:port; port 0 takes a free one.
	Addr string
	// Advertised is the host:port that metadata tells clients who came by this
	// listener; the bound address if empty. Port 0 stands for the bound port.
	Advertised string
	// TLS if set; client certificates as it says.
	TLS *tls.Config
	// SASL lists the mechanisms of which a client must use one; none: no authentication.
	SASL []string
}

// Hooks are called for each request and connection, from the goroutine that
// serves it; nil is off. They must not block.
type Hooks struct {
	// Served: a request was answered (or, with acks=0, handled).
	Served func(Served)
	// Connected: a connection was accepted.
	Connected func(listener string)
	// Disconnected: it ended. reason is one of the Closed constants.
	Disconnected func(listener string, reason CloseReason)
	// Rejected: a connection was refused because of a bound on connections.
	Rejected func(listener string)
}

// Served describes one request for metrics.
type Served struct {
	Key, Version int16
	Listener     string
	BytesIn      int           // of the request, without its size
	BytesOut     int64         // of the answer, without its size; 0 if there is none
	Errors       int           // error codes in the answer that are not 0
	Took         time.Duration // from the whole request's arrival to the answer's last byte written
}

// validate fills the defaults in and reports every problem at once.
func (c *Config) validate() error {
	var errs []error
	if c.Broker == nil {
		errs = append(errs, errors.New("no Broker: open one with broker.Open"))
	}
	if len(c.Listeners) == 0 {
		errs = append(errs, errors.New("no Listeners: say at least one address"))
	}
	for i := range c.Listeners {
		if err := c.Listeners[i].validate(); err != nil {
			errs = append(errs, err)
		}
	}
	orDefault(&c.MaxRequestBytes, 100<<20)
	orDefault(&c.MaxInFlightBytes, 512<<20)
	orDefault(&c.MaxFetchBytes, 55<<20)
	orDefault(&c.MaxPipelined, 64)
	orDefault(&c.MaxFetchSessions, 1000)
	orDefault(&c.IdleTimeout, 10*time.Minute)
	orDefault(&c.FrameTimeout, 30*time.Second)
	orDefault(&c.DrainTimeout, 5*time.Second)
	if c.MaxRequestBytes < 0 || c.MaxConnections < 0 || c.MaxConnectionsPerIP < 0 {
		errs = append(errs, errors.New("a bound is negative; 0 is the default"))
	}
	if c.MaxInFlightBytes < 2*int64(c.MaxRequestBytes) {
		errs = append(errs, fmt.Errorf("MaxInFlightBytes is %d, expected at least twice MaxRequestBytes %d", c.MaxInFlightBytes, c.MaxRequestBytes))
	}
	if err := c.Security.validate(c.Listeners); err != nil {
		errs = append(errs, err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(errs) > 0 {
		return fmt.Errorf("wire: config: %w", errors.Join(errs...))
	}
	return nil
}

func (l *Listener) validate() error {
	if _, _, err := net.SplitHostPort(l.Addr); err != nil {
		return fmt.Errorf("listener address %q: expected host:port: %w", l.Addr, err)
	}
	if l.Advertised != "" {
		if _, _, err := net.SplitHostPort(l.Advertised); err != nil {
			return fmt.Errorf("advertised address %q: expected host:port: %w", l.Advertised, err)
		}
	}
	if l.Name == "" {
		switch tls, sasl := l.TLS != nil, len(l.SASL) > 0; {
		case tls && sasl:
			l.Name = "SASL_SSL"
		case sasl:
			l.Name = "SASL_PLAINTEXT"
		case tls:
			l.Name = "SSL"
		default:
			l.Name = "PLAINTEXT"
		}
	}
	return nil
}

func orDefault[T ~int | ~int32 | ~int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
