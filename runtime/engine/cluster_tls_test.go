package engine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/engine"
)

// authority issues certificates for tests.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "the tests' authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(time.Hour),
	})
	return a
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-2*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// certificate is one of a server or client.
func (a *authority) certificate(change func(*x509.Certificate)) tls.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "someone"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	cert, key := a.sign(template)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// listening is a log behind a listener of any kind.
func listening(t *testing.T, l wire.Listener) (addr string) {
	t.Helper()
	return serveAs(t, broker.Config{}, l, wire.Security{})
}

func TestMistakesOfTLSAreTold(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	good := &tls.Config{Certificates: []tls.Certificate{ours.certificate(nil)}}
	other := func(change func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ours.certificate(change)}}
	}
	asks := good.Clone()
	asks.ClientAuth, asks.ClientCAs = tls.RequireAndVerifyClientCert, ours.pool()
	trusting := &tls.Config{RootCAs: ours.pool()}
	with := func(c tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ours.pool(), Certificates: []tls.Certificate{c}}
	}
	for name, c := range map[string]struct {
		server, client *tls.Config
		want           []string // nil: it works
	}{
		"all is well":                       {good, trusting, nil},
		"all is well with a certificate":    {asks, with(ours.certificate(nil)), nil},
		"plaintext to a TLS listener":       {good, nil, []string{"TLS", "Cluster.TLS"}},
		"TLS to a plaintext listener":       {nil, trusting, []string{"TLS", "Cluster.TLS"}},
		"an authority that is not known":    {good, &tls.Config{RootCAs: theirs.pool()}, []string{"unknown authority", "Cluster.TLS.RootCAs"}},
		"the certificate of another host":   {other(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"kafka.example"} }), trusting, []string{"127.0.0.1", "Cluster.TLS.ServerName"}},
		"a certificate that has expired":    {other(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), trusting, []string{"expired"}},
		"no client certificate":             {asks, trusting, []string{"certificate", "Cluster.TLS.Certificates"}},
		"a client certificate of strangers": {asks, with(theirs.certificate(nil)), []string{"certificate", "Cluster.TLS.Certificates"}},
		"an expired client certificate":     {asks, with(ours.certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })), []string{"certificate", "Cluster.TLS.Certificates"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the brokers get their ten seconds
			addr := listening(t, wire.Listener{TLS: c.server})
			err := runOn(t, addr, func(cfg *engine.Config) { cfg.Cluster.SASL, cfg.Cluster.TLS = engine.SASL{}, c.client })
			if c.want == nil && err != nil {
				t.Error(err)
			}
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v, expected it to say %q", err, w)
				}
			}
			if c.want != nil && (err == nil || !strings.Contains(err.Error(), addr)) {
				t.Errorf("%v, expected it to name %s", err, addr)
			}
		})
	}
}
