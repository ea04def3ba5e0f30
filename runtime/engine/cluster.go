package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
)

// Cluster says how the brokers of Config.Log = "kafka://HOST:PORT,..." are
// reached: an Apache Kafka cluster, or `millstream serve`. The zero value is a
// plaintext listener that asks for no password.
type Cluster struct {
	TLS  *tls.Config // nil: none
	SASL SASL
	// Dial opens the connections to the brokers, below TLS: for tunnels and
	// proxies. Default: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// ReplicationFactor of topics that the engine makes. Default 0: the brokers' default.
	ReplicationFactor int16
	// Instance names this process among those that run the application; no other may
	// have its name. Default: a random one, kept in StateDir. An instance that is
	// back within SessionTimeout goes on with its tasks as if it had not been away.
	Instance string
	// StayOnStop keeps this instance's tasks for it when it stops: nobody takes them
	// over before SessionTimeout. For restarts that are planned and short. Default: an
	// instance that stops leaves the group, and others go on with its tasks at once.
	StayOnStop bool
	// SessionTimeout is how long the group waits for a process that is silent.
	// Default 45 s.
	SessionTimeout time.Duration
	// TransactionTimeout bounds a transaction; the brokers' transaction.max.timeout.ms
	// bounds it. Default 60 s.
	TransactionTimeout time.Duration
}

// SASL says who we are to the brokers. The zero value is nobody.
type SASL struct {
	Mechanism string // "PLAIN" (with TLS only), "SCRAM-SHA-256" or "SCRAM-SHA-512"
	User      string
	Password  connectors.Secret
}

// clusterSeeds are the addresses of Config.Log.
func (c *Config) clusterSeeds() ([]string, bool) {
	list, ok := strings.CutPrefix(c.Log, "kafka://")
	if !ok {
		return nil, false
	}
	return strings.Split(list, ","), true
}

// validateLog reports what is wrong with Log and Cluster.
func (c *Config) validateLog() error {
	if dir, ok := c.embeddedDir(); ok && dir != "" {
		return nil
	}
	seeds, ok := c.clusterSeeds()
	if !ok {
		return fmt.Errorf("the Log is %q, expected embedded:DIR or kafka://HOST:PORT and more with commas", c.Log)
	}
	var errs []error
	for _, s := range seeds {
		if host, port, ok := cutLast(s, ':'); !ok || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("the Log is %q: address %q, expected HOST:PORT", c.Log, s))
		}
	}
	switch m := c.Cluster.SASL; {
	case m.Mechanism == "":
	case m.Mechanism != "PLAIN" && m.Mechanism != "SCRAM-SHA-256" && m.Mechanism != "SCRAM-SHA-512":
		errs = append(errs, fmt.Errorf("Cluster.SASL.Mechanism is %q, expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", m.Mechanism))
	case m.User == "" || m.Password.IsZero():
		errs = append(errs, fmt.Errorf("Cluster.SASL %s needs User and Password", m.Mechanism))
	case m.Mechanism == "PLAIN" && c.Cluster.TLS == nil:
		errs = append(errs, errors.New("Cluster.SASL PLAIN sends the password as it is: it needs Cluster.TLS"))
	}
	if c.Cluster.Instance != "" {
		if err := validInstance(c.Cluster.Instance); err != nil {
			errs = append(errs, fmt.Errorf("Cluster.Instance: %w", err))
		}
	}
	if c.Cluster.SessionTimeout < 0 || c.Cluster.TransactionTimeout < 0 || c.Cluster.ReplicationFactor < 0 {
		errs = append(errs, errors.New("Cluster: SessionTimeout, TransactionTimeout and ReplicationFactor may not be negative"))
	}
	return errors.Join(errs...)
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	if s.Mechanism == "" {
		return nil, nil
	}
	password, err := s.Password.Reveal()
	if err != nil {
		return nil, fmt.Errorf("Cluster.SASL.Password: %w", err)
	}
	switch s.Mechanism {
	case "PLAIN":
		return plain.Auth{User: s.User, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: s.User, Pass: password}.AsSha256Mechanism(), nil
	default:
		return scram.Auth{User: s.User, Pass: password}.AsSha512Mechanism(), nil
	}
}

// openCluster connects to the brokers.
func openCluster(cfg Config, instance string) (logclient.Log, error) {
	seeds, _ := cfg.clusterSeeds()
	mechanism, err := cfg.Cluster.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	return kafka.Open(context.Background(), kafka.Config{
		// A name of its own makes a process the same member after a crash: nobody need
		// wait for its session to end (KIP-345).
		InstanceID: instance, ClientID: "millstream",
		Seeds: seeds, TLS: cfg.Cluster.TLS, SASL: mechanism, User: cfg.Cluster.SASL.User, Dial: cfg.Cluster.Dial, ReplicationFactor: cfg.Cluster.ReplicationFactor,
		SessionTimeout: cfg.Cluster.SessionTimeout, TransactionTimeout: cfg.Cluster.TransactionTimeout, Logger: cfg.Logger,
	})
}
