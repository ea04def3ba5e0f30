package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// millstream runs the command line in this process.
func millstream(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestConfigPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("millstream.yaml", []byte("workers: 3\npartitions: 4\nflush: os\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MILLSTREAM_PARTITIONS", "5")
	t.Setenv("MILLSTREAM_FLUSH", "commit")
	code, out, stderr := millstream(t, "config", "-o", "json", "--flush", "os")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var got []printedSetting
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"data-dir":   {"data", "default"},
		"workers":    {"3", "millstream.yaml"},
		"partitions": {"5", "environment"},
		"flush":      {"os", "flag"},
	}
	for _, s := range got {
		if w, ok := want[s.Key]; ok && w != [2]string{s.Value, s.Source} {
			t.Errorf("%s = %q from %s, want %q from %s", s.Key, s.Value, s.Source, w[0], w[1])
		}
		delete(want, s.Key)
	}
	if len(want) > 0 {
		t.Errorf("config did not print %v", want)
	}
}

func TestWrongUsageIsOneLineAndExit2(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("partitoins: 4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		env  [2]string
		want string
	}{
		{name: "unknown command", args: []string{"confg"}, want: `did you mean "config"?`},
		{name: "unknown flag", args: []string{"config", "--workres", "3"}, want: "--workres"},
		{name: "no verb", args: []string{"topic"}, want: "takes a verb: alter, create, delete, describe, list"},
		{name: "unknown key", args: []string{"config", "--config", bad}, want: `unknown setting "partitoins": did you mean "partitions"?`},
		{name: "missing file", args: []string{"config", "--config", "absent.yaml"}, want: "absent.yaml"},
		{name: "unknown variable", args: []string{"config"}, env: [2]string{"MILLSTREAM_WORKER", "2"}, want: `did you mean "MILLSTREAM_WORKERS"?`},
		{name: "bad number", args: []string{"config"}, env: [2]string{"MILLSTREAM_WORKERS", "two"}, want: `setting workers (environment) is "two"`},
		{name: "bad output", args: []string{"version", "-o", "xml"}, want: "text or json"},
		{name: "too many arguments", args: []string{"version", "1"}, want: "takes no arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env[0] != "" {
				t.Setenv(c.env[0], c.env[1])
			}
			code, out, stderr := millstream(t, c.args...)
			if code != 2 || out != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit 2 and one line with %q", code, out, stderr, c.want)
			}
		})
	}
}
