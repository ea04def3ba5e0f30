// Command event-sourcing shows that state is rebuilt from the log alone. Bank
// accounts are events (opened, deposited, withdrawn), their balances a fold of
// those; a withdrawal that would overdraw is rejected, to a topic of its own.
//
// It runs the events to the end on an embedded log in a temporary directory,
// starts again and prints the balances, then deletes the state directory,
// starts once more and prints the balances that it has rebuilt from the log.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "event-sourcing:", err)
		os.Exit(1)
	}
}

// events are what happened, oldest first: an account and its event.
const events = `alice {"what":"opened"}
alice {"what":"deposited","amount":100}
bob {"what":"opened"}
bob {"what":"deposited","amount":20}
alice {"what":"withdrawn","amount":30}
bob {"what":"withdrawn","amount":50}
carol {"what":"deposited","amount":5}
bob {"what":"deposited","amount":40}
bob {"what":"withdrawn","amount":50}
dave {"what":"opened"}
`

// keyed makes a record of each line: the first word is the key.
type keyed struct{ file.Lines }

func (keyed) Line(line []byte, out *connectors.Batch) {
	key, event, _ := bytes.Cut(line, []byte(" "))
	out.Add(connectors.Out{Key: key, Value: event, Timestamp: record.NoTimestamp, Partition: -1})
}

// run writes the events, and prints the rejections and twice the balances.
func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "event-sourcing-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := process(ctx, dir, out); err != nil {
		return err
	}
	if err := printBalances(ctx, dir, out); err != nil {
		return err
	}
	state := stateDir(dir)
	if _, err := os.Stat(state); err != nil {
		return err
	}
	if err := os.RemoveAll(state); err != nil {
		return err
	}
	fmt.Fprintln(out, "the state directory is deleted")
	return printBalances(ctx, dir, out)
}

// stateDir is where the engine keeps checkpoints of the balances.
func stateDir(dir string) string { return filepath.Join(dir, "state") }

// newEngine makes the program on the log in dir; the rest of cfg says how it runs.
func newEngine(dir string, cfg engine.Config) (*engine.Engine, error) {
	topo, err := buildTopology()
	if err != nil {
		return nil, err
	}
	cfg.Log = cmp.Or(os.Getenv("MILLSTREAM_LOG"), "embedded:"+dir) // or kafka://HOST:PORT
	cfg.StateDir = stateDir(dir)
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return engine.New(topo, cfg)
}

// process runs the events to their end and prints the rejections, sorted, as
// partitions have no order among them.
func process(ctx context.Context, dir string, out io.Writer) error {
	var rejected bytes.Buffer
	app, err := newEngine(dir, engine.Config{
		Bounded: true, // ends with its input
		Sources: []engine.Source{{Name: "events", Topic: "events",
			Source: file.New(file.Config{Path: "-", Stdin: strings.NewReader(events), Parser: keyed{}})}},
		Sinks: []engine.Sink{{Name: "console", Topic: "rejections",
			Sink: console.New(console.Config{Writer: &rejected, Format: show})}},
	})
	if err != nil {
		return err
	}
	if err := errors.Join(app.Run(ctx), app.Close()); err != nil {
		return err
	}
	for _, line := range slices.Sorted(strings.Lines(rejected.String())) {
		fmt.Fprint(out, line)
	}
	return nil
}

func show(dst []byte, r *connectors.Record) ([]byte, error) {
	return fmt.Appendf(dst, "rejected: %s %s\n", r.Key, r.Value), nil
}

// printBalances starts the program, without any source, prints the balances
// that it answers with, and stops it.
func printBalances(ctx context.Context, dir string, out io.Writer) error {
	app, err := newEngine(dir, engine.Config{})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for app.Ready() != nil { // until the state is restored
		select {
		case err := <-ended:
			return errors.Join(errors.New("stopped before it was ready"), err, app.Close())
		case <-tick.C:
		}
	}
	var lines []string
	err = engine.All(app, "balances", func(account string, balance int64) bool {
		lines = append(lines, fmt.Sprintf("%-6s %4d\n", account, balance))
		return true
	})
	totals := app.State().Totals
	stop()
	if err := errors.Join(err, <-ended, app.Close()); err != nil {
		return err
	}
	from := "checkpoints"
	if totals.Restored > 0 {
		from = "the log"
	}
	slices.Sort(lines)
	fmt.Fprintf(out, "balances, from %s, %d events read again:\n%s", from, totals.RecordsIn, strings.Join(lines, ""))
	return nil
}
