package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/runtime/engine"
)

// idleAfter is how long a partition may be silent before its windows close by
// the clock.
const idleAfter = 5 * time.Second

// newListener makes the syslog source of -udp, -tcp, -tls and -unix, already
// listening.
func newListener(c config) (*syslog.Source, error) {
	src := syslog.New(c.listenOn())
	return src, src.Listen()
}

// listenOn says where to listen, and for whom.
func (c *config) listenOn() syslog.Config {
	cfg := syslog.Config{UDP: c.udp, TCP: c.tcp, Parser: c.parser(), MaxAhead: c.maxAhead,
		MaxConns: c.maxConns, MaxConnsPerPeer: c.maxConnsPerPeer, IdleTimeout: c.idleTimeout}
	if c.tls != "" {
		cfg.Listeners = append(cfg.Listeners, syslog.Listener{Transport: syslog.TLS, Address: c.tls,
			TLS: syslog.TLSConfig{CertFile: c.tlsCert, KeyFile: c.tlsKey, ClientCAFile: c.tlsCA}})
	}
	if c.unix != "" {
		cfg.Listeners = append(cfg.Listeners, syslog.Listener{Transport: syslog.Unixgram, Address: c.unix})
	}
	return cfg
}

// listening says where a source can be reached.
func listening(src *syslog.Source) string {
	var on []string
	if a := src.UDPAddr(); a != nil {
		on = append(on, "UDP "+a.String())
	}
	if a := src.TCPAddr(); a != nil {
		on = append(on, "TCP "+a.String())
	}
	return strings.Join(on, " and ")
}

// liveConfig is the engine's configuration with alerts on the console, and
// posted if -webhook says so.
func (a *app) liveConfig(written func([]connectors.Record)) (engine.Config, error) {
	cfg := a.engineConfig()
	cfg.IdleAfter = idleAfter
	cfg.Retention = a.c.retention
	cfg.Sinks = []engine.Sink{{Name: "console", Topic: alertsTopic, Sink: console.New(console.Config{
		Writer: a.std.out, Format: newPrinter(a.c).Format, Written: written,
	})}}
	if a.c.webhook.IsZero() {
		return cfg, nil
	}
	posted, err := a.c.webhookSink()
	cfg.Sinks = append(cfg.Sinks, posted)
	return cfg, err
}

// runLive listens until it is stopped.
func runLive(ctx context.Context, c config, std stdio) (err error) {
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

	var alerts latencies
	cfg, err := a.liveConfig(alerts.written)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		a.tellWhenReady(running, src)
	}()
	err = a.run(ctx, cfg)
	stop()
	<-told
	if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) { // it may be stopped before it runs
		return err
	}
	a.report(alerts.count())
	if !c.webhook.IsZero() {
		fmt.Fprintf(std.err, "%d alerts posted\n", a.delivered.Load())
	}
	if n := src.Stats().Dropped; n > 0 {
		fmt.Fprintf(std.err, "%d datagrams were dropped by the kernel\n", n)
	}
	return nil
}

// tellWhenReady prints where the service can be reached once it works on what
// comes in: "listening on udp=ADDR tcp=ADDR http=ADDR", of these what there is.
func (a *app) tellWhenReady(ctx context.Context, src *syslog.Source) {
	select {
	case <-a.opened:
	case <-ctx.Done():
		return
	}
	var on []string
	for _, at := range []struct {
		name      string
		transport syslog.Transport
	}{{"udp", syslog.UDP}, {"tcp", syslog.TCP}, {"tls", syslog.TLS}, {"unix", syslog.Unixgram}} {
		if addr := src.Addr(at.transport); addr != nil {
			on = append(on, at.name+"="+addr.String())
		}
	}
	if a.front != nil {
		on = append(on, "http="+a.front.addr())
	}
	fmt.Fprintln(a.std.err, "listening on", strings.Join(on, " "))
}
