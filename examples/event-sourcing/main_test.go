package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestTheREADMESaysWhatIsPrinted holds the README's expected output against the program.
func TestTheREADMESaysWhatIsPrinted(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(readme), "Expected output:\n\n```text\n")
	want, _, ok := strings.Cut(want, "```")
	if !ok {
		t.Fatal("the README has no expected output")
	}
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("printed:\n%s\nthe README says:\n%s", &out, want)
	}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		balance int64
		open    bool
		event   Event
		after   int64
		reason  string
	}{
		{0, false, Event{"opened", 0}, 0, ""},
		{7, true, Event{"opened", 0}, 7, "already open"},
		{0, false, Event{"deposited", 5}, 0, "no such account"},
		{7, true, Event{"deposited", 5}, 12, ""},
		{7, true, Event{"deposited", -5}, 7, "not an amount"},
		{7, true, Event{"withdrawn", 7}, 0, ""},
		{7, true, Event{"withdrawn", 8}, 7, "overdrawn"},
		{7, true, Event{"closed", 1}, 7, "unknown event"},
	} {
		if after, reason := apply(c.balance, c.open, c.event); after != c.after || reason != c.reason {
			t.Errorf("apply(%d, %t, %v) = %d, %q, want %d, %q", c.balance, c.open, c.event, after, reason, c.after, c.reason)
		}
	}
}
