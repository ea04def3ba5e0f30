package streams_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
)

var rewrite = flag.Bool("rewrite", false, "write what the transcripts and goldens in testdata give now")

// A transcript is a program's option line, then commands; what each command sends
// stands indented below it.
//
//	program tumbling 10s grace 5s emit close    (hopping SIZE ADVANCE, retention D, keep, upstream)
//	KEY TIME [carried STREAMTIME]               one record
//	advance TIME | commit | crash | restart     (restart: commit, then a new unit)
//	state                                       what is committed and dirty windows hold, after a commit
func TestWindowTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/window/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts in testdata/window")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(t, text)
			if *rewrite {
				if err := os.WriteFile(f, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(text, got) && !*rewrite {
				t.Errorf("the transcript is another now (-rewrite accepts it):\n%s", got)
			}
		})
	}
}

func transcript(t *testing.T, text []byte) []byte {
	var (
		out  bytes.Buffer
		d    *driver
		scan = bufio.NewScanner(bytes.NewReader(text))
	)
	for scan.Scan() {
		line := scan.Text()
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		if program, ok := strings.CutPrefix(line, "program "); ok {
			d = newDriver(windowProgram(t, program))
			continue
		}
		command(t, d, strings.Fields(line))
		for _, l := range d.late {
			fmt.Fprintln(&out, "  "+l)
		}
		for _, l := range lines[string, int64](d, "out") {
			fmt.Fprintln(&out, "  "+l)
		}
		d.late, d.out = nil, nil
	}
	return out.Bytes()
}

// windowProgram counts the records of "in" per key and window; results have the
// key "key@start-of-window".
func windowProgram(t *testing.T, program string) *streams.Builder {
	words := strings.Fields(program)
	dur := func() time.Duration {
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatalf("%q: %v", program, err)
		}
		words = words[1:]
		return d
	}
	var w streams.Windows
	opts := []streams.Option{streams.Store("counts")}
	again := false
	for ; len(words) > 0; words = words[1:] {
		switch words[0] {
		case "tumbling":
			w = streams.Tumbling(dur())
		case "hopping":
			size := dur()
			w = streams.Hopping(size, dur())
		case "grace":
			w = w.Grace(dur())
		case "retention":
			w = w.Retention(dur())
		case "keep":
			opts = append(opts, streams.KeepLate())
		case "close":
			opts = append(opts, streams.EmitOnClose())
		case "update":
			opts = append(opts, streams.EmitEveryUpdate())
		case "commit":
			opts = append(opts, streams.EmitOnCommit())
		case "again":
			again = true
		default:
			t.Fatalf("%q: unknown word %q", program, words[0])
		}
	}
	b := streams.NewBuilder("transcript")
	s := b.From[string, string]("in").GroupByKey().Windowed(w).Count(opts...).
		ToStream(func(k string, w streams.Window) string { return k + "@" + ms(w.Start) })
	if again { // the windows of all keys once more, counted per window of 10 times the size
		s = s.GroupBy(func(string, int64) string { return "windows" }).
			Windowed(streams.Tumbling(10*time.Duration(w.SizeMS())*time.Millisecond)).
			Count(streams.Store("again"), streams.EmitOnClose()).
			ToStream(func(k string, w streams.Window) string { return k + "@" + ms(w.Start) })
	}
	s.To("out")
	return b
}

func command(t *testing.T, d *driver, words []string) {
	at := func(i int) int64 {
		n, err := time.ParseDuration(words[i])
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		return n.Milliseconds()
	}
	switch words[0] {
	case "commit":
		d.commit()
	case "restart":
		d.restart()
	case "crash":
		for _, s := range d.subs {
			s.start()
		}
	case "advance":
		d.advance(time.Duration(at(1)) * time.Millisecond)
	default:
		r := processor.Record{Key: []byte(words[0]), Value: []byte("x"), Timestamp: at(1), StreamTime: processor.NoTime}
		if len(words) == 4 { // as behind a repartition topic: time comes with the record
			r.StreamTime = at(3)
			s := d.subs[0]
			r.Topic = "in"
			if err := s.unit.Process(0, &r); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := d.feed("in", false, r); err != nil {
			t.Fatal(err)
		}
	}
}
