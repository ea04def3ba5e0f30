package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

// printAll reads a source to its end, as the engine does.
func printAll(src *file.Source) {
	ctx := context.Background()
	if err := src.Open(ctx, connectors.SourceContext{}, nil); err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	for {
		var batch connectors.Batch
		err := src.Read(ctx, &batch)
		for _, r := range batch.Records() {
			if r.DeadLetter != "" {
				fmt.Printf("line %s: %s: %s\n", r.Headers[1].Value, r.DeadLetter, r.Value)
				continue
			}
			fmt.Printf("%s = %s\n", r.Key, r.Value)
		}
		if err == io.EOF {
			return
		}
	}
}

func ExampleNewCSV() {
	parser := file.NewCSV(file.CSVConfig{
		Columns: []string{"id", "name"},
		Row: func(f []string, out *connectors.Batch) error {
			if f[0] == "" {
				return errors.New("id is missing")
			}
			out.Add(connectors.Out{Key: []byte(f[0]), Value: []byte(f[1]), Timestamp: record.NoTimestamp, Partition: -1})
			return nil
		},
	})
	text := "name,id\nAnna,c1\n\"Meyer, Bob\",c2\nCarl,c3,DE\nDora,\n"
	printAll(file.New(file.Config{Path: "-", Stdin: strings.NewReader(text), Parser: parser}))
	// Output:
	// c1 = Anna
	// c2 = Meyer, Bob
	// line 4: 3 fields, the header has 2: Carl,c3,DE
	// line 5: id is missing: Dora,
}

func ExampleJSONLines() {
	type order struct {
		ID    string `json:"id"`
		Cents int64  `json:"cents"`
	}
	parser := file.JSONLines(func(o order, line []byte, out *connectors.Batch) error {
		if o.Cents < 0 {
			return fmt.Errorf("cents %d, expected at least 0", o.Cents)
		}
		out.Add(connectors.Out{Key: []byte(o.ID), Value: line, Timestamp: record.NoTimestamp, Partition: -1})
		return nil
	})
	text := `{"id":"o1","cents":250}` + "\n" + `{"id":"o2","cents":-1}` + "\n"
	printAll(file.New(file.Config{Path: "-", Stdin: strings.NewReader(text), Parser: parser}))
	// Output:
	// o1 = {"id":"o1","cents":250}
	// line 2: cents -1, expected at least 0: {"id":"o2","cents":-1}
}

// A program from files to files.
func Example() {
	dir, err := os.MkdirTemp("", "files-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in.log"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		panic(err)
	}

	b := streams.NewBuilder("shout")
	b.From[string, string]("lines").
		MapValues(func(_, line string) string { return strings.ToUpper(line) }).
		To("shouted")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	app, err := engine.New(topo, engine.Config{
		Log: "embedded:" + filepath.Join(dir, "data"), Partitions: 1, Bounded: true,
		Sources: []engine.Source{{Name: "in", Topic: "lines", Source: file.New(file.Config{Path: in})}},
		Sinks:   []engine.Sink{{Name: "out", Topic: "shouted", Sink: file.NewSink(file.SinkConfig{Dir: out})}},
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	if err := errors.Join(app.Run(context.Background()), app.Close()); err != nil {
		panic(err)
	}
	files, _ := filepath.Glob(filepath.Join(out, "*.log"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Printf("%s:\n%s", filepath.Base(f), text)
	}
	// Output:
	// shouted-0-00000000000000000000.log:
	// ONE
	// TWO
	// THREE
}
