package engine_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

// Every example prints the same wherever its log is: embedded, on `millstream
// serve`, on three brokers of Apache Kafka. They are found, not listed, so that a
// new one cannot be forgotten.

// noOutputToCompare are the examples that cannot be compared, and why.
var noOutputToCompare = map[string]string{
	"chat":          "it has no topology: it shows the embedded log's Producer and Consumer",
	"syslog-alerts": "its demo sends by the wall clock; crash_test.go there has the fold",
}

func TestIntegrationExamplesPrintTheSameOnEveryLog(t *testing.T) {
	peers.NeedIntegration(t)
	examplesOnEveryLog(t, []string{"iot", "orders", "wordcount"})
}

func TestTortureExamplesPrintTheSameOnEveryLog(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	programs, err := filepath.Glob("../../examples/*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatal("found no example", err)
	}
	var names []string
	for _, program := range programs {
		name := filepath.Base(filepath.Dir(program))
		if why := noOutputToCompare[name]; why != "" {
			t.Logf("%s is left out: %s", name, why)
			continue
		}
		names = append(names, name)
	}
	examplesOnEveryLog(t, names)
}

func examplesOnEveryLog(t *testing.T, names []string) {
	dir := t.TempDir()
	for _, name := range names {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "../../examples/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", name, err, out)
		}
	}
	cluster, serve := peers.NeedKafkaCluster(t), peers.StartServe(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			want := printed(t, filepath.Join(dir, name), "")
			for where, addrs := range map[string]string{"Apache Kafka": cluster.Addrs(), "millstream serve": serve.Addr()} {
				peers.EmptyCluster(t, strings.Split(addrs, ",")...)
				if got := printed(t, filepath.Join(dir, name), "kafka://"+addrs); !slices.Equal(got, want) {
					t.Errorf("on %s it prints\n%s\nand on an embedded log\n%s", where, strings.Join(got, ""), strings.Join(want, ""))
				}
			}
			t.Logf("%d lines, the same on every log", len(want))
		})
	}
}

// printed are the lines that a program prints, in the order of their text: several
// partitions have no order among them.
func printed(t *testing.T, program, log string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), "MILLSTREAM_LOG="+log)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s with the log %q: %v\n%s", filepath.Base(program), log, err, stderr.String())
	}
	lines := slices.Sorted(strings.Lines(string(out)))
	if len(lines) == 0 {
		t.Fatalf("%s printed nothing", filepath.Base(program))
	}
	return lines
}
