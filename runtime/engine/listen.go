package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Listen lets Kafka clients reach an embedded log while the program runs: they
// read its results, write its input, see its groups and the topics that it keeps
// for itself, as with `millstream serve`. The zero value listens nowhere.
//
// They may also delete a topic or fence the program's own transactions: on a
// network that is not yours alone, say who may do what (Security.Authorization).
type Listen struct {
	// Addr is [PROTOCOL://]HOST:PORT, several with commas: PLAINTEXT (default),
	// SSL, SASL_PLAINTEXT or SASL_SSL. Port 0 takes a free one; see Engine.ListenAddrs.
	Addr string
	// Advertised is what clients are told to connect to, one for each of Addr;
	// default: where it listens.
	Advertised string
	// Insecure allows listeners beyond loopback without TLS.
	Insecure bool
	// TLS holds the files of SSL and SASL_SSL listeners.
	TLS wire.TLSFiles
	// SASL lists the mechanisms of SASL listeners; default: both of SCRAM, and PLAIN
	// where Security.PlainPassword is set.
	SASL []string
	// Security says how users prove who they are and what they may do.
	Security wire.Security
	// AutoCreate makes topics that clients ask for (default: no, a wrong name is an
	// error for them).
	AutoCreate bool
	// Hooks are called per request and connection.
	Hooks wire.Hooks
}

// brokered is a log that is in this process.
type brokered interface{ Broker() *broker.Broker }

// validateListen reports what is wrong with Listen; the files are read by New.
func (c *Config) validateListen() error {
	if c.Listen.Addr == "" {
		return nil
	}
	if _, ok := c.embeddedDir(); !ok {
		return fmt.Errorf("Listen is for an embedded log, but Log is %q: its brokers serve the clients", c.Log)
	}
	_, err := c.Listen.specs()
	return err
}

func (l *Listen) specs() ([]wire.ListenerSpec, error) {
	specs, err := wire.ParseListeners(l.Addr, l.Advertised, "")
	if err != nil {
		return nil, fmt.Errorf("Listen: %w", err)
	}
	for _, s := range specs {
		switch err := s.Exposed(); {
		case err == nil, errors.Is(err, wire.ErrExposed) && l.Insecure:
		case errors.Is(err, wire.ErrExposed):
			return nil, fmt.Errorf("Listen: %w: use SSL:// or SASL_SSL://, or set Listen.Insecure", err)
		default:
			return nil, fmt.Errorf("Listen: %w", err)
		}
	}
	return specs, nil
}

// listeners gives them certificates and mechanisms.
func (l *Listen) listeners(logger *slog.Logger) ([]wire.Listener, error) {
	specs, err := l.specs()
	if err != nil {
		return nil, err
	}
	mechanisms := l.SASL
	if len(mechanisms) == 0 {
		mechanisms = []string{wire.ScramSHA256, wire.ScramSHA512}
		if l.Security.PlainPassword != nil {
			mechanisms = append(mechanisms, wire.Plain)
		}
	}
	var out []wire.Listener
	for _, s := range specs {
		li := wire.Listener{Name: s.Protocol, Addr: s.Addr, Advertised: s.Advertised}
		if s.TLS() {
			files := l.TLS
			if files.Logger == nil {
				files.Logger = logger
			}
			if li.TLS, err = files.Load(); err != nil {
				return nil, fmt.Errorf("Listen %s://%s: %w", s.Protocol, s.Addr, err)
			}
		}
		if s.SASL() {
			li.SASL = slices.Clone(mechanisms)
		}
		out = append(out, li)
	}
	return out, nil
}

// listen takes the addresses; Run serves them. nil where nothing is to be served.
func listen(cfg Config, log logclient.Log) (*wire.Server, error) {
	if cfg.Listen.Addr == "" {
		return nil, nil
	}
	b, ok := log.(brokered)
	if !ok {
		return nil, fmt.Errorf("Listen is for an embedded log, not for a %T", log)
	}
	listeners, err := cfg.Listen.listeners(cfg.Logger)
	if err != nil {
		return nil, err
	}
	s, err := wire.New(wire.Config{
		Broker: b.Broker(), Listeners: listeners, Security: cfg.Listen.Security,
		NoAutoCreate: !cfg.Listen.AutoCreate, Hooks: cfg.Listen.Hooks, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return s, s.Listen()
}

// ListenAddrs are where Kafka clients connect, in the order of Config.Listen.Addr.
func (e *Engine) ListenAddrs() []net.Addr {
	if e.server == nil {
		return nil
	}
	return e.server.Addrs()
}

// serve answers Kafka clients until ctx is done.
func (e *Engine) serve(ctx context.Context) error {
	if e.server == nil {
		return nil
	}
	if err := e.server.Serve(ctx); err != nil && !errors.Is(err, wire.ErrServerClosed) {
		return fmt.Errorf("serve Kafka clients: %w", err)
	}
	return nil
}

// stopListening lets the addresses go.
func (e *Engine) stopListening() error {
	if e.server == nil {
		return nil
	}
	return e.server.Close()
}
