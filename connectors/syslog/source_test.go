package syslog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

func listening(t *testing.T, cfg Config) *Source {
	t.Helper()
	cfg.UDP, cfg.TCP = "127.0.0.1:0", "127.0.0.1:0"
	s := New(cfg)
	if err := s.Open(t.Context(), connectors.SourceContext{}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// readLines reads until n records came, and returns copies of them by value.
func readLines(t *testing.T, s *Source, n int) map[string]connectors.Out {
	t.Helper()
	got := map[string]connectors.Out{}
	for len(got) < n {
		var b connectors.Batch // not reused, so that records may be kept
		if err := s.Read(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records() {
			got[string(r.Value)] = r
		}
	}
	return got
}

func TestSourceTakesLinesFromUDPAndTCP(t *testing.T) {
	s := listening(t, Config{})
	stamp := time.Now().UTC().Format(time.Stamp)
	udp, tcp := dial(t, s.UDPAddr()), dial(t, s.TCPAddr())
	send(t, udp, "<38>"+stamp+" web-1 sshd[1]: over UDP\r\n")
	send(t, udp, stamp+" sshd[1]: no host")
	send(t, udp, "nonsense")
	framed := "<38>1 - web-2 su - - - counted"
	send(t, tcp, fmt.Sprintf("%s web-3 sshd[1]: newline\n%d %s", stamp, len(framed), framed))

	got := readLines(t, s, 5)
	want := map[string]struct {
		key        string
		bad        bool
		noPriority bool
		timeKnown  bool
	}{
		"<38>" + stamp + " web-1 sshd[1]: over UDP": {key: "web-1"},
		stamp + " sshd[1]: no host":                 {key: "127.0.0.1", noPriority: true},
		"nonsense":                                  {bad: true},
		stamp + " web-3 sshd[1]: newline":           {key: "web-3", noPriority: true},
		framed:                                      {key: "web-2"},
	}
	for line, w := range want {
		r, ok := got[line]
		if !ok {
			t.Errorf("%q did not come", line)
			continue
		}
		if string(r.Key) != w.key || (r.DeadLetter != "") != w.bad || (len(r.Headers) == 4) != w.noPriority {
			t.Errorf("%q: %+v", line, r)
		}
		at := time.Unix(0, int64(binary.BigEndian.Uint64(r.Headers[0].Value)))
		if r.Headers[0].Key != HeaderReceived || time.Since(at) < 0 || time.Since(at) > time.Hour {
			t.Errorf("%q: received %v", line, at)
		}
		if r.Headers[1].Key != HeaderRemote || !strings.HasPrefix(string(r.Headers[1].Value), "127.0.0.1:") {
			t.Errorf("%q: remote %q", line, r.Headers[1].Value)
		}
		if !w.bad && time.UnixMilli(r.Timestamp).Sub(at).Abs() > time.Hour {
			t.Errorf("%q: event time %v, received %v", line, time.UnixMilli(r.Timestamp), at)
		}
	}
	st := s.Stats()
	if st.Lines != 5 || st.Bad != 1 || st.Dropped != 0 || st.Conns != 1 || st.Bytes == 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestALineFromTheFutureHasTheTimeAtWhichItCame where Config bounds that.
func TestALineFromTheFutureHasTheTimeAtWhichItCame(t *testing.T) {
	now := time.Now().UTC()
	ahead, near := now.Add(48*time.Hour).Truncate(time.Second), now.Add(time.Hour).Truncate(time.Second)
	for _, bound := range []time.Duration{0, 24 * time.Hour} {
		s := listening(t, Config{MaxAhead: bound})
		far, ok := "<38>1 "+ahead.Format(time.RFC3339)+" a su - - - x", "<38>1 "+near.Format(time.RFC3339)+" a su - - - x"
		send(t, dial(t, s.TCPAddr()), far+"\n"+ok+"\n")
		got := readLines(t, s, 2)
		if got[ok].Timestamp != near.UnixMilli() {
			t.Errorf("bound %v: a line an hour ahead has the time %v", bound, time.UnixMilli(got[ok].Timestamp))
		}
		at, own := time.UnixMilli(got[far].Timestamp), ""
		for _, h := range got[far].Headers {
			if h.Key == HeaderAhead {
				own = string(h.Value)
			}
		}
		switch {
		case bound == 0 && (!at.Equal(ahead) || own != ""):
			t.Errorf("not bounded: a line two days ahead has the time %v, header %q", at, own)
		case bound > 0 && (at.Before(now.Truncate(time.Millisecond)) || at.After(near) || own != fmt.Sprint(ahead.UnixMilli())):
			t.Errorf("bound %v: a line two days ahead has the time %v, header %q", bound, at, own)
		}
	}
}

func TestEveryDatagramIsReadOrCountedAsDropped(t *testing.T) {
	s := listening(t, Config{QueueBytes: 1 << 10, ReceiveBuffer: 8 << 10})
	udp := dial(t, s.UDPAddr())
	line := "Dec 10 06:55:46 web-1 sshd[1]: " + strings.Repeat("x", 200)
	const sent = 500 // nobody reads: the queue is full, then the socket's buffer
	for range sent {
		send(t, udp, line)
	}
	if s.Stats().Dropped == 0 {
		t.Fatal("nothing was dropped: the test does not test")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the source drains
	var n int64
	for {
		var b connectors.Batch
		if err := s.Read(ctx, &b); err != nil {
			break
		}
		n += int64(b.Len())
	}
	if st := s.Stats(); n+st.Dropped != sent || st.Lines != n {
		t.Fatalf("sent %d, read %d, dropped %d, stats %+v", sent, n, st.Dropped, st)
	}
	before := s.Stats()
	s.Close()
	if after := s.Stats(); after != before {
		t.Fatalf("closing changed the stats from %+v to %+v", before, after)
	}
}

func TestTCPFeelsBackpressureAndLosesNothing(t *testing.T) {
	s := listening(t, Config{QueueBytes: 4 << 10})
	tcp := dial(t, s.TCPAddr())
	const lines = 40_000 // far more than queue and sockets hold
	go func() {
		for i := range lines {
			if _, err := fmt.Fprintf(tcp, "Dec 10 06:55:46 web-1 sshd[1]: %d %s\n", i, strings.Repeat("x", 60)); err != nil {
				return
			}
		}
	}()
	next := 0
	var b connectors.Batch
	for next < lines {
		b.Reset()
		if err := s.Read(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records() {
			if want := fmt.Sprintf("]: %d xx", next); !strings.Contains(string(r.Value), want) {
				t.Fatalf("line %d is %q", next, r.Value)
			}
			next++
		}
		s.queue.mu.Lock()
		queued := s.queue.pending.size()
		s.queue.mu.Unlock()
		if queued > 4<<10 {
			t.Fatalf("%d bytes were queued, bound 4096", queued)
		}
	}
}

func TestWhatWasReceivedIsReadAfterTheEnd(t *testing.T) {
	s := listening(t, Config{})
	tcp := dial(t, s.TCPAddr())
	send(t, tcp, "Dec 10 06:55:46 web-1 sshd[1]: whole\nDec 10 06:55:46 web-1 sshd[1]: half")
	ctx, cancel := context.WithCancel(t.Context())
	var b connectors.Batch
	if err := s.Read(ctx, &b); err != nil { // the connection is accepted and read
		t.Fatal(err)
	}
	cancel()
	for {
		if err := s.Read(ctx, &b); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			break
		}
	}
	got := b.Records()
	if len(got) != 2 || got[0].DeadLetter != "" || got[1].DeadLetter != ErrTruncated.Error() {
		t.Fatalf("got %+v, want a whole line and a dead letter", got)
	}
}

func TestADeadlineEndsTheWaitAndNotTheSource(t *testing.T) {
	s := listening(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var b connectors.Batch
	if err := s.Read(ctx, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	send(t, dial(t, s.UDPAddr()), "Dec 10 06:55:46 web-1 sshd[1]: x")
	readLines(t, s, 1)
}

func TestTooManyConnectionsAreRefused(t *testing.T) {
	s := listening(t, Config{MaxConns: 1})
	first := dial(t, s.TCPAddr())
	send(t, first, "Dec 10 06:55:46 web-1 sshd[1]: x\n")
	readLines(t, s, 1)
	second := dial(t, s.TCPAddr())
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Fatal("a second connection was kept")
	}
	if st := s.Stats(); st.Refused != 1 || st.Conns != 1 {
		t.Fatalf("stats %+v", st)
	}
}

func TestListenErrorsNameTheAddress(t *testing.T) {
	if err := New(Config{}).Listen(); err == nil {
		t.Error("a source without an address listens")
	}
	s := listening(t, Config{})
	taken := s.TCPAddr().String()
	for _, cfg := range []Config{{TCP: taken}, {UDP: s.UDPAddr().String(), TCP: taken}, {UDP: "nowhere:port"}} {
		if err := New(cfg).Listen(); err == nil || !strings.Contains(err.Error(), "syslog source: ") {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
}
