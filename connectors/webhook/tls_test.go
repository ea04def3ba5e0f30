package webhook_test

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
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/connectors/webhook"
	"github.com/millstream-io/millstream/log/record"
)

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestTLSTrustsAndShowsWhatItIsTold(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := certificate(t, dir, "receiver.test")
	clientCert, clientKey := certificate(t, dir, "millstream.test")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	text, err := os.ReadFile(clientCert)
	if err != nil {
		t.Fatal(err)
	}
	clients.AppendCertsFromPEM(text)
	receiver := connectortest.NewReceiver(nil)
	srv := httptest.NewUnstartedServer(receiver)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	srv.StartTLS()
	defer srv.Close()
	for _, c := range []struct {
		name string
		tls  webhook.TLS
		says string
	}{
		{"both", webhook.TLS{CAFile: serverCert, CertFile: clientCert, KeyFile: clientKey, ServerName: "receiver.test"}, ""},
		{"an authority that is not trusted", webhook.TLS{CertFile: clientCert, KeyFile: clientKey, ServerName: "receiver.test"}, "x509: certificate signed by unknown authority"},
		{"another name", webhook.TLS{CAFile: serverCert, CertFile: clientCert, KeyFile: clientKey}, "x509: cannot validate certificate"},
		{"no client certificate", webhook.TLS{CAFile: serverCert, ServerName: "receiver.test"}, "certificate required"},
	} {
		s, err := webhook.New(webhook.Config{URL: connectors.NewSecret(srv.URL + "/T0KEN"), TLS: c.tls})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Open(t.Context(), connectors.SinkContext{App: "app"}); err != nil {
			t.Fatal(err)
		}
		text, _ := value("a", 1)
		err = s.Write(t.Context(), []connectors.Record{{View: record.View{Value: []byte(text)}}})
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "T0KEN")):
			t.Errorf("%s: %v, expected an error with %q", c.name, err, c.says)
		}
		s.Close()
	}
	if n := len(receiver.Posts()); n != 1 {
		t.Errorf("%d posts arrived, expected the one that trusts and is trusted", n)
	}
}
