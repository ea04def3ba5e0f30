package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// clientSettings say which brokers a verb talks to, and as whom.
var clientSettings = []string{"brokers", "tls", "ca-file", "cert-file", "key-file", "sasl", "user", "password", "timeout"}

func addClientSettings(cmd *cobra.Command) { addSettings(cmd, clientSettings...) }

// client is a connection to a cluster that answers, of any make.
type client struct {
	*kgo.Client
	admin   *kadm.Client
	addrs   string // as --brokers says
	tls     bool
	timeout time.Duration
}

// connect reads the settings and makes sure that a broker answers, so that
// what comes later fails for reasons of its own.
func connect(cmd *cobra.Command, opts ...kgo.Opt) (*client, error) {
	s, err := loadSettings(cmd)
	if err != nil {
		return nil, err
	}
	common, err := clientOptions(s)
	if err != nil {
		return nil, err
	}
	t, err := clientTLS(s)
	if err != nil {
		return nil, err
	}
	c := &client{addrs: s.GetString("brokers"), tls: t != nil, timeout: s.GetDuration("timeout")}
	if c.Client, err = kgo.NewClient(append(common, opts...)...); err != nil {
		return nil, usageError{err}
	}
	c.admin = kadm.NewClient(c.Client)
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		c.Close()
		return nil, c.explain(err)
	}
	return c, nil
}

// within bounds one request by --timeout.
func (c *client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

func clientOptions(s *settings) ([]kgo.Opt, error) {
	timeout := s.GetDuration("timeout")
	brokers, err := brokerAddrs(s.GetString("brokers"))
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ClientID("millstream"),
		kgo.DialTimeout(timeout), kgo.RetryTimeout(timeout),
	}
	t, err := clientTLS(s)
	if err != nil {
		return nil, err
	}
	if t != nil {
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	mechanism, user, password := strings.ToUpper(s.GetString("sasl")), s.GetString("user"), s.GetString("password")
	if mechanism == "" && user != "" {
		return nil, usagef("there is a user but no mechanism: give --sasl PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 as well")
	}
	if mechanism != "" && user == "" {
		return nil, usagef("--sasl %s needs --user and --password (or MILLSTREAM_PASSWORD)", mechanism)
	}
	switch mechanism {
	case "":
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	default:
		return nil, usagef("setting sasl (%s) is %q: it must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.source["sasl"], s.GetString("sasl"))
	}
	return opts, nil
}

func brokerAddrs(list string) ([]string, error) {
	var addrs []string
	for a := range strings.SplitSeq(list, ",") {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		if strings.Contains(a, "://") {
			return nil, usagef("--brokers: %q: give HOST:PORT, with --tls for a TLS listener", a)
		}
		if _, _, err := net.SplitHostPort(a); err != nil && strings.Contains(a, ":") {
			return nil, usagef("--brokers: %q is no address: expected HOST:PORT", a)
		}
		addrs = append(addrs, a)
	}
	if len(addrs) == 0 {
		return nil, usagef("--brokers is empty: say HOST:PORT of a broker")
	}
	return addrs, nil
}

// clientTLS is nil where connections are plain.
func clientTLS(s *settings) (*tls.Config, error) {
	ca, cert, key := s.GetString("ca-file"), s.GetString("cert-file"), s.GetString("key-file")
	if !s.GetBool("tls") && ca == "" && cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, usagef("--ca-file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca-file: %s holds no certificate in PEM form", ca)
		}
	}
	if cert != "" {
		if key == "" {
			key = cert
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usagef("--cert-file %s, --key-file %s: %w", cert, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// explain turns what the client library reports into one line that says what to do.
func (c *client) explain(err error) error {
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var notTLS tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unknownCA):
		return fmt.Errorf("the certificate of %s is signed by nobody known here: name its authority with --ca-file (%w)", c.addrs, err)
	case errors.As(err, &hostname):
		return fmt.Errorf("the certificate of %s is for another name: %w", c.addrs, err)
	case errors.As(err, &notTLS):
		return fmt.Errorf("%s does not speak TLS: leave out --tls, or name its TLS port", c.addrs)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens on %s: is the broker running? (--brokers says where)", c.addrs)
	case errors.As(err, &dns):
		return fmt.Errorf("--brokers %s: %w", c.addrs, dns)
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("%s refuses this user or password: %w", c.addrs, err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Errorf("%s does not offer this mechanism (--sasl): %w", c.addrs, err)
	case c.tls && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%s closed the connection at once: does it speak TLS there, or expect --sasl? (%w)", c.addrs, err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s closed the connection at once: does it expect --tls, or --sasl? (%w)", c.addrs, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s within %v (--timeout)", c.addrs, c.timeout)
	}
	return err
}

// unknownTopic adds the nearest topic there is, where err says that name is none.
func (c *client) unknownTopic(ctx context.Context, name string, err error) error {
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("topic %s: %w", name, c.explain(err))
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	topics, listErr := c.admin.ListTopics(ctx)
	if listErr != nil || len(topics) == 0 {
		return fmt.Errorf("topic %q does not exist", name)
	}
	return notThere("topic", name, topics.Names())
}

// notThere is the error for something that the cluster does not have.
func notThere(kind, name string, known []string) error {
	return fmt.Errorf("%s %q does not exist%s", kind, name, didYouMean(name, known))
}
