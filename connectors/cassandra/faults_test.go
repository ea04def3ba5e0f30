package cassandra

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/internal/peers"
)

// keepWriting writes like the engine does, until everything is acknowledged.
func keepWriting(t *testing.T, s *Sink, records []connectors.Record, wait <-chan time.Time) (failures int) {
	for left := slices.Clone(records); len(left) > 0; {
		err := s.Write(context.Background(), left)
		var w *connectors.WriteError
		switch {
		case err == nil:
			return failures
		case errors.As(err, &w):
			if len(w.Rejected) > 0 {
				t.Fatal(w)
			}
			for n, i := range w.Again {
				left[n] = left[i]
			}
			left = left[:len(w.Again)]
		}
		failures++
		<-wait
	}
	return failures
}

func TestIntegrationCassandraKilledWhileWriting(t *testing.T) {
	if os.Getenv("CASSANDRA") != "" {
		t.Skip("skipped: CASSANDRA names a node that is not ours to kill")
	}
	node := peers.NeedCassandra(t)
	c := newCluster(t, gocql.NewCluster(node.Addr()), node.Addr())
	table := TableOf[sale]("sales")
	cfg := c.config(table, FromValue(table, nil))
	cfg.Timeout = 2 * time.Second
	s := c.open(cfg)
	const n, perWrite, killAt = 40000, 2000, 8000
	reached := make(chan struct{})
	failures := 0
	var writer sync.WaitGroup
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	writer.Go(func() {
		written := 0
		for chunk := range slices.Chunk(sales(0, n, 1000, 20000), perWrite) {
			failures += keepWriting(t, s, chunk, tick.C)
			if written += len(chunk); written == killAt {
				close(reached)
			}
		}
	})
	<-reached
	node.Kill()
	if err := node.Restart(); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	c = newCluster(t, gocql.NewCluster(node.Addr()), node.Addr())
	want := map[string]int64{}
	for _, r := range sales(0, n, 1000, 20000) {
		rows, err := cfg.Rows(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		v := rows[0].value.Interface().(sale)
		want[v.Product+v.Day.UTC().String()] = v.Cents
	}
	it := c.s.Query("SELECT product, day, cents FROM " + cfg.Keyspace + ".sales").Iter()
	var v sale
	for it.Scan(&v.Product, &v.Day, &v.Cents) {
		if key := v.Product + v.Day.UTC().String(); want[key] != v.Cents {
			t.Errorf("%s: %d, want %d", key, v.Cents, want[key])
		} else {
			delete(want, key)
		}
	}
	if err := it.Close(); err != nil || len(want) > 0 {
		t.Fatalf("%v; %d rows are missing", err, len(want))
	}
	if failures == 0 {
		t.Error("no Write failed: the kill did not hit the writing")
	}
	t.Logf("%d Writes failed, %+v", failures, s.Stats())
}

func TestIntegrationTLSAndPasswords(t *testing.T) {
	peers.NeedIntegration(t)
	pki := newAuthority(t)
	node := peers.StartCassandra(t, peers.CassandraConfig{PasswordAuth: true, Cert: pki.file("node.crt"), Key: pki.file("node.key"), CA: pki.file("ca.crt"),
		// a node that is soon overloaded
		Settings: "write_request_timeout: 20ms\nnative_transport_max_request_data_in_flight: 256KiB\n"})
	const secret = "cassandra"
	var logged strings.Builder
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return logged.Write(p) }), &slog.HandlerOptions{Level: slog.LevelDebug}))
	totals := TableOf[sale]("sales")
	good := Config{Hosts: []string{node.Addr()}, Keyspace: "secured", Create: true, Tables: []TableSpec{totals}, Rows: FromValue(totals, nil),
		Username: "cassandra", Password: connectors.NewSecret("literal:" + secret), InFlight: 512,
		TLS: &TLS{CA: pki.file("ca.crt"), Cert: pki.file("client.crt"), Key: pki.file("client.key"), ServerName: "cassandra.test"}}
	open := func(change func(*Config)) (*Sink, error) {
		cfg, tls := good, *good.TLS
		cfg.TLS = &tls
		change(&cfg)
		s := New(cfg)
		t.Cleanup(func() { s.Close() })
		sc := sinkContext
		sc.Logger = logger
		return s, s.Open(context.Background(), sc)
	}
	// answered is open until the node has said something: one on a busy machine may
	// not answer to the start of a connection in time.
	answered := func(change func(*Config)) error {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for range 50 {
			if _, err := open(change); err == nil || !strings.Contains(err.Error(), "within timeout") {
				return err
			}
			<-tick.C
		}
		return errors.New("the node did not answer in 50 attempts")
	}
	s, err := open(func(*Config) {})
	for tick := time.NewTicker(200 * time.Millisecond); err != nil; { // the first role is made after the port opens
		<-tick.C
		if t.Context().Err() != nil || errors.Is(err, ErrSchema) || errors.Is(err, ErrConfig) {
			t.Fatal(err)
		}
		s, err = open(func(*Config) {})
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	failures := 0
	for chunk := range slices.Chunk(sales(0, 10000, 1<<30, 1<<30), 5000) {
		failures += keepWriting(t, s, chunk, tick.C)
	}
	t.Logf("overloaded node: %d Writes failed, %+v", failures, s.Stats())
	if got := s.Stats().Rows; got < 10000 {
		t.Errorf("%d rows were acknowledged, want 10000", got)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"wrong password":     {func(c *Config) { c.Password = connectors.NewSecret("literal:guess-me") }, "password"},
		"no password":        {func(c *Config) { c.Username, c.Password = "", connectors.Secret{} }, "authentication required"},
		"no TLS":             {func(c *Config) { c.TLS = nil }, ""},
		"another authority":  {func(c *Config) { c.TLS.CA = newAuthority(t).file("ca.crt") }, "certificate"},
		"another name":       {func(c *Config) { c.TLS.ServerName = "elsewhere.test" }, "elsewhere.test"},
		"no client's":        {func(c *Config) { c.TLS.Cert, c.TLS.Key = "", "" }, ""},
		"unreadable":         {func(c *Config) { c.TLS.CA = "/nonexistent/ca.crt" }, "/nonexistent/ca.crt"},
		"secret is missing":  {func(c *Config) { c.Password = connectors.NewSecret("env:NO_SUCH_VARIABLE_HERE") }, "NO_SUCH_VARIABLE_HERE"},
		"any is good enough": {func(c *Config) { c.TLS.CA, c.TLS.ServerName, c.TLS.SkipVerify = "", "", true }, "nil"},
	} {
		err := answered(tc.change)
		if tc.want == "nil" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tc.want)) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		}
		if again := name == "no TLS"; connectors.IsTransient(err) != again { // a reset connection may mean anything
			t.Errorf("%s: is tried again at a first start: %v, want %v: %v", name, !again, again, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(logged.String(), "guess-me") || strings.Contains(fmt.Sprintf("%+v %#v", good, good), "literal:"+secret) {
		t.Error("a password is shown")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// authority is a certificate authority with a node's and a client's certificate.
type authority struct{ dir string }

func (a authority) file(name string) string { return filepath.Join(a.dir, name) }

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{t.TempDir()}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.issue(t, "ca", ca, ca, caKey, caKey)
	for i, name := range []string{"node", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: name}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			DNSNames: []string{"cassandra.test"}, IPAddresses: []net.IP{{127, 0, 0, 1}}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		a.issue(t, name, cert, ca, key, caKey)
	}
	return a
}

// issue writes a certificate and its key in PKCS #8.
func (a authority) issue(t *testing.T, name string, cert, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
