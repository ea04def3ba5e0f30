package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// TestTheDemoPrintsWhatTheREADMESays it prints.
func TestTheDemoPrintsWhatTheREADMESays(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "Expected output:\n\n```text\n")
	want, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("README.md has no expected output")
	}
	var out bytes.Buffer
	if err := demo(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", &out, want)
	}
}

// TestAServiceEndsWhenItIsStopped, without an error, having printed what came.
func TestAServiceEndsWhenItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var info bytes.Buffer
	var out lineWriter = func(line string) {
		if !strings.HasPrefix(line, "switch-1   2 lines:") {
			return
		}
		stop() // all that was sent is counted
	}
	c := config{dir: t.TempDir(), files: "testdata-none-*.log", tcp: "127.0.0.1:0"}
	sent := make(chan error, 1)
	tell := lineWriter(func(line string) {
		info.WriteString(line)
		addr, _ := strings.CutPrefix(strings.TrimSpace(line), "listening on tcp ")
		sent <- send(addr, demoSent)
	})
	if err := serve(ctx, c, out, tell); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatalf("%v; it said %q", err, &info)
	}
}

// lineWriter gets each line that is written.
type lineWriter func(line string)

func (w lineWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		w(line)
	}
	return len(p), nil
}
