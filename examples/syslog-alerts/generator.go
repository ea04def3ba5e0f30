package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
)

// generator sends lines of sshd to a source: over UDP, over TCP with newlines
// and over TCP with octet counts.
type generator struct {
	src  *syslog.Source
	tz   *time.Location
	sent atomic.Int64
}

const (
	senders     = 4
	perSecond   = 30_000 // over all senders
	sendEvery   = 10 * time.Millisecond
	attackEvery = 600 * time.Millisecond // of one sender
	attackLines = 9
)

func newGenerator(src *syslog.Source, tz *time.Location) *generator {
	return &generator{src: src, tz: tz}
}

// run sends until the source has read n lines, then waits until it has read, or
// the kernel has dropped, every line that was sent.
func (g *generator) run(ctx context.Context, n int64) error {
	sending, enough := context.WithCancel(ctx)
	defer enough()
	errs := make([]error, senders)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			errs[i] = g.send(sending, i)
			if errs[i] != nil {
				enough()
			}
		})
	}
	if err := g.wait(sending, func(st syslog.Stats) bool { return st.Lines >= n }); err != nil && ctx.Err() == nil {
		errs = append(errs, err)
	}
	enough()
	wg.Wait()
	if err := errors.Join(errs...); err != nil || ctx.Err() != nil {
		return err
	}
	return g.wait(ctx, func(st syslog.Stats) bool { return st.Lines+st.Dropped >= g.sent.Load() })
}

// wait waits until the source's counters are as they should be.
func (g *generator) wait(ctx context.Context, enough func(syslog.Stats) bool) error {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	last, since := g.src.Stats(), time.Now()
	for {
		st := g.src.Stats()
		switch {
		case enough(st) || ctx.Err() != nil:
			return nil
		case st != last:
			last, since = st, time.Now()
		case time.Since(since) > demoPatience:
			return fmt.Errorf("no line came in for %v: %d sent, %d read, %d dropped", demoPatience, g.sent.Load(), st.Lines, st.Dropped)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// send is one sender: two use UDP, two TCP with the one and the other framing.
func (g *generator) send(ctx context.Context, i int) error {
	var conn net.Conn
	var err error
	if i < 2 {
		conn, err = net.Dial("udp", g.src.UDPAddr().String())
	} else {
		conn, err = net.Dial("tcp", g.src.TCPAddr().String())
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(demoPatience)) })
	defer stop()
	s := &sender{gen: g, rng: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(i))), datagrams: i < 2, counted: i == 3}
	s.w = bufio.NewWriterSize(conn, 32<<10)
	s.conn = conn

	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	start, lines := time.Now(), 0
	for {
		now := time.Now()
		s.stamp = now.In(g.tz).Format(time.Stamp)
		due := int(now.Sub(start).Seconds() * perSecond / senders)
		// After a pause the rest is not caught up on at once.
		for n := min(due-lines, 5*perSecond/senders/100); n > 0; n-- {
			if err := s.line(now); err != nil {
				return err
			}
		}
		lines = due
		if err := s.flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sender makes the lines of one connection.
type sender struct {
	gen       *generator
	rng       *rand.Rand
	conn      net.Conn
	w         *bufio.Writer
	datagrams bool // a line is a datagram
	counted   bool // a line begins with its length
	stamp     string
	buf       []byte
	pending   int64 // lines in w

	attack     int // lines that the attack under way has left
	host       string
	addr       string
	nextAttack time.Time
}

// line sends one line.
func (s *sender) line(now time.Time) error {
	s.buf = s.appendLine(s.buf[:0], now)
	if s.datagrams {
		if _, err := s.conn.Write(s.buf); err != nil {
			return fmt.Errorf("sending a datagram: %w", err)
		}
		s.gen.sent.Add(1)
		return nil
	}
	if s.counted {
		fmt.Fprintf(s.w, "%d ", len(s.buf))
	} else {
		s.buf = append(s.buf, '\n')
	}
	s.pending++
	_, err := s.w.Write(s.buf)
	return err
}

// flush counts the lines of a stream once all of them are with the kernel.
func (s *sender) flush() error {
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("sending lines: %w", err)
	}
	s.gen.sent.Add(s.pending)
	s.pending = 0
	return nil
}
