package wire

import (
	"context"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	kafkasasl "github.com/segmentio/kafka-go/sasl"
	kafkaplain "github.com/segmentio/kafka-go/sasl/plain"
	kafkascram "github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	kgosasl "github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millstream-io/millstream/log/broker"
)

// withSASL asks for authentication on the listener: alice may come with PLAIN,
// bob with SCRAM-SHA-256, carol with SCRAM-SHA-512. The password is the name and "-secret".
func withSASL(mechanisms ...string) setup {
	if len(mechanisms) == 0 {
		mechanisms = []string{Plain, ScramSHA256, ScramSHA512}
	}
	return func(_ *broker.Config, c *Config) {
		c.Listeners[0].SASL = mechanisms
		c.Security.FailureDelay = -1
		c.Security.PlainPassword = func(user string) (string, bool) { return "alice-secret", user == "alice" }
		c.Security.FirstUsers = []broker.ScramUser{
			{Name: "bob", Password: "bob-secret", Mechanism: ScramSHA256},
			{Name: "carol", Password: "carol-secret"},
		}
	}
}

// mechanismsOf are the three ways in, with their clients' side.
func mechanismsOf(suffix string) map[string]kgosasl.Mechanism {
	return map[string]kgosasl.Mechanism{
		Plain:       plain.Auth{User: "alice", Pass: "alice" + suffix}.AsMechanism(),
		ScramSHA256: scram.Auth{User: "bob", Pass: "bob" + suffix}.AsSha256Mechanism(),
		ScramSHA512: scram.Auth{User: "carol", Pass: "carol" + suffix}.AsSha512Mechanism(),
	}
}

func TestFranzGoAuthenticatesWithEveryMechanism(t *testing.T) {
	ts := newTestServer(t, withSASL())
	for name, m := range mechanismsOf("-secret") {
		if err := ts.kgo(kgo.SASL(m)).Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, m := range mechanismsOf("-guess") {
		err := ts.kgo(kgo.SASL(m)).Ping(t.Context())
		if err == nil || !strings.Contains(err.Error(), "SASL_AUTHENTICATION_FAILED") {
			t.Errorf("%s with a wrong password: %v, expected SASL_AUTHENTICATION_FAILED", name, err)
		}
	}
	if n := ts.logs.containing("-secret") + ts.logs.containing("-guess"); n > 0 {
		t.Errorf("%d log lines have a password", n)
	}
	if ts.logs.containing("SASL", "alice") == 0 {
		t.Error("no log line names the user who was refused")
	}
}

func TestKafkaGoAuthenticatesWithEveryMechanism(t *testing.T) {
	ts := newTestServer(t, withSASL())
	s256, err := kafkascram.Mechanism(kafkascram.SHA256, "bob", "bob-secret")
	if err != nil {
		t.Fatal(err)
	}
	s512, err := kafkascram.Mechanism(kafkascram.SHA512, "carol", "carol-secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []kafkasasl.Mechanism{kafkaplain.Mechanism{Username: "alice", Password: "alice-secret"}, s256, s512} {
		c, err := (&kafkago.Dialer{SASLMechanism: m, Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", ts.addr)
		if err != nil {
			t.Errorf("%s: %v", m.Name(), err)
			continue
		}
		if _, err := c.Brokers(); err != nil {
			t.Errorf("%s: %v", m.Name(), err)
		}
		_ = c.Close()
	}
	bad := &kafkago.Dialer{SASLMechanism: kafkaplain.Mechanism{Username: "alice", Password: "no"}, Timeout: 10 * time.Second}
	if _, err := bad.DialContext(context.Background(), "tcp", ts.addr); err == nil {
		t.Error("kafka-go came in with a wrong password")
	}
}

// handshake asks for a mechanism and gives the code.
func (c *rawConn) handshake(version int16, mechanism string) int16 {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Version, req.Mechanism = version, mechanism
	return c.do(req).(*kmsg.SASLHandshakeResponse).ErrorCode
}

// token sends a token in a SaslAuthenticate request.
func (c *rawConn) token(version int16, token string) *kmsg.SASLAuthenticateResponse {
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.Version, req.SASLAuthBytes = version, []byte(token)
	return c.do(req).(*kmsg.SASLAuthenticateResponse)
}

const alice = "\x00alice\x00alice-secret"

func TestNothingButApiVersionsAndHandshakeBeforeAuthentication(t *testing.T) {
	ts := newTestServer(t, withSASL())
	for i := range apis {
		a := &apis[i]
		if a.before {
			continue
		}
		c := ts.dial()
		c.do(kmsg.NewPtrApiVersionsRequest())
		req := kmsg.RequestForKey(a.key)
		req.SetVersion(a.max)
		c.write(req)
		if n := c.closed(); n > 0 {
			t.Errorf("%s before authentication was answered with %d bytes, expected a closed connection", kmsg.NameForKey(a.key), n)
		}
	}
}

func TestAVersion0HandshakeIsFollowedByBareTokens(t *testing.T) {
	ts := newTestServer(t, withSASL())
	c := ts.dial()
	if code := c.handshake(0, Plain); code != 0 {
		t.Fatalf("handshake: code %d", code)
	}
	if _, err := c.Write(append([]byte{0, 0, 0, byte(len(alice))}, alice...)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := c.Read(size[:]); err != nil || size != [4]byte{} {
		t.Fatalf("answer to the token: %v %v, expected an empty frame", size, err)
	}
	if resp := c.do(kmsg.NewPtrMetadataRequest()).(*kmsg.MetadataResponse); len(resp.Brokers) != 1 {
		t.Errorf("metadata after it: %d brokers", len(resp.Brokers))
	}

	c = ts.dial()
	c.handshake(0, Plain)
	bad := "\x00alice\x00guess"
	if _, err := c.Write(append([]byte{0, 0, 0, byte(len(bad))}, bad...)); err != nil {
		t.Fatal(err)
	}
	if n := c.closed(); n != 0 {
		t.Errorf("a bare token with a wrong password was answered with %d bytes", n)
	}
}
