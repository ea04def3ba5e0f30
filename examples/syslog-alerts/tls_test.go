package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate that is its own authority, and its key.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestTLSTakesSendersWithACertificateOnly where -tls-ca asks for one.
func TestTLSTakesSendersWithACertificateOnly(t *testing.T) {
	certFile, keyFile := selfSigned(t)
	s := startService(t, "-tls", "127.0.0.1:0", "-tls-cert", certFile, "-tls-key", keyFile, "-tls-ca", certFile,
		"-o", "json", "-threshold", "1", "-window", always)
	if want := "listening on tls=" + s.tls + "\n"; s.err.String() != want {
		t.Errorf("it said %q, want %q", s.err, want)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for name, certs := range map[string][]tls.Certificate{"stranger": nil, "known": {pair}} {
		conn, err := tls.Dial("tcp", s.tls, &tls.Config{RootCAs: roots, Certificates: certs})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(conn, line5424(name, time.Now()))
		conn.Close()
	}
	s.out.await(t, "the known sender's alert", func(lines []string) bool { return len(lines) > 0 })
	s.stop(t)
	if got := printedAlerts(t, s.out.lines()); len(got) != 1 || got[0].Key != "known" || !strings.Contains(s.err.String(), "1 lines in, 0 bad") {
		t.Errorf("printed %+v, said %s", got, s.err)
	}
}
