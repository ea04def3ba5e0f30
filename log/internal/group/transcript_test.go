package group

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what is found into the transcripts")

// TestTranscripts runs testdata/*.txt: a line that begins with "> " is an
// event, what follows is what comes out of it. After each event the state is
// compared with what the log says.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { transcript(t, name) })
	}
}

func transcript(t *testing.T, name string) {
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript()
	var got strings.Builder
	for _, line := range strings.Split(strings.TrimRight(string(want), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&got, line)
			if out := s.run(strings.Fields(line[2:])); out != "" {
				fmt.Fprintln(&got, strings.TrimRight(out, "\n"))
			}
		case strings.HasPrefix(line, "#") || line == "":
			fmt.Fprintln(&got, line)
		}
	}
	if s.problem != "" {
		t.Errorf("%s: %s", name, s.problem)
	}
	if *rewrite {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("%s (go test -rewrite accepts it):\nexpected:\n%s\nfound:\n%s", name, want, got.String())
	}
}
