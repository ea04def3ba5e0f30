// Command orders shows a custom partitioner: the events "neworder42" and
// "update42" belong to order 42 and land in one partition, in order, though
// their keys differ, so that whoever reads the partition sees an order before
// its updates.
//
// It writes events to the topic "events" of an embedded log in a temporary
// directory, runs the topology over them to the end, and prints what stands in
// the topic "orders", partition by partition.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.NewReader(events), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

// events are what came in, oldest first: a key and what happened.
const events = `neworder42 2 x coffee
neworder7 1 x tea
update42 3 x coffee
neworder1001 5 x cocoa
update7 cancelled
update42 paid
update1001 paid
update42 shipped
`

// buildTopology reads events and writes them to the topic "orders", every order
// in a partition of its own choice.
func buildTopology() (*topology.Topology, error) {
	b := streams.NewBuilder("orders")
	b.From[string, string]("events").
		To("orders", streams.Partitioner(byOrder))
	return b.Build()
}

// byOrder chooses the partition by the order that the key names, whatever
// happened to it.
func byOrder(key, _ string, partitions int32) int32 {
	return int32(orderNumber(key) % uint64(partitions))
}

// orderNumber is the number at the end of the key, 0 if there is none.
func orderNumber(key string) (n uint64) {
	for i := strings.LastIndexFunc(key, func(r rune) bool { return r < '0' || r > '9' }) + 1; i < len(key); i++ {
		n = n*10 + uint64(key[i]-'0')
	}
	return n
}

// keyed makes a record of each line: the first word is the key. The events
// topic has one partition, which keeps the order in which they came.
type keyed struct{ file.Lines }

func (keyed) Line(line []byte, out *connectors.Batch) {
	key, what, _ := strings.Cut(string(line), " ")
	out.Add(connectors.Out{Key: []byte(key), Value: []byte(what), Timestamp: record.NoTimestamp, Partition: -1})
}

const partitions = 4

// run runs the topology over the lines and prints the topic "orders".
func run(ctx context.Context, lines io.Reader, out io.Writer) (err error) {
	topo, err := buildTopology()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "orders-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	app, err := engine.New(topo, engine.Config{
		Log:        cmp.Or(os.Getenv("MILLSTREAM_LOG"), "embedded:"+dir), // or kafka://HOST:PORT
		StateDir:   filepath.Join(dir, "state"),
		Partitions: partitions,
		Bounded:    true, // ends with its input
		Sources: []engine.Source{{Name: "events", Topic: "events", Partitions: 1,
			Source: file.New(file.Config{Path: "-", Stdin: lines, Parser: keyed{}})}},
		Sinks: []engine.Sink{{Name: "console", Topic: "orders",
			Sink: console.New(console.Config{Writer: out, Format: show})}},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	return errors.Join(app.Run(ctx), app.Close())
}

// show prints where a record stands and what it says.
func show(dst []byte, r *connectors.Record) ([]byte, error) {
	return fmt.Appendf(dst, "partition %d  %-14s %s\n", r.Partition, r.Key, r.Value), nil
}
