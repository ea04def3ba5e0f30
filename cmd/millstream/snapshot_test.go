package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

// paused is words that stops half way until resume is closed.
type paused struct {
	words
	half, resume chan struct{}
}

func (p *paused) Read(ctx context.Context, out *connectors.Batch) error {
	if p.next == p.n/2 && p.half != nil {
		close(p.half)
		p.half = nil
	}
	if p.next >= p.n/2 {
		select {
		case <-p.resume:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.words.Read(ctx, out)
}

const snapshotWords = 2000

// countsIn runs a program that counts words per host, to the source's end.
func countsIn(t *testing.T, dir string, src connectors.Source) map[string]int64 {
	t.Helper()
	b := streams.NewBuilder("counting")
	b.From[string, string]("lines").
		GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host }).
		Count(streams.Store("counts")).
		ToStream().To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(topo, engine.Config{
		Log: "embedded:" + dir, Partitions: 2, Workers: 2, Bounded: true, CommitInterval: 2 * time.Millisecond, CheckpointInterval: 10 * time.Millisecond,
		Sources: []engine.Source{{Name: "lines", Topic: "lines", Source: src}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for host := range 5 {
		key := fmt.Sprintf("host-%d", host)
		n, _, err := engine.Get[string, int64](e, "counts", key)
		if err != nil {
			t.Fatal(err)
		}
		counts[key] = n
	}
	return counts
}

func checkCounts(t *testing.T, what string, counts map[string]int64) {
	t.Helper()
	for host, n := range counts {
		if n != snapshotWords/5 {
			t.Errorf("%s: expected %s to be counted %d times, found %d", what, host, snapshotWords/5, n)
		}
	}
}

func TestASnapshotOfARunningProgramGoesOnWhereItWasTaken(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	src := &paused{words: words{n: snapshotWords}, half: make(chan struct{}), resume: make(chan struct{})}
	half := src.half
	dests := make(chan string, 2)
	go func() {
		defer close(dests)
		defer close(src.resume)
		<-half
		for i := range 2 { // the first while half is still being counted
			dest := filepath.Join(root, fmt.Sprint("snapshot", i))
			code, out, _ := millstream(t, "snapshot", "--data-dir", dir, dest, "-o", "json")
			var made snapshotMade
			if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil || !made.Live || made.State || made.Partitions == 0 {
				t.Errorf("expected a live snapshot, found exit %d, %v: %s", code, err, out)
				return
			}
			dests <- dest
		}
	}()
	checkCounts(t, "the program itself", countsIn(t, dir, src))
	for dest := range dests {
		restored := dest + "-restored"
		if err := os.CopyFS(restored, os.DirFS(dest)); err != nil {
			t.Fatal(err)
		}
		checkCounts(t, filepath.Base(dest), countsIn(t, restored, &words{n: snapshotWords}))
		if code, out, _ := millstream(t, "verify", "--data-dir", restored); code != 0 {
			t.Errorf("verify of the restored directory: exit %d: %s", code, out)
		}
	}
}

func TestASnapshotOfAStoppedProgramHasItsState(t *testing.T) {
	dir := engineDir(t)
	dest := filepath.Join(t.TempDir(), "copy")
	code, out, _ := millstream(t, "snapshot", "--data-dir", dir, dest)
	if code != 0 || !strings.Contains(out, "with the state") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if code, out, _ := millstream(t, "verify", "--data-dir", dest); code != 0 {
		t.Errorf("verify of the copy: exit %d: %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dest, stateDir, "MANIFEST")); err != nil {
		t.Error(err)
	}
	if code, _, stderr := millstream(t, "snapshot", "--data-dir", dir, dest); code != 1 || !strings.Contains(stderr, "is not empty") {
		t.Errorf("a second time: expected exit 1 and the reason, found %d: %s", code, stderr)
	}
	if code, _, stderr := millstream(t, "snapshot", "--data-dir", dir); code != 2 {
		t.Errorf("no destination: expected exit 2, found %d: %s", code, stderr)
	}
}
