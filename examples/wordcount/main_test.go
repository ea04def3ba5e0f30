package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheProgramPrintsWhatTheREADMESays runs the whole program.
func TestTheProgramPrintsWhatTheREADMESays(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(readme), "```text\n")
	want, _, ok := strings.Cut(want, "```")
	if !ok {
		t.Fatal("the README has no output")
	}
	var out bytes.Buffer
	if err := run(t.Context(), strings.NewReader(text), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("printed\n%s\nand the README says\n%s", out.String(), want)
	}
}

// TestALongTextIsCountedToTheEnd counts words that are known by how they were made.
func TestALongTextIsCountedToTheEnd(t *testing.T) {
	var in, want, out bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&in, "W%d, both w%d\n", i%50, i%7)
	}
	counts := map[string]int{"both": 5000}
	for i := range 5000 {
		counts[fmt.Sprint("w", i%50)]++
		counts[fmt.Sprint("w", i%7)]++
	}
	for _, word := range sortedKeys(counts) {
		fmt.Fprintf(&want, "%-8s %d\n", word, counts[word])
	}
	if err := run(t.Context(), &in, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Errorf("printed\n%s\nexpected\n%s", out.String(), want.String())
	}
}

func TestNoInputIsNoOutput(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), strings.NewReader(""), &out); err != nil || out.Len() > 0 {
		t.Errorf("printed %q, error %v", out.String(), err)
	}
}

// TestARunThatIsStoppedPrintsNothing: counts of a part of the input are wrong.
func TestARunThatIsStoppedPrintsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := run(ctx, strings.NewReader(text), &out); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("printed %q, error %v", out.String(), err)
	}
}
