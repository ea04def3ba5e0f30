package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/log/broker"
)

// testCA signs certificates and writes them as PEM files.
type testCA struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newTestCA(t testing.TB, dir string) *testCA {
	t.Helper()
	ca := &testCA{t: t, dir: dir, next: 1}
	ca.cert, ca.key = ca.issue("ca", pkix.Name{CommonName: "Test CA"}, nil)
	return ca
}

// issue writes NAME.pem and NAME.key, signed by the CA, or by itself for the CA.
func (ca *testCA) issue(name string, subject pkix.Name, raw []byte) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.next++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.next), Subject: subject, RawSubject: raw,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: ca.cert == nil,
	}
	parent, signer := template, key
	if ca.cert != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	ca.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return cert, key
}

func (ca *testCA) write(name string, b []byte) {
	ca.t.Helper()
	if err := os.WriteFile(ca.file(name), b, 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

func (ca *testCA) file(name string) string { return filepath.Join(ca.dir, name) }

// files are those of a listener whose certificate is server.pem.
func (ca *testCA) files(auth ClientAuth) TLSFiles {
	return TLSFiles{Certificate: ca.file("server.pem"), Key: ca.file("server.key"), ClientCA: ca.file("ca.pem"), ClientAuth: auth}
}

// client trusts the CA and shows the certificate of that name; "" shows none.
func (ca *testCA) client(name string) *tls.Config {
	ca.t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	c.RootCAs.AddCert(ca.cert)
	if name != "" {
		pair, err := tls.LoadX509KeyPair(ca.file(name+".pem"), ca.file(name+".key"))
		if err != nil {
			ca.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// withTLS makes a CA and a server's certificate, and listens with them.
func withTLS(t testing.TB, auth ClientAuth) (*testCA, setup) {
	t.Helper()
	ca := newTestCA(t, t.TempDir())
	ca.issue("server", pkix.Name{CommonName: "localhost"}, nil)
	return ca, func(_ *broker.Config, c *Config) {
		files := ca.files(auth)
		files.Logger = c.Logger
		config, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		c.Listeners[0].TLS = config
	}
}

func TestClientsConnectByTLS(t *testing.T) {
	ca, tlsOn := withTLS(t, ClientAuthNone)
	ts := newTestServer(t, tlsOn, withSASL())
	for name, m := range mechanismsOf("-secret") {
		if err := ts.kgo(kgo.DialTLSConfig(ca.client("")), kgo.SASL(m)).Ping(t.Context()); err != nil {
			t.Errorf("franz-go, %s: %v", name, err)
		}
	}
	plain := newTestServer(t, tlsOn)
	c, err := (&kafkago.Dialer{TLS: ca.client(""), Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", plain.addr)
	if err != nil {
		t.Fatalf("kafka-go: %v", err)
	}
	defer c.Close()
	if _, err := c.Brokers(); err != nil {
		t.Errorf("kafka-go: %v", err)
	}
}

func TestOldTLSAndPlaintextAreRefused(t *testing.T) {
	ca, tlsOn := withTLS(t, ClientAuthNone)
	ts := newTestServer(t, tlsOn)
	old := ca.client("")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", ts.addr, old); err == nil {
		t.Errorf("a client with TLS %x came in", c.ConnectionState().Version)
	}
	raw := ts.dial()
	if _, err := raw.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	raw.closed()
}

// principalOf connects with a client's certificate and gives who the server took it for.
func principalOf(t *testing.T, ts *testServer, client *tls.Config) (string, error) {
	t.Helper()
	c, err := tls.Dial("tcp", ts.addr, client)
	if err != nil {
		return "", err
	}
	defer c.Close()
	raw := &rawConn{t: t, Conn: c}
	if err := raw.roundTrip(); err != nil {
		return "", err
	}
	ts.srv.mu.Lock()
	defer ts.srv.mu.Unlock()
	for sc := range ts.srv.conns {
		if sc.remote == c.LocalAddr().String() {
			return sc.principal, nil
		}
	}
	return "", errors.New("no such connection at the server")
}

func TestAPrincipalComesFromTheClientsCertificate(t *testing.T) {
	for _, c := range []struct {
		auth  ClientAuth
		rules string
		who   string // certificate
		want  string // "": refused
	}{
		{ClientAuthRequired, "", "alice", "User:CN=alice,OU=Ops,O=Example,C=CH"},
		{ClientAuthRequired, "RULE:^CN=(.*?),OU=Ops.*$/$1@ops/U, DEFAULT", "alice", "User:ALICE@OPS"},
		{ClientAuthRequired, "RULE:^CN=nobody$/x/", "alice", ""},
		{ClientAuthRequired, "", "", ""},
		{ClientAuthRequired, "", "stranger", ""},
		{ClientAuthRequested, "", "alice", "User:CN=alice,OU=Ops,O=Example,C=CH"},
		{ClientAuthRequested, "", "", "User:ANONYMOUS"},
		{ClientAuthRequested, "", "stranger", ""},
		{ClientAuthNone, "", "alice", "User:ANONYMOUS"},
	} {
		ca, tlsOn := withTLS(t, c.auth)
		ca.issue("alice", pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"Ops"}, Organization: []string{"Example"}, Country: []string{"CH"}}, nil)
		stranger := newTestCA(t, t.TempDir()) // of another CA
		stranger.issue("stranger", pkix.Name{CommonName: "stranger"}, nil)
		ts := newTestServer(t, tlsOn, func(_ *broker.Config, w *Config) { w.Security.PrincipalRules = c.rules })
		client := ca.client("")
		switch c.who {
		case "alice":
			client = ca.client("alice")
		case "stranger":
			client.Certificates = stranger.client("stranger").Certificates
		}
		got, err := principalOf(t, ts, client)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s, rules %q, certificate of %q: %q, %v, expected %q", c.auth, c.rules, c.who, got, err, c.want)
		}
	}
}

func TestAChangedCertificateIsServedAndABrokenOneIsNot(t *testing.T) {
	ca, tlsOn := withTLS(t, ClientAuthNone)
	ts := newTestServer(t, tlsOn)
	serial := func() int64 {
		c, err := tls.Dial("tcp", ts.addr, ca.client(""))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	touch := func(n int) { // whatever the clock's grain
		at := time.Now().Add(time.Duration(n) * time.Hour)
		for _, name := range []string{"server.pem", "server.key"} {
			if err := os.Chtimes(ca.file(name), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := serial()
	ca.issue("server", pkix.Name{CommonName: "localhost"}, nil)
	touch(1)
	after := serial()
	if after != before+1 {
		t.Errorf("certificate %d after the file changed to %d", after, before+1)
	}
	ca.write("server.pem", []byte("nonsense"))
	touch(2)
	if got := serial(); got != after {
		t.Errorf("certificate %d, expected the one before, %d", got, after)
	}
	if ts.logs.containing("TLS files cannot be used") != 1 {
		t.Error("the broken file is not logged once")
	}
}

func TestTLSFilesSayWhatIsWrong(t *testing.T) {
	ca := newTestCA(t, t.TempDir())
	ca.issue("server", pkix.Name{CommonName: "localhost"}, nil)
	ca.write("empty.pem", nil)
	good := ca.files(ClientAuthRequired)
	for what, change := range map[string]func(*TLSFiles){
		"no certificate":       func(f *TLSFiles) { f.Certificate = "" },
		"nothing.pem":          func(f *TLSFiles) { f.Certificate = ca.file("nothing.pem") },
		"which CA signs":       func(f *TLSFiles) { f.ClientCA = "" },
		"no certificate in it": func(f *TLSFiles) { f.ClientCA = ca.file("empty.pem") },
		`"maybe"`:              func(f *TLSFiles) { f.ClientAuth = "maybe" },
		"TLS 1.1":              func(f *TLSFiles) { f.MinVersion = tls.VersionTLS11 },
		"ca.key":               func(f *TLSFiles) { f.Key = ca.file("ca.key") },
	} {
		f := good
		change(&f)
		f.Logger = slog.New(slog.DiscardHandler)
		if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := good.Load(); err != nil {
		t.Error(err)
	}
}

// The names on the right are what openssl x509 -nameopt RFC2253 and Java's
// X500Principal.getName() print.
func TestDistinguishedNamesAreWrittenAsJavaDoes(t *testing.T) {
	attr := func(oid string, v any) pkix.RelativeDistinguishedNameSET {
		var id asn1.ObjectIdentifier
		for _, part := range strings.Split(oid, ".") {
			n, _ := new(big.Int).SetString(part, 10)
			id = append(id, int(n.Int64()))
		}
		return pkix.RelativeDistinguishedNameSET{{Type: id, Value: v}}
	}
	const cn, o, dc, uid, email = "2.5.4.3", "2.5.4.10", "0.9.2342.19200300.100.1.25", "0.9.2342.19200300.100.1.1", "1.2.840.113549.1.9.1"
	for want, rdns := range map[string]pkix.RDNSequence{
		`CN=alice,O=Example`:        {attr(o, "Example"), attr(cn, "alice")},
		`CN=a\,b\+c\"d\\e\<f\>g\;h`: {attr(cn, `a,b+c"d\e<f>g;h`)},
		`CN=\#a`:                    {attr(cn, "#a")},
		`CN=\ a\ `:                  {attr(cn, " a ")},
		`UID=u,DC=example,DC=org`:   {attr(dc, "org"), attr(dc, "example"), attr(uid, "u")},
		`CN=a+O=b`:                  {append(attr(cn, "a"), attr(o, "b")...)},
		`1.2.840.113549.1.9.1=#` + `1303612e62,CN=a`: {attr(cn, "a"), attr(email, "a.b")},
		`CN=Zürich`: {attr(cn, "Zürich")},
	} {
		raw, err := asn1.Marshal(rdns)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := distinguishedName(&x509.Certificate{RawSubject: raw}); err != nil || got != want {
			t.Errorf("%q, %v, expected %q", got, err, want)
		}
	}
}

func TestPrincipalRules(t *testing.T) {
	const dn = "CN=Duke/X,OU=ServiceUsers,O=Org,C=US"
	for rules, want := range map[string]string{
		"":                        dn,
		"DEFAULT":                 dn,
		`RULE:^CN=(.*?)\/.*$/$1/`: "Duke",
		`RULE:^CN=(.*?)\/X,OU=(.*?),.*$/$1\/$2/L`:           "duke/serviceusers",
		"RULE:^CN=nobody.*$/x/,RULE:^CN=(.*?),OU=.*$/$1x/U": "DUKE/XX",
		`RULE:CN=Duke\/X/x/, DEFAULT`:                       dn, // a rule fits the whole name or not at all
		"RULE:^.*OU=(\\w+),.*$/a$1b/":                       "aServiceUsersb",
	} {
		parsed, err := parsePrincipalRules(rules)
		if err != nil {
			t.Errorf("%s: %v", rules, err)
			continue
		}
		if got, err := parsed.name(dn); err != nil || got != want {
			t.Errorf("%s: %q, %v, expected %q", rules, got, err, want)
		}
	}
	for _, bad := range []string{"RULE:a", "RULE:a/b", "RULE:(/b/", "default", "RULE:a/b/X", "DEFAULT DEFAULT"} {
		if _, err := parsePrincipalRules(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	parsed, err := parsePrincipalRules("RULE:^CN=x$/y/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.name(dn); !errors.Is(err, ErrNoPrincipal) {
		t.Errorf("no rule fits: %v", err)
	}
}
