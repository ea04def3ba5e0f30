package main

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

// once is a source of some lines.
type once struct{ lines []string }

func (s *once) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	if position != nil {
		s.lines = nil
	}
	return nil
}

func (s *once) Read(_ context.Context, out *connectors.Batch) error {
	for _, l := range s.lines {
		out.Add(connectors.Out{Key: []byte(l), Value: []byte(l), Timestamp: 1_700_000_000_000, Partition: -1})
	}
	s.lines = []string{}
	return io.EOF
}

func (s *once) Position() []byte { return []byte{1} }
func (s *once) Close() error     { return nil }

// picky is a sink that refuses what it is told to.
type picky struct {
	refuse string
	got    []string
}

func (*picky) Open(context.Context, connectors.SourceContext) error { return nil }
func (*picky) Close() error                                         { return nil }

func (s *picky) Write(_ context.Context, records []connectors.Record) error {
	for i, r := range records {
		if s.refuse != "" && strings.Contains(string(r.Value), s.refuse) {
			return &connectors.RecordError{Index: i, Err: context.DeadlineExceeded}
		}
		s.got = append(s.got, string(r.Value))
	}
	return nil
}

// runShop runs a program with a sink on a directory to the end of its input.
func runShop(t *testing.T, dir string, sink *picky) {
	t.Helper()
	b := streams.NewBuilder("shop")
	b.From[string, string]("in").To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(topo, engine.Config{
		Log: "embedded:" + dir, Partitions: 1, Workers: 1, Bounded: true, CommitInterval: 2 * time.Millisecond,
		Sources: []engine.Source{{Name: "lines", Topic: "in", Source: &once{lines: []string{"tea", "bad one", "coffee", "bad two"}}}},
		Sinks:   []engine.Sink{{Name: "till", Topic: "out", Sink: sink}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLettersAreListedPutBackAndArriveOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	refusing := &picky{refuse: "bad"}
	runShop(t, dir, refusing)
	if want := []string{"tea", "coffee"}; !slices.Equal(refusing.got, want) {
		t.Fatalf("expected the sink to take %q, found %q", want, refusing.got)
	}
	code, out, stderr := millstream(t, "dead-letters", "list", "--data-dir", dir)
	if code != 0 || !strings.Contains(stderr, "2 dead letters") || !strings.Contains(out, "out-0@") || !strings.Contains(out, "bad one") {
		t.Fatalf("list: exit %d: %s%s", code, out, stderr)
	}
	code, out, stderr = millstream(t, "dead-letters", "list", "--data-dir", dir, "-o", "json", "--stage", "till", "--limit", "1")
	var l engine.DeadLetter
	if err := json.Unmarshal([]byte(out), &l); code != 0 || err != nil || l.Topic != "out" || string(l.Value) != "bad one" {
		t.Fatalf("list -o json --limit 1: exit %d, %v: %s%s", code, err, out, stderr)
	}
	code, out, stderr = millstream(t, "dead-letters", "retry", "--data-dir", dir, "0:0")
	if code != 0 || out != "1 put back, 0 left\n" {
		t.Fatalf("retry 0:0: exit %d: %s%s", code, out, stderr)
	}
	code, out, stderr = millstream(t, "dead-letters", "retry", "--data-dir", dir, "-o", "json")
	var report engine.RetryReport
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || report.Retried != 1 {
		t.Fatalf("retry of the rest: exit %d, %v: %s%s", code, err, out, stderr)
	}
	taking := &picky{}
	runShop(t, dir, taking)
	if want := []string{"bad one", "bad two"}; !slices.Equal(taking.got, want) {
		t.Fatalf("expected the sink to get %q once each, found %q", want, taking.got)
	}
	if _, _, stderr := millstream(t, "dead-letters", "list", "--data-dir", dir); !strings.Contains(stderr, "0 dead letters") {
		t.Errorf("expected none left, found %s", stderr)
	}
	if _, _, stderr := millstream(t, "dead-letters", "list", "--data-dir", dir, "--all"); !strings.Contains(stderr, "2 dead letters") {
		t.Errorf("expected both with --all, found %s", stderr)
	}
}

func TestDeadLettersRefuseWrongUsage(t *testing.T) {
	dir := brokerDir(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no such directory":   {[]string{"list", "--data-dir", dir + "-none"}, 1, "no such file"},
		"no dead letters":     {[]string{"list", "--data-dir", dir}, 1, "holds no dead letters"},
		"another application": {[]string{"list", "--data-dir", dir, "--app", "other"}, 1, "other.dead-letters"},
		"not a letter":        {[]string{"retry", "--data-dir", dir, "17"}, 2, "PARTITION:OFFSET"},
		"not a verb":          {[]string{"lst"}, 2, "did you mean \"list\""},
	} {
		code, _, stderr := millstream(t, append([]string{"dead-letters"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: expected exit %d and %q, found %d: %s", name, c.code, c.want, code, stderr)
		}
	}
}
