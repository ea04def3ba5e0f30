package clients

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

	"github.com/millstream-io/millstream/internal/peers"
)

// secured is a `millstream serve` behind TLS, SCRAM and access control lists,
// with Kafka's own tools around it.
type secured struct {
	tools
	dir string
}

// startSecured starts it; root is its first user, and may do everything.
func startSecured(t *testing.T) secured {
	t.Helper()
	peers.NeedIntegration(t)
	dir := t.TempDir()
	certificates(t, dir)
	s, err := peers.NewServe(dir, "SASL_SSL://127.0.0.1:0", "--tls-cert", filepath.Join(dir, "server.pem"), "--first-user", "root:root-secret",
		"--acl", "--super-users", "User:root")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return secured{tools{t, peers.StartJavaDriver(t, s.Addr()), s.Addr()}, dir}
}

// certificates writes ca.pem, and server.pem with the key of the server.
func certificates(t *testing.T, dir string) {
	t.Helper()
	caKey, serverKey := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	signed := func(c *x509.Certificate, public any) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, public, caKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.pem"), signed(ca, &caKey.PublicKey))
	write(t, filepath.Join(dir, "server.pem"), append(signed(server, &serverKey.PublicKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...))
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// as gives the file of properties with which a user's tools connect.
func (s secured) as(user, password, mechanism string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, user+"-"+password+"-"+mechanism+".properties")
	write(s.t, file, []byte(`security.protocol=SASL_SSL
sasl.mechanism=`+mechanism+`
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="`+user+`" password="`+password+`";
ssl.truststore.type=PEM
ssl.truststore.location=`+filepath.Join(s.dir, "ca.pem")+`
default.api.timeout.ms=15000
request.timeout.ms=10000
max.block.ms=15000
`))
	return file
}

func TestIntegrationKafkasToolsOnUsersBindingsAndQuotas(t *testing.T) {
	s := startSecured(t)
	root := s.as("root", "root-secret", "SCRAM-SHA-512")
	configs := func(args ...string) string {
		return s.run("kafka.admin.ConfigCommand", "", append([]string{"--command-config", root}, args...)...)
	}
	acls := func(args ...string) string {
		return s.run("AclCommand", "", append([]string{"--command-config", root}, args...)...)
	}
	s.run("TopicCommand", "", "--command-config", root, "--create", "--topic", "orders")

	// Users.
	configs("--alter", "--entity-type", "users", "--entity-name", "alice", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=alice-secret],SCRAM-SHA-512=[password=alice-secret]")
	s.says(configs("--describe", "--entity-type", "users"), `alice.*SCRAM-SHA-256=iterations=8192.*SCRAM-SHA-512=iterations=4096`, `root`)
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		list := []string{"--command-config", s.as("alice", "alice-secret", mechanism), "--list"}
		if out := s.run("TopicCommand", "", list...); strings.Contains(out, "orders") {
			t.Errorf("alice is shown what she may not describe: %s", out)
		}
		bad := s.try("TopicCommand", "", "--command-config", s.as("alice", "guess", mechanism), "--list")
		if bad.Code == 0 || !strings.Contains(bad.Out+bad.Err, "Authentication failed during authentication due to invalid credentials") {
			t.Errorf("a wrong password: %+v", bad)
		}
	}

	// Access control lists.
	alice := s.as("alice", "alice-secret", "SCRAM-SHA-512")
	// produce writes two lines as alice, one by one; what the topic has then counts.
	produce := func(want string) {
		t.Helper()
		s.try("ConsoleProducer", "one\ntwo\n", "--command-config", alice, "--topic", "orders", "--sync")
		s.says(s.run("GetOffsetShell", "", "--command-config", root, "--topic", "orders"), `orders:0:`+want+`\s`)
	}
	produce("0")
	s.says(acls("--add", "--allow-principal", "User:alice", "--producer", "--topic", "orders"), `operation=WRITE, permissionType=ALLOW`)
	s.says(acls("--add", "--allow-principal", "User:alice", "--consumer", "--topic", "ord", "--group", "app-", "--resource-pattern-type", "prefixed"), `patternType=PREFIXED`)
	s.says(acls("--list"), `resourceType=TOPIC, name=orders, patternType=LITERAL`, `resourceType=GROUP, name=app-, patternType=PREFIXED`, `principal=User:alice, host=\*, operation=READ`)
	produce("2")
	out := s.run("consumer.ConsoleConsumer", "", "--command-config", alice, "--topic", "orders", "--group", "app-1", "--from-beginning", "--max-messages", "2", "--timeout-ms", "30000")
	s.says(out, `one\s+two`)
	other := s.try("consumer.ConsoleConsumer", "", "--command-config", alice, "--topic", "orders", "--group", "other", "--from-beginning", "--max-messages", "2", "--timeout-ms", "15000")
	if !strings.Contains(other.Out+other.Err, "total of 0 messages") {
		t.Errorf("alice uses a group that is not hers: %+v", other)
	}
	acls("--add", "--deny-principal", "User:*", "--operation", "Write", "--topic", "orders")
	produce("2")
	acls("--remove", "--force", "--topic", "orders")
	if out := acls("--list", "--topic", "orders", "--resource-pattern-type", "match"); strings.Contains(out, "LITERAL") || !strings.Contains(out, "name=ord, patternType=PREFIXED") {
		t.Errorf("after removing the literal ones:\n%s", out)
	}

	// Quotas.
	configs("--alter", "--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-default", "--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048")
	configs("--alter", "--entity-type", "users", "--entity-default", "--add-config", "request_percentage=150.5,controller_mutation_rate=10")
	configs("--alter", "--entity-type", "ips", "--entity-default", "--add-config", "connection_creation_rate=1000")
	s.says(configs("--describe", "--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-default"), `producer_byte_rate=1024`, `consumer_byte_rate=2048`)
	s.says(configs("--describe", "--entity-type", "users", "--entity-default"), `request_percentage=150.5`, `controller_mutation_rate=10`)
	s.says(configs("--describe", "--entity-type", "ips"), `connection_creation_rate=1000`)
	configs("--alter", "--entity-type", "users", "--entity-default", "--delete-config", "request_percentage,controller_mutation_rate")
	if out := configs("--describe", "--entity-type", "users", "--entity-default"); strings.Contains(out, "request_percentage") {
		t.Errorf("after deleting: %s", out)
	}

	configs("--alter", "--entity-type", "users", "--entity-name", "alice", "--delete-config", "SCRAM-SHA-256,SCRAM-SHA-512")
	if got := s.try("TopicCommand", "", "--command-config", alice, "--list"); got.Code == 0 {
		t.Error("alice comes in after she was removed")
	}
}
