package wire

import (
	"context"
	"strings"
	"sync/atomic"
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
	if !ts.logged("SASL", "alice") {
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

// logged waits for a log line with the words: the end of a connection is logged
// after its client has seen it.
func (ts *testServer) logged(words ...string) bool {
	for range 5000 {
		if ts.logs.containing(words...) > 0 {
			return true
		}
		<-time.After(2 * time.Millisecond)
	}
	return false
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

// roundTrip asks for the versions served.
func (c *rawConn) roundTrip() error {
	c.write(kmsg.NewPtrApiVersionsRequest())
	_, _, err := c.tryRead(kmsg.NewPtrApiVersionsRequest())
	return err
}

func TestRefusalsTellTheClientNothingOfUsers(t *testing.T) {
	ts := newTestServer(t, withSASL())
	for _, c := range []struct{ mechanism, token, want string }{
		{Plain, "\x00alice\x00guess", "Authentication failed: Invalid username or password"},
		{Plain, "\x00eve\x00guess", "Authentication failed: Invalid username or password"},
		{Plain, "bob\x00alice\x00alice-secret", "authorization id"},
		{Plain, "\x00\x00x", "username not specified"},
		{Plain, "\x00alice\x00", "password not specified"},
		{Plain, "alice", "due to invalid credentials with SASL mechanism PLAIN"},
		{ScramSHA256, "n,,n=bob", "due to invalid credentials with SASL mechanism SCRAM-SHA-256"},
		{ScramSHA256, "", "due to invalid credentials"},
		{ScramSHA512, "n,a=eve,n=carol,r=x", "authorization id"},
	} {
		conn := ts.dial()
		conn.handshake(1, c.mechanism)
		resp := conn.token(2, c.token)
		if resp.ErrorCode != codeSaslAuthenticationFailed || !strings.Contains(*resp.ErrorMessage, c.want) {
			t.Errorf("%s %q: code %d, %q, expected %q", c.mechanism, c.token, resp.ErrorCode, *resp.ErrorMessage, c.want)
		}
		if n := conn.closed(); n != 0 {
			t.Errorf("%s %q: %d bytes after the refusal", c.mechanism, c.token, n)
		}
	}
	// A name that does not exist is asked for its proof like any other.
	for _, name := range []string{"bob", "eve"} {
		conn := ts.dial()
		conn.handshake(1, ScramSHA256)
		if resp := conn.token(2, "n,,n="+name+",r=nonce"); resp.ErrorCode != 0 || !strings.HasPrefix(string(resp.SASLAuthBytes), "r=nonce") {
			t.Errorf("%s: code %d, %q", name, resp.ErrorCode, resp.SASLAuthBytes)
		}
	}
}

func TestAMechanismThatIsNotOfferedIsNamedWithThoseThatAre(t *testing.T) {
	ts := newTestServer(t, withSASL(ScramSHA512))
	c := ts.dial()
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Version, req.Mechanism = 1, Plain
	resp := c.do(req).(*kmsg.SASLHandshakeResponse)
	if resp.ErrorCode != codeUnsupportedSaslMechanism || len(resp.SupportedMechanisms) != 1 || resp.SupportedMechanisms[0] != ScramSHA512 {
		t.Errorf("code %d, %v", resp.ErrorCode, resp.SupportedMechanisms)
	}
	if n := c.closed(); n != 0 {
		t.Errorf("%d bytes after it", n)
	}
}

func TestWithoutSASLTheCallsSayIllegalState(t *testing.T) {
	c := newTestServer(t).dial()
	if code := c.handshake(1, Plain); code != codeIllegalSaslState {
		t.Errorf("handshake: code %d", code)
	}
	if resp := c.token(2, alice); resp.ErrorCode != codeIllegalSaslState {
		t.Errorf("authenticate: code %d", resp.ErrorCode)
	}
}

func TestBeforeAuthenticationRequestsAreSmall(t *testing.T) {
	ts := newTestServer(t, withSASL())
	c := ts.dial()
	if _, err := c.Write([]byte{0x01, 0, 0, 0, 0, 17, 0, 1}); err != nil { // 16 MiB are announced
		t.Fatal(err)
	}
	if n := c.closed(); n != 0 {
		t.Errorf("%d bytes of answer", n)
	}
}

// withReauth lets sessions last a minute of the clock.
func withReauth(clock *handClock) setup {
	return func(b *broker.Config, c *Config) {
		c.Now, c.Security.MaxReauth = clock.Now, time.Minute
	}
}

func TestASessionEndsUnlessTheClientAuthenticatesAnew(t *testing.T) {
	clock := newHandClock()
	ts := newTestServer(t, withSASL(), withReauth(clock))
	c := ts.dial()
	login := func() {
		t.Helper()
		if code := c.handshake(1, Plain); code != 0 {
			t.Fatalf("handshake: code %d", code)
		}
		if resp := c.token(2, alice); resp.ErrorCode != 0 || resp.SessionLifetimeMillis != 60_000 {
			t.Fatalf("code %d, session of %d ms, expected 60000", resp.ErrorCode, resp.SessionLifetimeMillis)
		}
	}
	login()
	if code := c.handshake(1, Plain); code != codeIllegalSaslState {
		t.Errorf("authenticating anew within the second: code %d, expected ILLEGAL_SASL_STATE", code)
	}
	clock.advance(50 * time.Second)
	login()
	clock.advance(50 * time.Second)
	c.do(kmsg.NewPtrMetadataRequest()) // 100 s after the first, 50 after the second
	clock.advance(11 * time.Second)
	c.write(kmsg.NewPtrMetadataRequest())
	if n := c.closed(); n != 0 {
		t.Errorf("%d bytes of answer after the session", n)
	}
	if !ts.logged("did not authenticate anew") {
		t.Error("the end of the session is not logged")
	}
}

func TestReauthenticationChangesNeitherUserNorMechanism(t *testing.T) {
	for _, c := range []struct{ what, mechanism, token, want string }{
		{"another user", Plain, "\x00mallory\x00mallory-secret", "Cannot change principals"},
		{"another mechanism", ScramSHA256, "n,,n=bob,r=x", "not supported for re-authentication"},
		{"a wrong password", Plain, "\x00alice\x00guess", "Invalid username or password"},
		{"a wrong token", Plain, "x", "during re-authentication"},
	} {
		clock := newHandClock()
		ts := newTestServer(t, withSASL(), withReauth(clock), func(_ *broker.Config, w *Config) {
			w.Security.PlainPassword = func(user string) (string, bool) { return user + "-secret", true }
		})
		conn := ts.dial()
		conn.handshake(1, Plain)
		conn.token(2, alice)
		clock.advance(10 * time.Second)
		if code := conn.handshake(1, c.mechanism); code != 0 {
			t.Errorf("%s: handshake: code %d", c.what, code)
		}
		resp := conn.token(2, c.token)
		if resp.ErrorCode != codeSaslAuthenticationFailed || !strings.Contains(*resp.ErrorMessage, c.want) {
			t.Errorf("%s: code %d, %v", c.what, resp.ErrorCode, resp.ErrorMessage)
		}
		conn.closed()
	}
}

// The session lasts 2.2 s of real time: franz-go comes again a second before its
// end, and the server wants a second between two times.
func TestFranzGoAuthenticatesAnewInItsSessions(t *testing.T) {
	for name, m := range mechanismsOf("-secret") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections, handshakes atomic.Int64
			ts := newTestServer(t, withSASL(), func(_ *broker.Config, c *Config) {
				c.Security.MaxReauth = 2200 * time.Millisecond
				c.Hooks.Connected = func(string) { connections.Add(1) }
				c.Hooks.Served = func(s Served) {
					if s.Key == keySaslHandshake && s.Errors == 0 {
						handshakes.Add(1)
					}
				}
			})
			cl := ts.kgo(kgo.SASL(m))
			for handshakes.Load() <= connections.Load() {
				if err := cl.Ping(t.Context()); err != nil {
					t.Fatal(err)
				}
				<-time.After(20 * time.Millisecond)
			}
			if err := cl.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if ts.logs.containing("SASL") > 0 || ts.logs.containing("anew") > 0 {
				t.Error("something was refused")
			}
		})
	}
}

func TestWhoDoesNotAuthenticateIsClosedSoon(t *testing.T) {
	ts := newTestServer(t, withSASL(), func(_ *broker.Config, c *Config) { c.FrameTimeout = time.Second })
	c := ts.dial()
	c.do(kmsg.NewPtrApiVersionsRequest())
	c.closed() // well before the ten minutes of IdleTimeout

	in := ts.dial()
	in.handshake(1, Plain)
	in.token(2, alice)
	<-time.After(1100 * time.Millisecond)
	in.do(kmsg.NewPtrApiVersionsRequest())
}
