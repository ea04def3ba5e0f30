package syslog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	var der []byte
	a.key, der = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) sign(c *x509.Certificate, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue writes a certificate for server and client use and returns its files.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	k, der := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+"-key.pem", "EC PRIVATE KEY", keyDER)
}

func (a *authority) client(name string) *tls.Config {
	cfg := &tls.Config{RootCAs: a.pool}
	if name != "" {
		cert, err := tls.LoadX509KeyPair(a.issue(name))
		if err != nil {
			a.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg
}

// listeningTLS is a source with one TLS listener.
func listeningTLS(t *testing.T, cfg TLSConfig, more Config) *Source {
	t.Helper()
	more.Listeners = append(more.Listeners, Listener{Transport: TLS, Address: "127.0.0.1:0", TLS: cfg})
	return opened(t, more)
}

func opened(t *testing.T, cfg Config) *Source {
	t.Helper()
	s := New(cfg)
	if err := s.Open(t.Context(), connectors.SourceContext{}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func header(r connectors.Out, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

const aLine = "<38>Dec 10 06:55:46 web-1 sshd[1]: "

func TestTLSTakesLinesAndNamesTheClient(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	s := listeningTLS(t, TLSConfig{CertFile: cert, KeyFile: key, ClientCAFile: a.file, ClientOptional: true}, Config{})
	for name, subject := range map[string]string{"": "", "web-1": "CN=web-1,O=Example"} {
		c, err := tls.Dial("tcp", s.Addr(TLS).String(), a.client(name))
		if err != nil {
			t.Fatal(err)
		}
		line := aLine + "from " + name
		send(t, c, "39 "+line[:39])
		send(t, c, line[39:]+"\n")
		c.Close()
		got := readLines(t, s, 2) // what follows the counted message is one of its own
		r := got[line[:39]]
		if header(r, HeaderTransport) != "tls" || header(r, HeaderSubject) != subject || string(r.Key) != "web-1" {
			t.Errorf("client %q: %+v", name, got)
		}
	}
}

func TestTLSRefusesWhoHasNoCertificateAndHarmsNobodyElse(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	s := listeningTLS(t, TLSConfig{CertFile: cert, KeyFile: key, ClientCAFile: a.file}, Config{})
	addr := s.Addr(TLS).String()
	good, err := tls.Dial("tcp", addr, a.client("web-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	refused := func(what string, c net.Conn, err error) {
		t.Helper()
		if err != nil {
			return
		}
		defer c.Close()
		c.Write([]byte(aLine + "must not come in\n"))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: not refused", what)
		}
	}
	c, err := tls.Dial("tcp", addr, a.client(""))
	refused("no certificate", c, err)
	stranger := newAuthority(t).client("web-2")
	stranger.RootCAs = a.pool
	c, err = tls.Dial("tcp", addr, stranger)
	refused("another authority's certificate", c, err)
	old := a.client("web-3")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	c, err = tls.Dial("tcp", addr, old)
	refused("TLS 1.1", c, err)
	refused("plain text", dial(t, s.Addr(TLS)), nil)

	send(t, good, aLine+"good\n")
	if got := readLines(t, s, 1); len(got) != 1 || got[aLine+"good"].Key == nil {
		t.Fatalf("%+v", got)
	}
	until(func() bool { return s.Stats().Conns == 1 })
	if st := s.Stats(); st.Lines != 1 || st.Failed != 4 {
		t.Errorf("%+v, want one line and four connections that failed", st)
	}
}

func TestTLSStopsInTheMiddleOfAHandshake(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	s := listeningTLS(t, TLSConfig{CertFile: cert, KeyFile: key}, Config{LineTimeout: 20 * time.Millisecond})
	c := dial(t, s.Addr(TLS))
	send(t, c, "\x16\x03\x01")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("a handshake that stops is waited for")
	}
}

func TestCertificatesAreReadAgainWhenTheirFilesChange(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	c, err := newCertificates(TLSConfig{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	logger, now := slog.New(slog.DiscardHandler), time.Now()
	look := func() *tls.Config {
		now = now.Add(2 * time.Second)
		return c.forHandshake(now, logger)
	}
	first := look()
	if look() != first {
		t.Fatal("files that did not change were read again")
	}
	changed := func(path string) {
		if err := os.Chtimes(path, now, now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	a.issue("server") // writes both files anew
	changed(cert)
	if c.forHandshake(now, logger) != first {
		t.Error("looked at twice within a second")
	}
	second := look()
	if second == first || string(second.Certificates[0].Certificate[0]) == string(first.Certificates[0].Certificate[0]) {
		t.Fatal("the new certificate is not in force")
	}
	if err := os.WriteFile(key, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if look() != second {
		t.Fatal("a file that cannot be read must leave the old certificate in force")
	}
	os.Remove(cert)
	if look() != second {
		t.Fatal("a file that is gone must leave the old certificate in force")
	}
	a.issue("server")
	changed(key)
	if look() == second {
		t.Fatal("a third certificate is not in force after an error")
	}
}
