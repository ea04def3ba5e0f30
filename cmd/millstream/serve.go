package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/metrics"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a data directory to Kafka clients",
		Long: `Opens a data directory, made if it is missing, and serves it to Kafka clients
until SIGTERM or SIGINT; then it lets requests finish, closes the directory
cleanly and ends with exit code 0. When clients can connect it prints one line,
"listening on ADDR", to stderr.

Beyond loopback it wants TLS, or an explicit --insecure.`,
		Example: `  millstream serve --data-dir /var/lib/millstream
  millstream serve --data-dir data --listen 127.0.0.1:9092,SASL_SSL://0.0.0.0:9093 \
      --advertise 127.0.0.1:9092,log.example.org:9093 --http 127.0.0.1:9644`,
		Args: exactly(0, "no arguments"),
		RunE: runServe,
	}
	addSettings(cmd, "data-dir", "flush", "listen", "advertise", "insecure", "partitions", "http", "pprof", "log-level")
	addSettings(cmd, serveSecuritySettings...)
	cmd.Flags().StringArray("property", nil, "broker configuration NAME=VALUE by Kafka's name, which the settings file takes too; may be repeated")
	return cmd
}

// server is `millstream serve` while it runs.
type server struct {
	logger *slog.Logger
	broker *broker.Broker
	wire   *wire.Server
	http   *httpServer // nil: none
}

func runServe(cmd *cobra.Command, _ []string) error {
	s, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	srv := &server{}
	if srv.logger, err = newLogger(cmd, s); err != nil {
		return err
	}
	if err := srv.open(cmd, s); err != nil {
		return errors.Join(err, srv.close())
	}
	var at []string
	for _, a := range srv.wire.Addrs() {
		at = append(at, a.String())
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "listening on", strings.Join(at, ", "))
	err = srv.run(cmd.Context())
	return errors.Join(err, srv.close())
}

// newLogger logs to stderr from --log-level on.
func newLogger(cmd *cobra.Command, s *settings) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.GetString("log-level"))); err != nil {
		return nil, usagef("setting log-level (%s) is %q: it must be debug, info, warn or error", s.source["log-level"], s.GetString("log-level"))
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})), nil
}

// open gets everything ready to serve, or says in one line why it cannot.
func (srv *server) open(cmd *cobra.Command, s *settings) error {
	bc, wc, err := srv.configs(cmd, s)
	if err != nil {
		return err
	}
	var m *metrics.Broker
	if addr := s.GetString("http"); addr != "" {
		if err := (&wire.ListenerSpec{Protocol: "PLAINTEXT", Addr: addr}).Exposed(); errors.Is(err, wire.ErrExposed) && !s.GetBool("insecure") {
			return usagef("--http: %w: put a proxy with TLS before a loopback address, or say --insecure if the network is yours alone", err)
		}
		m = metrics.NewBroker()
		bc.Hooks, wc.Hooks = m.BrokerHooks(), m.WireHooks()
		if srv.http, err = listenHTTP(addr); err != nil {
			return err
		}
	}
	if srv.broker, err = broker.Open(bc); err != nil {
		return err
	}
	wc.Broker = srv.broker
	if srv.wire, err = wire.New(wc); err != nil {
		return err
	}
	if err := srv.wire.Listen(); err != nil {
		return inUse("--listen", s.GetString("listen"), err)
	}
	if srv.http != nil {
		m.Watch(srv.broker)
		srv.http.start(m, srv, s.GetBool("pprof"), srv.logger)
	}
	return nil
}

// configs makes the configurations of broker and server.
func (srv *server) configs(cmd *cobra.Command, s *settings) (broker.Config, wire.Config, error) {
	specs, err := serveListeners(s)
	if err != nil {
		return broker.Config{}, wire.Config{}, err
	}
	bc, err := brokerConfig(cmd, s, specs, srv.logger)
	if err != nil {
		return bc, wire.Config{}, err
	}
	wc, err := wireConfig(&bc)
	if err != nil {
		return bc, wc, err
	}
	sec, err := serveSecurity(s, srv.logger)
	if err != nil {
		return bc, wc, err
	}
	jaas := jaasUsers(&bc)
	addSecurity(&wc.Security, sec, jaas)
	wc.Logger = srv.logger
	if wc.Listeners, err = secureListeners(s, specs, len(jaas) > 0, srv.logger); err != nil {
		return bc, wc, err
	}
	return bc, wc, checkMechanisms(wc.Listeners, &wc.Security)
}

// inUse says of an address that somebody else has what to do.
func inUse(flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s %s: another process listens there already: end it, or choose another port", flag, addr)
	}
	return err
}

// serveListeners reads --listen and --advertise.
func serveListeners(s *settings) ([]wire.ListenerSpec, error) {
	specs, err := wire.ParseListeners(s.GetString("listen"), s.GetString("advertise"), s.properties["listener.security.protocol.map"])
	if err != nil {
		return nil, usagef("--listen: %w", err)
	}
	for _, spec := range specs {
		switch err := spec.Exposed(); {
		case err == nil, errors.Is(err, wire.ErrExposed) && s.GetBool("insecure"):
		case errors.Is(err, wire.ErrExposed):
			return nil, usagef("--listen: %w: use SSL:// or SASL_SSL://, or say --insecure if the network is yours alone", err)
		default:
			return nil, usagef("--listen: %w", err)
		}
	}
	return specs, nil
}

// run serves until ctx ends.
func (srv *server) run(ctx context.Context) error { return srv.wire.Serve(ctx) }

// close ends what open began; the directory is closed cleanly.
func (srv *server) close() error {
	var errs []error
	if srv.wire != nil {
		errs = append(errs, srv.wire.Close())
	}
	if srv.broker != nil {
		errs = append(errs, srv.broker.Close())
	}
	if srv.http != nil {
		errs = append(errs, srv.http.close())
	}
	return errors.Join(errs...)
}

// Live and Ready are what /healthz and /readyz ask.
func (srv *server) Live() error { return nil }

// Ready is nil while Kafka clients are served: the HTTP server starts after they can connect.
func (srv *server) Ready() error {
	addrs := srv.wire.Addrs()
	if len(addrs) == 0 {
		return errors.New("not listening")
	}
	conn, err := net.Dial("tcp", addrs[0].String())
	if err != nil {
		return fmt.Errorf("the listener does not answer: %w", err)
	}
	return conn.Close()
}

var _ metrics.Health = (*server)(nil)
