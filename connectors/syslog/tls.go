package syslog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates is a listener's TLS configuration as its files say. Handshakes
// ask for it; the files are looked at again at most once a second.
type certificates struct {
	cfg TLSConfig

	mu      sync.Mutex
	current *tls.Config
	stamps  []stamp // of the files that were tried last
	looked  time.Time
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

const lookEvery = time.Second

func newCertificates(cfg TLSConfig) (*certificates, error) {
	c := &certificates{cfg: cfg}
	var err error
	if c.current, err = cfg.load(); err != nil {
		return nil, err
	}
	c.stamps = cfg.stamps()
	return c, nil
}

// forHandshake is the configuration in force at now.
func (c *certificates) forHandshake(now time.Time, logger *slog.Logger) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked).Abs() < lookEvery {
		return c.current
	}
	c.looked = now
	stamps := c.cfg.stamps()
	if equalStamps(stamps, c.stamps) {
		return c.current
	}
	c.stamps = stamps
	next, err := c.cfg.load()
	if err != nil {
		logger.Warn("the TLS files have changed and cannot be used: the old certificate stays in force", "error", err)
		return c.current
	}
	logger.Info("the TLS files have changed and are in force", "certificate", c.cfg.CertFile)
	c.current = next
	return next
}

func equalStamps(a, b []stamp) bool {
	for i := range a {
		if !a[i].modified.Equal(b[i].modified) || a[i].size != b[i].size {
			return false
		}
	}
	return true
}

func (c *TLSConfig) stamps() []stamp {
	out := make([]stamp, 3)
	for i, path := range []string{c.CertFile, c.KeyFile, c.ClientCAFile} {
		if fi, err := os.Stat(path); err == nil {
			out[i] = stamp{fi.ModTime(), fi.Size()}
		}
	}
	return out
}

// load reads the files; it reports every problem.
func (c *TLSConfig) load() (*tls.Config, error) {
	var errs []error
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	switch c.MinVersion {
	case "", "1.2":
	case "1.3":
		out.MinVersion = tls.VersionTLS13
	default:
		errs = append(errs, fmt.Errorf("TLS version %q: the least can be 1.2 or 1.3", c.MinVersion))
	}
	switch {
	case c.CertFile == "" || c.KeyFile == "":
		errs = append(errs, errors.New("TLS needs a CertFile and a KeyFile"))
	default:
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("the certificate %s with the key %s: %w", c.CertFile, c.KeyFile, err))
		}
		out.Certificates = []tls.Certificate{cert}
	}
	switch {
	case c.ClientCAFile == "" && c.ClientOptional:
		errs = append(errs, errors.New("ClientOptional needs a ClientCAFile"))
	case c.ClientCAFile != "":
		pem, err := os.ReadFile(c.ClientCAFile)
		out.ClientCAs = x509.NewCertPool()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("the clients' certificate authority: %w", err))
		case !out.ClientCAs.AppendCertsFromPEM(pem):
			errs = append(errs, fmt.Errorf("the clients' certificate authority %s has no PEM certificate", c.ClientCAFile))
		}
		out.ClientAuth = tls.RequireAndVerifyClientCert
		if c.ClientOptional {
			out.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// server wraps a listener's configuration so that every handshake sees the files
// of its time.
func (c *certificates) server(logger func() *slog.Logger) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.forHandshake(time.Now(), logger()), nil
		},
	}
}
