package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
)

const (
	demoLines    = 300_000          // until that many have come in
	demoPatience = 60 * time.Second // for lines that were sent and not seen
)

// runDemo runs the live program on lines of its own, which go through real
// sockets, and checks that none is missing.
func runDemo(ctx context.Context, c config, std stdio, lines int64) (err error) {
	src, err := newListener(c)
	if err != nil {
		return err
	}
	defer src.Close()
	a, err := newApp(c, std, src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	fmt.Fprintf(std.out, "%d lines of sshd from %d hosts through %s on this machine.\nAn alert for every %s with %d lines like %q within %v:\n\n",
		lines, len(hostNames), listening(src), c.by, c.threshold, c.match, c.window)

	var alerts latencies
	cfg, err := a.liveConfig(alerts.written)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	gen := newGenerator(src, c.tz)
	result := make(chan error, 1)
	var start, end time.Time
	go func() {
		defer stop() // ends the engine, which drains first
		select {
		case <-a.opened:
		case <-running.Done():
		}
		start = time.Now()
		err := gen.run(running, lines)
		end = time.Now()
		result <- err
	}()
	err = a.run(running, cfg)
	stop()
	if err = errors.Join(err, <-result); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return errors.New("stopped before the end of the demo")
	}
	if err := a.account(gen.sent.Load(), src.Stats()); err != nil {
		return err
	}
	in := a.lines.Load()
	fmt.Fprintf(std.out, "%d lines in, %d alerts out, %.0f records/s, p50 %s ms, p99 %s ms\n",
		in, alerts.count(), float64(in)/end.Sub(start).Seconds(), inMS(alerts.quantile(0.50)), inMS(alerts.quantile(0.99)))
	return nil
}

func inMS(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// account checks that every line sent is in the log or was dropped by the kernel.
func (a *app) account(sent int64, st syslog.Stats) (err error) {
	r, err := openResults(a.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	good, err := r.count(syslogTopic)
	if err != nil {
		return err
	}
	bad, err := r.count(deadLettersTopic)
	if err != nil {
		return err
	}
	// The dead letters hold the late lines too, which are in the log already.
	bad -= a.late.Load()
	fmt.Fprintf(a.std.out, "\n%d lines sent = %d in the log + %d bad ones kept aside + %d dropped by the kernel; %d late\n",
		sent, good, bad, st.Dropped, a.late.Load())
	if sent != good+bad+st.Dropped {
		return fmt.Errorf("%d lines were sent, but %d are in the log, %d aside and %d dropped by the kernel", sent, good, bad, st.Dropped)
	}
	return nil
}
