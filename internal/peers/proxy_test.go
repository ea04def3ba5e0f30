package peers_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

// echo answers every line with itself.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

type caller struct {
	net.Conn
	in *bufio.Reader
}

func call(t *testing.T, p *peers.Proxy, addr string) caller {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := p.Dial(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return caller{c, bufio.NewReader(c)}
}

// silent says that nothing arrives for a while.
func (c caller) silent(t *testing.T) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := c.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q and %v, expected nothing", b, err)
	}
}

func (c caller) says(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (c caller) hears(t *testing.T, line string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if got, err := c.in.ReadString('\n'); err != nil || got != line+"\n" {
		t.Fatalf("got %q and %v, expected %q", got, err, line)
	}
}

func TestProxyHoldsAndReleasesBothDirections(t *testing.T) {
	addr := echo(t)
	p := peers.StartProxy(t, addr)
	c := call(t, p, addr)
	c.says(t, "one")
	c.hears(t, "one")
	for name, fault := range map[string]func(){"black hole": p.Blackhole, "mute": p.Mute, "deaf": p.Deafen} {
		fault()
		c.says(t, name)
		c.silent(t)
		late := call(t, p, addr)
		late.says(t, "late")
		late.silent(t)
		p.Heal()
		c.hears(t, name)
		late.hears(t, "late")
	}
	// What was passed on is counted after that.
	limit := time.Now().Add(time.Minute)
	for to, from := p.Sent(); to != from || to == 0; to, from = p.Sent() {
		if time.Now().After(limit) {
			t.Fatalf("%d bytes came to the server and %d from it", to, from)
		}
	}
}

// Of the two directions only one is held: Deafen lets the bytes reach the server.
func TestProxyHoldsOneDirection(t *testing.T) {
	addr := echo(t)
	p := peers.StartProxy(t, addr)
	c := call(t, p, addr)
	c.says(t, "zero") // it is connected all the way
	c.hears(t, "zero")
	p.Deafen()
	c.says(t, "one")
	limit := time.Now().Add(time.Minute)
	for to := int64(0); to < int64(len("zero\none\n")); to, _ = p.Sent() {
		if time.Now().After(limit) {
			t.Fatal("the server got nothing")
		}
	}
	p.Mute() // the echo comes through now, the next line does not
	c.hears(t, "one")
	c.says(t, "two")
	c.silent(t)
	p.Heal()
	c.hears(t, "two")
}

func TestProxyCutsAndHeals(t *testing.T) {
	addr := echo(t)
	p := peers.StartProxy(t, addr)
	c := call(t, p, addr)
	c.says(t, "one")
	c.hears(t, "one")
	p.Cut()
	if _, err := c.in.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection gave %v, expected its end", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	refused, err := p.Dial(ctx, "tcp", addr) // it may be reset before Dial sees that it was made
	if err == nil {
		defer refused.Close()
		refused.SetReadDeadline(time.Now().Add(time.Minute))
		_, err = refused.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("a new connection gave %v, expected its end", err)
	}
	p.Heal()
	again := call(t, p, addr)
	again.says(t, "two")
	again.hears(t, "two")
}

func TestProxyDelays(t *testing.T) {
	addr := echo(t)
	p := peers.StartProxy(t, addr)
	c := call(t, p, addr)
	p.Delay(time.Hour)
	c.says(t, "one")
	c.silent(t)
	p.Delay(time.Millisecond)
	c.hears(t, "one")
}

func TestProxyLeadsToItsBrokersOnly(t *testing.T) {
	p := peers.StartProxy(t, echo(t))
	if _, err := p.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("an address that the proxy does not know was dialed")
	}
}
