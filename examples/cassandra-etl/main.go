// Command cassandra-etl keeps tables in Apache Cassandra current from two files:
// orders (JSON lines) and customers (CSV). Rows that are wrong go to the dead
// letters; good orders are enriched with their customer as of the order's time
// (a stream-table join), aggregated to daily sales per product, and upserted.
// Without Cassandra it prints the same rows.
//
// README.md shows it and has the rules. flags.go is the command line, order.go
// and customer.go say what a good row is, topology.go what is computed, job.go
// runs it; results.go, sorted.go and output.go print; tables.go and show.go are
// Cassandra's side; generate.go makes files to try it with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// stdio is where a run prints: data on out, everything else on err.
type stdio struct{ out, err io.Writer }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	// Without this, a reader of stdout that goes away would end the program before
	// it has removed its temporary directory; with it, the write fails.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdout, os.Stderr}))
}

// checked keeps the first error of a writer, so that nobody who prints has to look.
type checked struct {
	io.Writer
	err error
}

func (w *checked) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write the output: %w", err)
	}
	return n, err
}

// run is the program. Exit codes: 0 fine, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, std stdio) int {
	out := &checked{Writer: std.out}
	std.out = out
	c, err := parseFlags(args, std.out)
	if err == nil {
		switch {
		case c.generate != "":
			err = generateFiles(c, std)
		case c.orders == "":
			err = runGenerated(ctx, c, std)
		default:
			err = runJob(ctx, c, std)
		}
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		if err = out.err; err == nil {
			return 0
		}
	}
	fmt.Fprintln(std.err, "cassandra-etl:", strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; "))
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
