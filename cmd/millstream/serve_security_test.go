package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificates makes an authority, a server's and a client's certificate, in PEM
// files of one directory: ca.pem, server.pem and client.pem, each with its key.
func certificates(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	caKey, ca := certificate(t, nil, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, filepath.Join(dir, "ca.pem"))
	certificate(t, caKey, ca, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, filepath.Join(dir, "server.pem"))
	certificate(t, caKey, ca, &x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, filepath.Join(dir, "client.pem"))
	return dir
}

func certificate(t *testing.T, parentKey *ecdsa.PrivateKey, parent, template *x509.Certificate, file string) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(int64(len(template.Subject.CommonName)))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parentKey, parent = key, template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// TestServeWithTLSAndPasswords: three listeners of one server; who has the wrong
// password, authority or right is told so in one line.
func TestServeWithTLSAndPasswords(t *testing.T) {
	dir := certificates(t)
	ca := filepath.Join(dir, "ca.pem")
	users := filepath.Join(dir, "users")
	write(t, users, "# of PLAIN\npaula:plain-secret\n")
	t.Setenv("MILLSTREAM_FIRST_USER", "admin:first-secret")
	s := serve(t, "--listen", "127.0.0.1:0,SASL_SSL://127.0.0.1:0,SSL://127.0.0.1:0", "--tls-cert", filepath.Join(dir, "server.pem"),
		"--tls-client-ca", ca, "--tls-client-auth", "requested", "--sasl-users", users,
		"--acl", "--super-users", "User:admin;User:CN=client;User:ANONYMOUS")
	t.Setenv("MILLSTREAM_FIRST_USER", "")
	s.ok("topic", "create", "orders")
	sasl, tls := s.all[1], s.all[2]
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"SCRAM-SHA-256", []string{"-b", sasl, "--ca-file", ca, "--sasl", "SCRAM-SHA-256", "--user", "admin", "--password", "first-secret"}, 0, "orders"},
		{"SCRAM-SHA-512", []string{"-b", sasl, "--ca-file", ca, "--sasl", "scram-sha-512", "--user", "admin", "--password", "first-secret"}, 0, "orders"},
		{"client certificate", []string{"-b", tls, "--ca-file", ca, "--cert-file", filepath.Join(dir, "client.pem")}, 0, "orders"},
		{"PLAIN without rights sees nothing", []string{"-b", sasl, "--ca-file", ca, "--sasl", "PLAIN", "--user", "paula", "--password", "plain-secret"}, 0, "TOPIC  PARTITIONS  REPLICAS  OFFSETS\n"},
		{"wrong password", []string{"-b", sasl, "--ca-file", ca, "--sasl", "SCRAM-SHA-256", "--user", "admin", "--password", "x"}, 1, "refuses this user or password"},
		{"unknown authority", []string{"-b", sasl, "--tls", "--sasl", "PLAIN", "--user", "paula", "--password", "plain-secret"}, 1, "--ca-file"},
		{"no login", []string{"-b", sasl, "--ca-file", ca}, 1, "--sasl"},
		{"no TLS", []string{"-b", tls}, 1, "--tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, stderr := millstream(t, append([]string{"topic", "list", "--timeout", "5s"}, c.args...)...)
			got := out
			if c.code != 0 {
				got = stderr
			}
			if code != c.code || !strings.Contains(got, c.want) || c.code != 0 && strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit %d with %q", code, out, stderr, c.code, c.want)
			}
		})
	}
	code, _, stderr := millstream(t, "topic", "create", "mine", "-b", sasl, "--ca-file", ca, "--sasl", "PLAIN", "--user", "paula", "--password", "plain-secret")
	if code != 1 || !strings.Contains(stderr, "AUTHORIZATION_FAILED") {
		t.Errorf("a topic without the right: exit %d, %q", code, stderr)
	}
}

// TestServeTakesUsersOfPlainByKafkasJAASLine: as server.properties has them.
func TestServeTakesUsersOfPlainByKafkasJAASLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "millstream.yaml")
	write(t, name, `listener.name.sasl_plaintext.plain.sasl.jaas.config: 'org.apache.kafka.common.security.plain.PlainLoginModule required user_jo="pass\"word";'`+"\n")
	s := serve(t, "--config", name, "--listen", "SASL_PLAINTEXT://127.0.0.1:0")
	code, _, stderr := s.cli("topic", "list", "--sasl", "PLAIN", "--user", "jo", "--password", `pass"word`)
	if code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, stderr := s.cli("topic", "list", "--sasl", "PLAIN", "--user", "jo", "--password", "password"); code != 1 || !strings.Contains(stderr, "refuses") {
		t.Errorf("wrong password: exit %d: %s", code, stderr)
	}
}
