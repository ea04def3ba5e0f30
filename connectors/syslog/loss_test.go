package syslog_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

const offeredPerSecond = 200_000

// What arrived is in the log, what did not is counted: 200,000 lines a second
// are offered to a whole engine with its log on disk.
func TestIntegrationEveryLineIsInTheLogOrCounted(t *testing.T) {
	peers.NeedIntegration(t)
	offerLines(t, 3*time.Second)
}

func TestTortureEveryLineIsInTheLogOrCounted(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("30 s of lines per transport: set TORTURE=1")
	}
	offerLines(t, 30*time.Second)
}

// TestFewLinesAreInTheLogOrCounted is the same in miniature.
func TestFewLinesAreInTheLogOrCounted(t *testing.T) { offerLines(t, 100*time.Millisecond) }

func offerLines(t *testing.T, d time.Duration) {
	t.Run("UDP", func(t *testing.T) {
		l := newLoss(t, syslog.UDP)
		sent := l.offer(d, 2, func(conn net.Conn) batchWriter { return newDatagrams(t, conn) })
		l.settle(func(st syslog.Stats) bool { return st.Lines+st.Dropped >= sent })
		l.judge(sent)
	})
	t.Run("TCP", func(t *testing.T) {
		l := newLoss(t, syslog.TCP)
		sent := l.offer(d, 4, func(conn net.Conn) batchWriter { return &stream{conn: conn} })
		l.settle(func(st syslog.Stats) bool { return st.Lines >= sent })
		if dropped := l.judge(sent); dropped != 0 {
			t.Errorf("%d lines of a stream were dropped", dropped)
		}
	})
}

// batchWriter takes lines and sends them when asked; its methods return how many
// lines the system took.
type batchWriter interface {
	add(line []byte)
	flush() (lines int64, err error)
}

// stream sends lines with newlines over TCP.
type stream struct {
	conn  net.Conn
	buf   []byte
	lines int64
}

func (s *stream) add(line []byte) {
	s.buf = append(append(s.buf, line...), '\n')
	s.lines++
}

func (s *stream) flush() (int64, error) {
	_, err := s.conn.Write(s.buf)
	n := s.lines
	s.buf, s.lines = s.buf[:0], 0
	return n, err
}

// loss is one run: a source, an engine with its log on disk, and what was sent.
type loss struct {
	t      *testing.T
	src    *syslog.Source
	kind   syslog.Transport
	dir    string
	stop   context.CancelFunc
	done   chan error
	took   time.Duration
	number atomic.Int64
}

func newLoss(t *testing.T, kind syslog.Transport) *loss {
	l := &loss{t: t, kind: kind, dir: t.TempDir(), done: make(chan error, 1)}
	l.src = syslog.New(syslog.Config{Listeners: []syslog.Listener{{Transport: kind, Address: "127.0.0.1:0"}},
		Parser: syslog.ParserConfig{Years: syslog.FixedYear, Year: 2026}})
	if err := l.src.Listen(); err != nil {
		t.Fatal(err)
	}
	b := streams.NewBuilder("loss")
	b.From[string, syslog.Message]("syslog").
		Filter(func(_ string, m syslog.Message) bool { return m.Contains("Invalid user") }).
		To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(topo, engine.Config{Log: "embedded:" + l.dir, Partitions: 2,
		Sources: []engine.Source{{Name: "syslog", Topic: "syslog", Source: l.src}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.stop = cancel
	go func() { l.done <- errors.Join(e.Run(ctx), e.Close()) }()
	t.Cleanup(func() { cancel(); l.src.Close() })
	return l
}

// offer sends numbered lines at the rate over some connections for a while and
// returns how many the system took.
func (l *loss) offer(d time.Duration, conns int, dial func(net.Conn) batchWriter) int64 {
	const every = 2 * time.Millisecond
	addr := l.src.Addr(l.kind)
	var sent atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range conns {
		conn, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			l.t.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close()
			w := dial(conn)
			tick := time.NewTicker(every)
			defer tick.Stop()
			var mine int64
			line := make([]byte, 0, 200)
			for now := range tick.C {
				if now.Sub(start) > d {
					return
				}
				due := int64(now.Sub(start).Seconds() * offeredPerSecond / float64(conns))
				due = min(due, mine+20_000) // what held it back longer it does not make up for at once
				for ; mine < due; mine++ {
					line = append(line[:0], "<38>Dec 10 06:55:46 web-"...)
					n := l.number.Add(1)
					line = strconv.AppendInt(line, n%100, 10)
					line = append(line, " sshd[24200]: Failed password for root from 203.0.113.7 port 38926 ssh2 "...)
					w.add(strconv.AppendInt(line, n, 10))
				}
				n, err := w.flush()
				if err != nil {
					l.t.Error(err)
					return
				}
				sent.Add(n)
			}
		})
	}
	wg.Wait()
	l.took = time.Since(start)
	return sent.Load()
}

// settle waits until the source's counts say that nothing is on its way.
func (l *loss) settle(enough func(syslog.Stats) bool) {
	l.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last, still := l.src.Stats(), 0
	for !enough(last) {
		<-tick.C
		st := l.src.Stats()
		if still++; st != last {
			last, still = st, 0
		}
		if still > 500 {
			l.t.Fatalf("sent lines are neither read nor dropped: %+v", st)
		}
	}
}

// judge stops the engine and reads its log: every line once, and no other.
func (l *loss) judge(sent int64) (dropped int64) {
	l.t.Helper()
	l.stop()
	if err := <-l.done; err != nil {
		l.t.Fatal(err)
	}
	st := l.src.Stats()
	inLog := l.count(sent)
	dropped = st.Dropped + st.Discarded
	if st.Lines != inLog || sent != inLog+dropped || st.Waiting != 0 {
		l.t.Errorf("sent %d, in the log %d, dropped by the kernel %d, discarded %d: they do not add up; %+v", sent, inLog, st.Dropped, st.Discarded, st)
	}
	l.t.Logf("%s: %d lines in %v (%.0f/s), in the log %d, dropped by the kernel %d (%.2f %%), discarded %d", l.kind, sent, l.took.Round(time.Millisecond),
		float64(sent)/l.took.Seconds(), inLog, st.Dropped, 100*float64(st.Dropped)/float64(max(sent, 1)), st.Discarded)
	return dropped
}

// count reads the topic back.
func (l *loss) count(sent int64) (n int64) {
	l.t.Helper()
	b, err := broker.Open(broker.Config{Dir: l.dir})
	if err != nil {
		l.t.Fatal(err)
	}
	defer b.Close()
	info, err := b.NewConsumer(broker.ConsumerConfig{Topics: []string{"syslog"}})
	if err != nil {
		l.t.Fatal(err)
	}
	defer info.Close()
	seen := make([]bool, sent+1)
	for {
		ctx, cancel := context.WithTimeout(l.t.Context(), 100*time.Millisecond)
		msgs, err := info.Poll(ctx)
		cancel()
		if len(msgs) == 0 {
			if err != nil && ctx.Err() == nil {
				l.t.Fatal(err)
			}
			break
		}
		for _, m := range msgs {
			i, err := strconv.ParseInt(string(m.Value[bytes.LastIndexByte(m.Value, ' ')+1:]), 10, 64)
			if err != nil || i < 1 || i > sent || seen[i] {
				l.t.Fatalf("%s-%d@%d: line %d is a second time there, or was not sent: %q", m.Topic, m.Partition, m.Offset, i, m.Value)
			}
			seen[i] = true
			n++
		}
	}
	if n == 0 {
		l.t.Error("no line is in the log: the test does not test")
	}
	return n
}
