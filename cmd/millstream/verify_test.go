package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

// words is a source of n lines with event time going on.
type words struct{ next, n int }

func (w *words) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	if len(position) == 8 {
		w.next = int(binary.BigEndian.Uint64(position))
	}
	return nil
}

func (w *words) Read(_ context.Context, out *connectors.Batch) error {
	if w.next == w.n {
		return io.EOF
	}
	out.Add(connectors.Out{Value: fmt.Appendf(nil, "host-%d line %d", w.next%5, w.next), Timestamp: 1_700_000_000_000 + int64(w.next)*200, Partition: -1})
	w.next++
	return nil
}

func (w *words) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(w.next)) }
func (w *words) Close() error     { return nil }

// engineDir is a data directory that a program with a repartition and a window
// store left, cleanly, with its state.
func engineDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b := streams.NewBuilder("app")
	b.From[string, string]("lines").
		GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host }).
		Windowed(streams.Tumbling(5*time.Second)).
		Count(streams.Store("counts"), streams.EmitOnClose()).
		ToStream(streams.Keyed).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(topo, engine.Config{
		Log: "embedded:" + dir, Partitions: 2, Workers: 2, Bounded: true, CommitInterval: 5 * time.Millisecond, CheckpointInterval: 10 * time.Millisecond,
		Sources: []engine.Source{{Name: "lines", Topic: "lines", Source: &words{n: 300}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// brokerDir is a data directory with one topic, closed cleanly.
func brokerDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b := openBroker(t, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openBroker(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir, TickInterval: -1, MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateTopic(broker.TopicSpec{Name: "a", Configs: map[string]string{"segment.bytes": "1024", "retention.ms": "-1"}}); err != nil {
		t.Fatal(err)
	}
	p, err := b.Partition(record.TopicPartition{Topic: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		bld := record.NewBuilder()
		bld.Append(&record.View{Timestamp: int64(i), Value: make([]byte, 100)})
		data, err := bld.Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Produce(data, broker.AcksAll); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// verifyJSON runs the command.
func verifyJSON(t *testing.T, dir string) (code int, v verified) {
	t.Helper()
	code, out, stderr := millstream(t, "verify", "--data-dir", dir, "-o", "json")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("exit %d, %v: stdout %q, stderr %q", code, err, out, stderr)
	}
	return code, v
}

func TestVerifyReportsFlipsInWhatAnEngineLeft(t *testing.T) {
	dir := engineDir(t)
	code, v := verifyJSON(t, dir)
	if code != 0 || len(v.Findings) > 0 || !v.Clean || v.Records < 300 {
		t.Fatalf("a good directory: exit %d, %+v", code, v)
	}
	for _, part := range []string{"app-*-repartition-0", "app-counts-changelog-0", "__transaction_state-0", "state/*.sst"} {
		if found, err := filepath.Glob(filepath.Join(dir, part)); len(found) == 0 || err != nil {
			t.Fatalf("the program left no %s", part)
		}
	}
	dice := rand.New(rand.NewPCG(3, 3))
	files, total := 0, 0
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(unflipped, d.Name()) {
			return err
		}
		n := flipSome(t, dir, file, dice)
		files, total = files+1, total+n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d flips in %d files", total, files)
}

// unflipped are locks and the reserve, whose content is harmless, and epochs, of which that
// depends on the partition's past (docs/format/segment.md; log/segment flips them all).
var unflipped = []string{"LOCK", "millstream.lock", "millstream.reserve", "leader-epoch-checkpoint"}

// flipSome flips one byte in each of a file's parts, and has the whole directory verified.
func flipSome(t *testing.T, dir, file string, dice *rand.Rand) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return 0
	}
	parts := min(2, len(b))
	for i := range parts {
		flipped := append([]byte{}, b...)
		at := len(b)*i/parts + dice.IntN(len(b)/parts)
		flipped[at] ^= 1 << dice.IntN(8)
		writeFile(t, file, flipped)
		if code, v := verifyJSON(t, dir); code != 1 || !names(v.Findings, file) {
			t.Errorf("%s: byte %d flipped by %#x: exit %d, %+v", file, at, b[at]^flipped[at], code, v.Findings)
		}
	}
	writeFile(t, file, b)
	return parts
}

// names says that a finding is about the file, or, for the bytes of a batch
// that its checksum does not cover, about one of its directory.
func names(findings []verifyFinding, file string) bool {
	for _, f := range findings {
		if f.File == file || strings.HasSuffix(file, ".log") && filepath.Dir(f.File) == filepath.Dir(file) {
			return true
		}
	}
	return false
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyPrintsATableForPeople(t *testing.T) {
	dir := brokerDir(t)
	code, out, stderr := millstream(t, "verify", "--data-dir", dir)
	if code != 0 || stderr != "" || !regexp.MustCompile(`^\d+ files, 20 batches, 20 records: no errors\n$`).MatchString(out) {
		t.Fatalf("a good directory: exit %d, stdout %q, stderr %q", code, out, stderr)
	}
	writeFile(t, filepath.Join(dir, "notes.txt"), nil)
	code, out, stderr = millstream(t, "verify", "--data-dir", dir)
	want := regexp.MustCompile(`^FILE +POSITION +OFFSET +WHAT\n\S+/notes.txt +- +- +not a file of a data directory.*\n\d+ files, 20 batches, 20 records: 1 finding\n$`)
	if code != 1 || stderr != "" || !want.MatchString(out) {
		t.Errorf("a foreign file: exit %d, stdout %q, stderr %q", code, out, stderr)
	}
}

// Each is one finding or one line on stderr, with the exit code.
func TestVerifyNamesTheDamage(t *testing.T) {
	first := "a-0/00000000000000000000"
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		file  string // of a finding
		text  string // on stderr, else
	}{
		{name: "truncated segment", file: first + ".log", spoil: func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, first+".log"), 200); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "missing index", file: first + ".index", spoil: func(t *testing.T, dir string) { remove(t, dir, first+".index") }},
		{name: "missing partition", file: "a-0", spoil: func(t *testing.T, dir string) { remove(t, dir, "a-0") }},
		{name: "foreign file", file: "a-0/core", spoil: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "a-0/core"), nil) }},
		{name: "state is a file", file: "state", spoil: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "state"), nil) }},
		{name: "newer version", text: "format version 2, but this program knows up to 1", spoil: func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "millstream.properties"), []byte("version=2\n"))
		}},
		{name: "missing directory", text: "no such file or directory", spoil: func(t *testing.T, dir string) { remove(t, dir, ".") }},
		{name: "not a data directory", text: "is not a data directory", spoil: func(t *testing.T, dir string) {
			remove(t, dir, "millstream.properties")
			remove(t, dir, "millstream.metadata")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := brokerDir(t)
			c.spoil(t, dir)
			if c.text != "" {
				code, out, stderr := millstream(t, "verify", "--data-dir", dir)
				if code != 1 || out != "" || !strings.Contains(stderr, c.text) || !strings.Contains(stderr, dir) || strings.Count(stderr, "\n") != 1 {
					t.Errorf("exit %d, stdout %q, stderr %q; want exit 1 and one line with %q", code, out, stderr, c.text)
				}
				return
			}
			if code, v := verifyJSON(t, dir); code != 1 || !names(v.Findings, filepath.Join(dir, c.file)) {
				t.Errorf("exit %d, %+v; want a finding about %s", code, v.Findings, c.file)
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyBesideAnotherProcess runs this test binary as the one that verifies.
func TestVerifyBesideAnotherProcess(t *testing.T) {
	if dir := os.Getenv("VERIFY_TEST_DIR"); dir != "" {
		os.Exit(run(t.Context(), strings.Fields("verify --data-dir "+dir+os.Getenv("VERIFY_TEST_FLAGS")), os.Stdout, os.Stderr))
	}
	dir := filepath.Join(t.TempDir(), "data")
	b := openBroker(t, dir)
	defer b.Close()
	if err := b.RunRetention(); err != nil { // writes the recovery points
		t.Fatal(err)
	}
	child := func(flags string) (int, string) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestVerifyBesideAnotherProcess$")
		cmd.Env = append(os.Environ(), "VERIFY_TEST_DIR="+dir, "VERIFY_TEST_FLAGS="+flags)
		out, err := cmd.CombinedOutput()
		if _, ok := err.(*exec.ExitError); err != nil && !ok {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	if code, out := child(""); code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, fmt.Sprintf("is locked by pid %d", os.Getpid())) {
		t.Errorf("beside the owner: exit %d, %q", code, out)
	}
	if code, out := child(" --live"); code != 0 || !strings.Contains(out, "20 batches, 20 records: no errors") {
		t.Errorf("live: exit %d, %q", code, out)
	}
}

// A process that writes, rolls, removes and deletes meanwhile is no damage.
func TestVerifyLiveWhileTheOwnerWorks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := openBroker(t, dir)
	defer b.Close()
	done := make(chan error, 1)
	var seen atomic.Bool // only what is known to be on disk is read, which takes a while
	go func() {
		for i := 0; i < 200 || !seen.Load(); i++ {
			if err := churn(b, i); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	runs, records := 0, int64(0)
	for {
		code, out, stderr := millstream(t, "verify", "--data-dir", dir, "--live", "-o", "json")
		var v verified
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 {
			t.Errorf("exit %d, %v, %s%s", code, err, out, stderr)
		}
		runs, records = runs+1, records+v.Records
		seen.Store(records > 0 || t.Failed())
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%d runs saw %d records; the owner: %v", runs, records, err)
			}
			t.Logf("%d runs, %d records", runs, records)
			return
		default:
		}
	}
}

// churn writes a batch, and now and then makes, shortens or deletes something.
func churn(b *broker.Broker, i int) error {
	p, err := b.Partition(record.TopicPartition{Topic: "a"})
	if err != nil {
		return err
	}
	bld := record.NewBuilder()
	bld.Append(&record.View{Timestamp: int64(i), Value: make([]byte, 100)})
	data, err := bld.Finish(record.Zstd)
	if err != nil {
		return err
	}
	res, err := p.Produce(data, broker.AcksLeader)
	if err != nil {
		return err
	}
	switch i % 40 {
	case 10:
		return b.RunRetention()
	case 20:
		_, err = p.DeleteBefore(res.BaseOffset - 5)
	case 30:
		if _, err = b.CreateTopic(broker.TopicSpec{Name: "short-lived", Partitions: 2}); err == nil {
			err = b.DeleteTopic("short-lived")
		}
	}
	return err
}
