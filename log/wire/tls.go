package wire

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

// ClientAuth says what a TLS listener asks of a client's certificate
// (ssl.client.auth).
type ClientAuth string

// The values of ClientAuth.
const (
	ClientAuthNone      ClientAuth = "none"
	ClientAuthRequested ClientAuth = "requested" // checked if there is one
	ClientAuthRequired  ClientAuth = "required"
)

// TLSFiles are the PEM files of a TLS listener.
type TLSFiles struct {
	Certificate string // the server's, with what leads to its root
	Key         string // its private key; may be in the same file
	// ClientCA holds the certificates that sign clients'; needed unless ClientAuth is none.
	ClientCA   string
	ClientAuth ClientAuth // none
	// MinVersion is tls.VersionTLS12 (the default) or tls.VersionTLS13.
	MinVersion uint16
	Logger     *slog.Logger // discards
}

// Load reads the files and makes the configuration of a listener. The files are
// looked at for each connection and read anew when one has changed; if what is
// then in them cannot be used, that is logged and what was read last goes on.
func (f TLSFiles) Load() (*tls.Config, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	if f.Logger == nil {
		f.Logger = slog.New(slog.DiscardHandler)
	}
	w := &tlsWatch{files: f, stamp: f.stamp()}
	var err error
	if w.current, err = f.read(); err != nil {
		return nil, err
	}
	outer := w.current.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.config(), nil }
	return outer, nil
}

func (f *TLSFiles) validate() error {
	var errs []error
	if f.Certificate == "" {
		errs = append(errs, errors.New("no certificate file"))
	}
	if f.Key == "" {
		f.Key = f.Certificate
	}
	switch f.ClientAuth {
	case "", ClientAuthNone:
		f.ClientAuth = ClientAuthNone
	case ClientAuthRequested, ClientAuthRequired:
		if f.ClientCA == "" {
			errs = append(errs, fmt.Errorf("client authentication is %s, but no file says which CA signs clients' certificates", f.ClientAuth))
		}
	default:
		errs = append(errs, fmt.Errorf("client authentication %q, expected none, requested or required", f.ClientAuth))
	}
	switch f.MinVersion {
	case 0:
		f.MinVersion = tls.VersionTLS12
	case tls.VersionTLS12, tls.VersionTLS13:
	default:
		errs = append(errs, fmt.Errorf("TLS version %s, expected 1.2 or 1.3", tls.VersionName(f.MinVersion)))
	}
	if len(errs) > 0 {
		return fmt.Errorf("wire: TLS: %w", errors.Join(errs...))
	}
	return nil
}

// read makes a configuration of what is in the files now.
func (f *TLSFiles) read() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("wire: TLS: certificate %s with key %s: %w", f.Certificate, f.Key, err)
	}
	c := &tls.Config{MinVersion: f.MinVersion, Certificates: []tls.Certificate{cert}}
	switch f.ClientAuth {
	case ClientAuthRequested:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case ClientAuthRequired:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if f.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("wire: TLS: CA of clients: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("wire: TLS: CA of clients %s: no certificate in it", f.ClientCA)
	}
	return c, nil
}

// fileStamp tells whether a file has changed. The zero stamp is that of a file that is not there.
type fileStamp struct {
	changed time.Time
	size    int64
}

func (f *TLSFiles) stamp() (s [3]fileStamp) {
	for i, name := range []string{f.Certificate, f.Key, f.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			s[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return s
}

// tlsWatch gives the configuration of the files as they are.
type tlsWatch struct {
	files TLSFiles

	mu      sync.Mutex // guards what follows
	stamp   [3]fileStamp
	current *tls.Config
}

func (w *tlsWatch) config() *tls.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp := w.files.stamp()
	if stamp == w.stamp {
		return w.current
	}
	w.stamp = stamp
	next, err := w.files.read()
	if err != nil {
		w.files.Logger.Error("changed TLS files cannot be used; the ones before stay in force", "err", err)
		return w.current
	}
	w.files.Logger.Info("TLS files read anew", "certificate", w.files.Certificate)
	w.current = next
	return next
}

// certified sets the principal of a connection from its client's certificate.
func (c *conn) certified(t *tls.Conn) error {
	chain := t.ConnectionState().PeerCertificates
	if len(chain) == 0 || c.sasl != nil {
		return nil // anonymous, or SASL will say
	}
	dn, err := distinguishedName(chain[0])
	if err != nil {
		return err
	}
	name, err := c.srv.security.rules.name(dn)
	if err != nil {
		return err
	}
	c.principal = "User:" + name
	return nil
}
