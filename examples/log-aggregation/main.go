// Command log-aggregation brings the lines of many log files and of syslog
// sockets into one topic, keyed by host, and counts them per host and severity.
//
// Without arguments it shows itself: it writes log files into a temporary
// directory, sends lines to its own TCP socket, ends when all of them are
// counted and prints the counts. With -files, -tcp or -udp it is a service,
// which prints a host's counts as they change and ends with SIGTERM.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// The topics: all lines, and the counts of each host.
const (
	logsTopic   = "logs"
	countsTopic = "counts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c config
	flag.StringVar(&c.dir, "dir", "log-aggregation-data", "where a service keeps log and state")
	flag.StringVar(&c.files, "files", "", "follow the files that match this pattern")
	flag.StringVar(&c.tcp, "tcp", "", "listen for syslog over TCP on this address")
	flag.StringVar(&c.udp, "udp", "", "listen for syslog over UDP on this address")
	flag.Parse()
	var err error
	switch {
	case flag.NArg() > 0 || flag.NFlag() > 0 && c.files+c.tcp+c.udp == "":
		fmt.Fprintln(os.Stderr, "log-aggregation: nothing to read: give -files, -tcp or -udp, or no arguments")
		os.Exit(2)
	case flag.NFlag() == 0:
		err = demo(ctx, os.Stdout)
	default:
		err = serve(ctx, c, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "log-aggregation:", err)
		os.Exit(1)
	}
}

// config is where lines come from and where they are kept.
type config struct {
	dir, files, tcp, udp string
}

// Counts are the lines of a host by severity: 0 is emergency, 7 is debug.
type Counts [8]int64

// buildTopology counts the lines of each host. They are keyed by host already,
// so all lines of one are in one partition.
func buildTopology() (*topology.Topology, error) {
	b := streams.NewBuilder("log-aggregation")
	b.From[string, syslog.Message](logsTopic).
		GroupByKey().
		Aggregate(func() Counts { return Counts{} }, func(_ string, m syslog.Message, n Counts) Counts {
			n[m.Severity()]++
			return n
		}, streams.Store("severities"), streams.EmitOnCommit()).
		ToStream().
		To(countsTopic)
	return b.Build()
}

// sources are the files and the sockets, all into one topic. The sockets listen
// when it returns; listener is nil if there are none.
func (c config) sources(follow bool) (all []engine.Source, listener *syslog.Source, err error) {
	if c.files != "" {
		all = append(all, engine.Source{Name: "files", Topic: logsTopic, Source: file.New(file.Config{
			Glob: c.files, Tail: follow, Parser: syslog.NewParser(syslog.ParserConfig{}),
		})})
	}
	if c.tcp != "" || c.udp != "" {
		listener = syslog.New(syslog.Config{TCP: c.tcp, UDP: c.udp})
		if err := listener.Listen(); err != nil {
			return nil, nil, err
		}
		all = append(all, engine.Source{Name: "sockets", Topic: logsTopic, Source: listener})
	}
	return all, listener, nil
}

// run runs the topology over sources until ctx is done.
func (c config) run(ctx context.Context, sources []engine.Source, out console.Config) error {
	topo, err := buildTopology()
	if err != nil {
		return err
	}
	app, err := engine.New(topo, engine.Config{
		Log:      cmp.Or(os.Getenv("MILLSTREAM_LOG"), "embedded:"+c.dir), // or kafka://HOST:PORT
		StateDir: filepath.Join(c.dir, "state"),
		Sources:  sources,
		Sinks:    []engine.Sink{{Name: "console", Topic: countsTopic, Sink: console.New(out)}},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	err = app.Run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) { // stopped before it ran
		err = nil
	}
	return errors.Join(err, app.Close())
}

// serve counts what comes in, and prints it, until ctx is done.
func serve(ctx context.Context, c config, out, info io.Writer) error {
	sources, listener, err := c.sources(true)
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
		for _, l := range listener.ListenerStats() {
			fmt.Fprintf(info, "listening on %s %s\n", l.Transport, l.Address)
		}
	}
	return c.run(ctx, sources, console.Config{Writer: out, Format: show})
}

// show prints a host and its counts.
func show(dst []byte, r *connectors.Record) ([]byte, error) {
	n, err := decodeCounts(r.Value)
	if err != nil {
		return dst, err
	}
	return appendCounts(dst, string(r.Key), n), nil
}
