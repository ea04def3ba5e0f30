package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// printed is what the program prints of the lines.
func printed(t *testing.T, lines string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), strings.NewReader(lines), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheREADMEShowsWhatIsPrinted(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(readme), "```text\n")
	want, _, ok := strings.Cut(want, "```")
	if !ok {
		t.Fatal("the README has no output")
	}
	if got := printed(t, demo()); got != want {
		t.Errorf("printed\n%s\nthe README has\n%s", got, want)
	}
}

func TestWhatIsNoReadingChangesNothing(t *testing.T) {
	bad := "not JSON\n" +
		`{"device":"","at":"2026-03-02T12:01:00Z","celsius":900}` + "\n" +
		`{"device":"oven","celsius":900}` + "\n"
	if got, want := printed(t, bad+demo()+bad), printed(t, demo()); got != want {
		t.Errorf("printed\n%s\nwithout the bad lines\n%s", got, want)
	}
}
