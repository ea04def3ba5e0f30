package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// untilClosed waits until the other side closes a connection.
func untilClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
}

// until waits for a condition that another goroutine brings about.
func until(holds func() bool) {
	for !holds() {
		runtime.Gosched()
	}
}

func TestAConnectionThatStopsInTheMiddleOfALineIsClosed(t *testing.T) {
	s := listening(t, Config{LineTimeout: 20 * time.Millisecond})
	quiet, stuck := dial(t, s.TCPAddr()), dial(t, s.TCPAddr())
	send(t, stuck, aLine+"half")
	untilClosed(t, stuck)
	if r := readLines(t, s, 1)[aLine+"half"]; r.DeadLetter != ErrTruncated.Error() {
		t.Errorf("%+v, want a dead letter", r)
	}
	send(t, quiet, aLine+"x\n") // silence between lines is no offence
	readLines(t, s, 1)
	until(func() bool { return s.Stats().Conns == 1 })
	if st := s.Stats(); st.TimedOut != 1 || st.Conns != 1 {
		t.Errorf("%+v", st)
	}
}

func TestAnIdleConnectionIsClosedWhereAsked(t *testing.T) {
	s := listening(t, Config{IdleTimeout: 300 * time.Millisecond})
	c := dial(t, s.TCPAddr())
	send(t, c, aLine+"x\n")
	untilClosed(t, c)
	readLines(t, s, 1)
	if st := s.Stats(); st.TimedOut != 1 || st.Bad != 0 {
		t.Errorf("%+v", st)
	}
}

func TestConnectionsOfOnePeerAreBounded(t *testing.T) {
	s := listening(t, Config{MaxConnsPerPeer: 1})
	first := dial(t, s.TCPAddr())
	send(t, first, aLine+"1\n")
	readLines(t, s, 1)
	untilClosed(t, dial(t, s.TCPAddr()))
	other, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", s.TCPAddr().String())
	if err != nil {
		t.Skipf("this system has no 127.0.0.2: %v", err)
	}
	defer other.Close()
	send(t, other, aLine+"2\n")
	readLines(t, s, 1)
	first.Close()
	until(func() bool { return s.Stats().Conns == 1 })
	again := dial(t, s.TCPAddr())
	send(t, again, aLine+"3\n")
	readLines(t, s, 1)
	if st := s.Stats(); st.Refused != 1 || st.Accepted != 3 {
		t.Errorf("%+v", st)
	}
}

// A thousand peers with half a line, garbage, or a giant count: bounded memory,
// and a good peer's lines come through.
func TestBadPeersDoNoHarm(t *testing.T) {
	s := listening(t, Config{MaxConns: 1100, MaxLine: 8 << 10})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const peers = 1000
	bad := make([]net.Conn, peers)
	for i := range bad {
		bad[i] = dial(t, s.TCPAddr())
		send(t, bad[i], []string{aLine + "half", "99999999 <13>", "\xff\xfe\x80\x81 \x00\x00", strings.Repeat("x", 100)}[i%4])
	}
	good := dial(t, s.TCPAddr())
	send(t, good, aLine+"good\n")
	seen := false
	for !seen || s.Stats().Conns < peers+1 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		var b connectors.Batch
		err := s.Read(ctx, &b)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for _, r := range b.Records() {
			seen = seen || string(r.Value) == aLine+"good" && r.DeadLetter == ""
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 40<<20 {
		t.Errorf("%d connections hold %d MiB", peers, grown>>20)
	}
	for _, c := range bad {
		c.Close()
	}
}

func TestALineOfAMegabyteIsOneDeadLetter(t *testing.T) {
	s := listening(t, Config{})
	c := dial(t, s.TCPAddr())
	send(t, c, aLine+strings.Repeat("x", 1<<20)+"\n"+aLine+"after\n")
	got := readLines(t, s, 2)
	if r := got[aLine+"after"]; r.DeadLetter != "" || r.Key == nil {
		t.Errorf("the line after it: %+v", r)
	}
	for line, r := range got {
		if line != aLine+"after" && (len(line) != 64<<10 || !strings.HasPrefix(r.DeadLetter, ErrTooLong.Error())) {
			t.Errorf("%d bytes, %q", len(line), r.DeadLetter)
		}
	}
}

func TestAFramingThatIsForcedIsKept(t *testing.T) {
	s := opened(t, Config{Listeners: []Listener{{Transport: TCP, Address: "127.0.0.1:0", Framing: FramingOctets}}})
	c := dial(t, s.TCPAddr())
	send(t, c, "36 "+aLine+"x"+aLine+"no count\n")
	untilClosed(t, c)
	got := readLines(t, s, 2)
	if got[aLine+"x"].DeadLetter != "" || got[aLine+"no count\n"].DeadLetter != ErrFraming.Error() {
		t.Errorf("%+v", got)
	}
}

// The log refuses for a moment: the engine closes the source and opens it at
// what was committed. Nothing that was read may be lost or come twice.
func TestLinesThatWereNotCommittedComeAgain(t *testing.T) {
	s := listening(t, Config{})
	addr := s.UDPAddr().String()
	var committed []byte
	var log []string // of committed lines
	next := 0
	for round := range 20 {
		conn := dial(t, s.UDPAddr())
		for range 10 {
			send(t, conn, fmt.Sprintf("%s%d", aLine, next))
			next++
		}
		var open []string // the transaction
		for len(open) < 10 {
			var b connectors.Batch
			if err := s.Read(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			for _, r := range b.Records() {
				open = append(open, string(r.Value))
			}
		}
		position := append([]byte(nil), s.Position()...)
		switch round % 4 {
		case 0: // the commit was lost
		case 1: // its outcome was unknown: it was done
			log, committed = append(log, open...), position
		default:
			log, committed = append(log, open...), position
			continue
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Open(t.Context(), connectors.SourceContext{}, committed); err != nil {
			t.Fatal(err)
		}
		if got := s.UDPAddr().String(); got != addr {
			t.Fatalf("it listens on %s after the second Open, before on %s", got, addr)
		}
	}
	for len(log) < next {
		var b connectors.Batch
		if err := s.Read(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records() {
			log = append(log, string(r.Value))
		}
	}
	if len(log) != next {
		t.Fatalf("%d lines are in the log, %d were sent", len(log), next)
	}
	for i, line := range log {
		if line != fmt.Sprintf("%s%d", aLine, i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if st := s.Stats(); st.Lines != int64(next) || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAPositionOfAnotherProcessIsNoPlaceOfOurs(t *testing.T) {
	other := New(Config{UDP: "127.0.0.1:0"})
	other.ledger.read = 1000
	s := listening(t, Config{})
	send(t, dial(t, s.UDPAddr()), aLine+"x")
	readLines(t, s, 1)
	for _, position := range [][]byte{nil, other.Position(), []byte("short")} {
		s.Close()
		if err := s.Open(t.Context(), connectors.SourceContext{}, position); err != nil {
			t.Fatal(err)
		}
		readLines(t, s, 1)
	}
}

func TestCommittedLinesAreForgotten(t *testing.T) {
	s := listening(t, Config{})
	c := dial(t, s.TCPAddr())
	for i := range 200 {
		send(t, c, fmt.Sprintf("%s%d %s\n", aLine, i, strings.Repeat("x", 30_000)))
		readLines(t, s, 1)
		s.Position()
	}
	if s.ledger.size > 1<<20 {
		t.Fatalf("%d bytes are held after 200 commits", s.ledger.size)
	}
}

func TestWhatIsHeldForACommitThatNeverComesIsBounded(t *testing.T) {
	l, q := newLedger(), newQueue(1<<30)
	line := make([]byte, 1<<20)
	for range 3 * mostHeld / len(line) {
		q.push([]piece{{line: line, sender: &sender{}}}, 0)
		l.fill(q)
		for {
			if _, r, _ := l.line(); r == nil {
				break
			}
		}
	}
	if l.size > mostHeld+2<<20 || l.size < mostHeld/2 {
		t.Fatalf("%d bytes are held, bound %d", l.size, mostHeld)
	}
	l.rewind(nil)
	if got := l.waiting(); got != len(l.chunks) || got < mostHeld/len(line)/2 {
		t.Fatalf("%d lines come again, %d chunks are held", got, len(l.chunks))
	}
}

func TestStoppingTakesWhatTheSystemHasAccepted(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	s := listening(t, Config{Listeners: []Listener{{Transport: TLS, Address: "127.0.0.1:0", TLS: TLSConfig{CertFile: cert, KeyFile: key}}}})
	secure, err := tls.Dial("tcp", s.Addr(TLS).String(), a.client(""))
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	const conns = 20
	for i := range conns {
		send(t, dial(t, s.TCPAddr()), fmt.Sprintf("%s%d\n", aLine, i))
	}
	send(t, secure, aLine+"tls\n")
	send(t, dial(t, s.UDPAddr()), aLine+"udp")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := map[string]bool{}
	for {
		var b connectors.Batch
		if err := s.Read(ctx, &b); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			break
		}
		for _, r := range b.Records() {
			got[string(r.Value)] = true
		}
	}
	if len(got) != conns+2 {
		t.Errorf("%d lines came after the end, %d were sent before it", len(got), conns+2)
	}
	if c, err := net.Dial("tcp", s.TCPAddr().String()); err == nil {
		c.Close()
		t.Error("it takes connections after the end")
	}
}

func TestHooksAndListenerStatsTellOfEachListener(t *testing.T) {
	lines := make(chan ListenerID, 10)
	conns := make(chan int, 10)
	s := listening(t, Config{Listeners: []Listener{{Transport: TCP, Address: "127.0.0.1:0"}, {Transport: UDP, Address: "127.0.0.1:0"}},
		Hooks: Hooks{Received: func(l ListenerID, _, _ int) { lines <- l }, Connection: func(_ ListenerID, change int) { conns <- change }}})
	st := s.ListenerStats()
	if len(st) != 4 || st[0].Transport != UDP || st[1].Transport != TCP || st[2].Transport != TCP || st[3].Transport != UDP {
		t.Fatalf("%+v", st)
	}
	c, err := net.Dial("tcp", st[2].Address)
	if err != nil {
		t.Fatal(err)
	}
	send(t, c, aLine+"x\n")
	if l := <-lines; l.Address != st[2].Address {
		t.Errorf("the line came in at %+v", l)
	}
	c.Close()
	if a, b := <-conns, <-conns; a != 1 || b != -1 {
		t.Errorf("connections changed by %d, %d", a, b)
	}
	readLines(t, s, 1)
	if st := s.ListenerStats(); st[2].Lines != 1 || st[0].Lines+st[1].Lines+st[3].Lines != 0 || st[2].Accepted != 1 {
		t.Errorf("%+v", st)
	}
	if m := s.Measures(); m.LagRecords != 0 || m.Dropped != 0 {
		t.Errorf("%+v", m)
	}
}
