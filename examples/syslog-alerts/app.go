package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/terminal"
)

// app is one run: its directory, its engine, what it has counted.
type app struct {
	c      config
	std    stdio
	dir    string
	temp   bool
	source connectors.Source
	front  *front // nil without -http

	once            sync.Once
	opened          chan struct{} // closed when the source is open and the engine runs
	lines, bad      atomic.Int64  // committed
	late, delivered atomic.Int64  // lines; alerts that the webhook has acknowledged
}

// newApp makes the directory of a run and listens on -http.
func newApp(c config, std stdio, source connectors.Source) (a *app, err error) {
	a = &app{c: c, std: std, dir: c.dir, source: source, opened: make(chan struct{})}
	if c.http != "" {
		if a.front, err = newFront(c.http); err != nil {
			return nil, err
		}
		if c.demo || c.input != "" { // a service says it with its other addresses
			fmt.Fprintf(std.err, "metrics on http://%s/metrics\n", a.front.addr())
		}
	}
	if c.dir == "" {
		dir, err := os.MkdirTemp("", appName+"-")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("a temporary directory is needed (or give -dir): %w", err), a.close())
		}
		a.dir, a.temp = dir, true
	}
	return a, nil
}

// close stops serving and removes a temporary directory.
func (a *app) close() (err error) {
	if a.front != nil {
		err = a.front.close()
	}
	if a.temp {
		err = errors.Join(err, os.RemoveAll(a.dir))
	}
	return err
}

// engineConfig is what all ways to run have in common.
func (a *app) engineConfig() engine.Config {
	cfg := engine.Config{
		Log:        "embedded:" + a.dir,
		Partitions: int32(a.c.partitions),
		Workers:    a.c.workers,
		Settings:   a.c.settings(),
		Sources:    []engine.Source{{Name: sourceName, Topic: syslogTopic, Partitions: linePartitions(a.c), Source: a.source}},
		Logger:     slog.New(slog.NewTextHandler(a.std.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if a.c.log != "" {
		cfg.Log, cfg.StateDir = a.c.log, filepath.Join(a.dir, "state")
		if a.front != nil {
			cfg.Advertise = a.front.advertised()
		}
	}
	if a.front != nil {
		cfg.Hooks = a.front.Hooks()
	}
	a.count(&cfg.Hooks)
	return cfg
}

// count adds the counts of the summary to the hooks that are there. They are of
// committed transactions.
func (a *app) count(h *engine.Hooks) {
	late, dead, source, state, sink := h.Late, h.DeadLettered, h.Source, h.SourceState, h.Sink
	h.Late = func(op string, records int64) {
		a.late.Add(records)
		if late != nil {
			late(op, records)
		}
	}
	h.DeadLettered = func(stage string, records int64) {
		if stage == sourceName {
			a.bad.Add(records)
			a.lines.Add(records)
		}
		if dead != nil {
			dead(stage, records)
		}
	}
	h.Source = func(name string, records, bytes int64, err error) {
		a.lines.Add(records)
		if source != nil {
			source(name, records, bytes, err)
		}
	}
	h.SourceState = func(s engine.SourceSnapshot) {
		if s.State == "running" {
			a.once.Do(func() { close(a.opened) })
		}
		if state != nil {
			state(s)
		}
	}
	h.Sink = func(name string, records, bytes int64, took time.Duration, err error) {
		if name == webhookName {
			a.delivered.Add(records)
		}
		if sink != nil {
			sink(name, records, bytes, took, err)
		}
	}
}

// linePartitions is the number of partitions of the lines' topic; 0: as -partitions
// says. A file that is counted by source goes through one partition: in others,
// if its hosts fill only some, windows behind the repartition would wait for
// those without lines until the file ends, all of them open.
func linePartitions(c config) int32 {
	if c.input != "" && c.by == "source" {
		return 1
	}
	return 0
}

// run runs the engine until ctx is done or the input has ended.
func (a *app) run(ctx context.Context, cfg engine.Config) (err error) {
	topo, err := buildTopology(a.c)
	if err != nil {
		return err
	}
	eng, err := engine.New(topo, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if a.front != nil {
		a.front.engine.Store(eng)
	}
	defer terminal.ShowRestoring(a.std.err, eng)()
	return eng.Run(ctx)
}

// report tells what became of the input, on stderr.
func (a *app) report(alerts int64) {
	fmt.Fprintf(a.std.err, "%d lines in, %d bad, %d late, %d alerts\n", a.lines.Load(), a.bad.Load(), a.late.Load(), alerts)
	if n := a.bad.Load() + a.late.Load(); n > 0 && !a.temp {
		fmt.Fprintf(a.std.err, "the bad and the late ones are kept in the topic %s in %s\n", deadLettersTopic, a.dir)
	}
}
