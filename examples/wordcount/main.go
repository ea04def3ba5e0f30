// Command wordcount counts how often each word is in a text: the words are
// split, sent by their hash to the partition where each is counted, and counted
// exactly once in a store.
//
// It reads its built-in text, or with the argument - its standard input, runs
// over an embedded log in a temporary directory to the end, and prints the
// store, the words in order.
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
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var in io.Reader = strings.NewReader(text)
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "-":
		in = os.Stdin
	case len(args) > 0:
		fmt.Fprintln(os.Stderr, "usage: wordcount [-]")
		os.Exit(2)
	}
	if err := run(ctx, in, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

// text is what is counted if nothing else is given.
const text = `The mill turns while the stream runs.
The stream runs, and the mill turns;
no stream, no mill.
`

// buildTopology counts the words of the topic "lines" in the store "counts".
func buildTopology() (*topology.Topology, error) {
	b := streams.NewBuilder("wordcount")
	b.From[string, string]("lines").
		FlatMapValues(words).
		GroupBy(func(_, word string) string { return word }).
		Count(streams.Store("counts"))
	return b.Build()
}

// words emits the words of a line in small letters, without what stands between
// them.
func words(_, line string, emit func(string)) {
	between := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' }
	for word := range strings.FieldsFuncSeq(strings.ToLower(line), between) {
		emit(word)
	}
}

const partitions = 4

// run counts the words of the lines and prints the counts.
func run(ctx context.Context, lines io.Reader, out io.Writer) (err error) {
	topo, err := buildTopology()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wordcount-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	app, err := engine.New(topo, engine.Config{
		Log:        cmp.Or(os.Getenv("MILLSTREAM_LOG"), "embedded:"+dir), // or kafka://HOST:PORT
		StateDir:   filepath.Join(dir, "state"),
		Partitions: partitions,
		Bounded:    true, // ends with its input
		Sources: []engine.Source{{Name: "lines", Topic: "lines",
			Source: file.New(file.Config{Path: "-", Stdin: lines, Parser: file.Lines{}})}},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	if err := app.Run(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // stopped before the end: these are not the counts
	}
	return show(app, out)
}

// show prints what is in the store, the words in order.
func show(stores engine.Stores, out io.Writer) error {
	type count struct {
		word string
		n    int64
	}
	var counts []count
	err := engine.All(stores, "counts", func(word string, n int64) bool {
		counts = append(counts, count{word, n})
		return true
	})
	if err != nil {
		return err
	}
	// The store has a part for each partition, so its words come in no order.
	slices.SortFunc(counts, func(a, b count) int { return cmp.Compare(a.word, b.word) })
	for _, c := range counts {
		if _, err := fmt.Fprintf(out, "%-8s %d\n", c.word, c.n); err != nil {
			return err
		}
	}
	return nil
}
