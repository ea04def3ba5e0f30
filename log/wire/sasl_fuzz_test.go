package wire

import (
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/scram"
	"github.com/millstream-io/millstream/log/vfs"
)

// FuzzSASLTokens: whatever tokens come, nobody is let in who does not know a
// password, and nothing panics. Each input is a mechanism and up to three tokens,
// cut at lines.
func FuzzSASLTokens(f *testing.F) {
	f.Add(uint8(0), "\x00alice\x00alice-secret")
	f.Add(uint8(0), "alice\x00alice\x00x")
	f.Add(uint8(0), "\x00\x00\x00\x00")
	f.Add(uint8(1), "n,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL\nc=biws,r=fyko+d2lbbFgONRv9qkxdawLx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	f.Add(uint8(2), "n,a=bob,n=bob,r=x,tokenauth=true\nc=bixhPWJvYiw=,r=x,p="+strings.Repeat("A", 400))
	f.Add(uint8(1), "p=tls-unique,,n=bob,r=x")
	f.Add(uint8(1), "n,,m=x,n=b=2Cob=3D,r=x\n\n")
	s := &security{Security: Security{PlainPassword: func(user string) (string, bool) { return "\xff unguessable", user == "alice" }}, seed: []byte("seed")}
	credential, err := scram.SHA256.FromPassword("\xff unguessable", []byte("salt"), scram.MinIterations)
	if err != nil {
		f.Fatal(err)
	}
	users := scram.NewUsers([]scram.Entry{{Name: "bob", Mechanism: scram.SHA256, Credential: credential}, {Name: "bob", Mechanism: scram.SHA512, Credential: credential}})
	f.Fuzz(func(t *testing.T, mechanism uint8, tokens string) {
		ex := exchange(&plainExchange{check: s.plainUser})
		if m := scram.Mechanism(mechanism % 3); m != scram.Unknown {
			var err error
			if ex, err = newScramExchange(m, s.seed, func() *scram.Users { return users }); err != nil {
				t.Fatal(err)
			}
		}
		for token := range strings.SplitSeq(tokens, "\n") {
			_, done, err := ex.step([]byte(token))
			if done {
				t.Fatalf("%q lets %q in", tokens, ex.user())
			}
			if err != nil {
				return
			}
		}
	})
}

// FuzzBeforeAuthentication: whatever bytes come on a listener that asks for
// SASL, the connection ends or waits for more, and the server serves others.
func FuzzBeforeAuthentication(f *testing.F) {
	request := func(req kmsg.Request) []byte {
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID("f")).AppendRequest(nil, req, 1)
	}
	handshake := kmsg.NewPtrSASLHandshakeRequest()
	handshake.Mechanism = Plain
	f.Add(append(request(handshake), 0, 0, 0, 4, 0, 'a', 0, 'b'))
	handshake.Version = 1
	auth := kmsg.NewPtrSASLAuthenticateRequest()
	auth.Version, auth.SASLAuthBytes = 2, []byte("\x00alice\x00guess")
	f.Add(append(request(handshake), request(auth)...))
	f.Add(request(kmsg.NewPtrMetadataRequest()))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	b, err := broker.Open(broker.Config{Dir: "data", FS: vfs.NewMem(), MaintenanceInterval: -1, TickInterval: -1, BootID: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	c := Config{Broker: b, Listeners: []Listener{{Addr: "127.0.0.1:0"}}}
	withSASL()(nil, &c)
	srv, err := New(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = b.Close() })
	f.Fuzz(func(t *testing.T, input []byte) {
		client, server := net.Pipe()
		conn := newConn(srv, &bound{Listener: srv.cfg.Listeners[0]}, server)
		if why := srv.add(conn); why != "" {
			t.Fatal(why)
		}
		ended := make(chan struct{})
		go func() {
			conn.serve()
			close(ended)
		}()
		drained := make(chan struct{})
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := client.Read(buf); err != nil {
					close(drained)
					return
				}
			}
		}()
		_, _ = client.Write(input) // fails where the server ends the connection
		_ = client.Close()
		<-ended
		<-drained
		if conn.principal != anonymous {
			t.Errorf("%q is %s", input, conn.principal)
		}
	})
}
