package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/runtime/engine"
)

// Memory that the state may take, beside the log's and Badger's own.
const (
	cacheBytes          = 32 << 20
	uncheckpointedBytes = 32 << 20
)

// job is one run over both files.
type job struct {
	c         config
	std       stdio
	dir       string
	temp      bool
	orders    *file.Source
	customers *file.Source
	written   atomic.Int64 // records that Cassandra has acknowledged
	hooks     engine.Hooks
}

// runJob reads both files to their end and brings the tables up to date. With
// -dir it goes on where the last run stopped.
func runJob(ctx context.Context, c config, std stdio) error {
	j := &job{c: c, std: std, dir: c.dir, temp: c.dir == ""}
	j.hooks.Sink = func(_ string, records, _ int64, _ time.Duration, _ error) { j.written.Add(records) }
	return j.run(ctx)
}

func (j *job) run(ctx context.Context) (err error) {
	for _, f := range []string{j.c.orders, j.c.customers} { // the commonest mistake, told before anything is set up
		in, err := os.Open(f)
		if err != nil {
			return err
		}
		in.Close()
	}
	if j.temp {
		if j.dir, err = os.MkdirTemp("", appName+"-"); err != nil {
			return fmt.Errorf("a temporary directory is needed (or give -dir): %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(j.dir)) }()
	}
	if err := j.compute(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end of the files; %s", j.howToGoOn())
	}
	return j.print(ctx)
}

func (j *job) howToGoOn() string {
	if j.temp {
		return "with -dir DIR the next run would go on from here"
	}
	return "the same command goes on from here"
}

// runGenerated is runJob over generated files.
func runGenerated(ctx context.Context, c config, std stdio) (err error) {
	dir, err := os.MkdirTemp("", appName+"-")
	if err != nil {
		return fmt.Errorf("a temporary directory is needed for generated files: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := generate(dir, c.ordersCount, c.seed); err != nil {
		return err
	}
	c.orders, c.customers = filepath.Join(dir, ordersFile), filepath.Join(dir, customersFile)
	return runJob(ctx, c, std)
}

// compute runs the engine until everything that the files hold is in the tables,
// or ctx is done.
func (j *job) compute(ctx context.Context) (err error) {
	topo, err := buildTopology()
	if err != nil {
		return err
	}
	eng, err := engine.New(topo, j.engineConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	stop := j.showProgress()
	defer stop()
	return eng.Run(ctx)
}

// log is where the records are: in the job's directory, or on a cluster,
// kafka://HOST:PORT.
func (j *job) log() string { return cmp.Or(os.Getenv("MILLSTREAM_LOG"), "embedded:"+j.dir) }

func (j *job) engineConfig() engine.Config {
	j.orders = file.New(file.Config{Path: j.c.orders, Parser: orderLines()})
	j.customers = file.New(file.Config{Path: j.c.customers, Parser: customerRows()})
	cfg := engine.Config{
		Log:        j.log(),
		StateDir:   filepath.Join(j.dir, "state"),
		Partitions: int32(j.c.partitions),
		Workers:    j.c.workers,
		Settings:   j.c.settings(),

		Bounded:      true, // ends with the files: then the join is exactly the merge by time
		PurgeSources: true, // the rows are in the files

		CacheBytes:          cacheBytes,
		UncheckpointedBytes: uncheckpointedBytes,

		Sources: []engine.Source{
			{Name: customersTopic, Topic: customersTopic, Source: j.customers},
			{Name: ordersTopic, Topic: ordersTopic, Source: j.orders},
		},
		Sinks:  j.c.sinks(),
		Hooks:  j.hooks,
		Logger: slog.New(slog.NewTextHandler(j.std.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if j.temp {
		cfg.Flush = "os" // nothing is to survive this process
	}
	return cfg
}
