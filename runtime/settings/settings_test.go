package settings_test

import (
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/settings"
)

var known = []string{"udp", "window", "threshold", "match"}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "alerts.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	name := file(t, "# a comment\nudp: :5514\nwindow: 2m\nthreshold: 7\n")
	values, err := settings.Config{Known: known, EnvPrefix: "X_", File: name}.Load([]string{"HOME=/", "X_WINDOW=3m", "X_THRESHOLD=8"})
	if err != nil {
		t.Fatal(err)
	}
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	udp, match := fs.String("udp", "", ""), fs.String("match", "m", "")
	window, threshold := fs.Duration("window", time.Minute, ""), fs.Int("threshold", 5, "")
	if err := fs.Parse([]string{"-threshold", "9"}); err != nil {
		t.Fatal(err)
	}
	from, err := settings.SetFlags(fs, values)
	if err != nil {
		t.Fatal(err)
	}
	if *udp != ":5514" || *window != 3*time.Minute || *threshold != 9 || *match != "m" {
		t.Errorf("udp %s, window %v, threshold %d, match %s", *udp, *window, *threshold, *match)
	}
	if want := map[string]string{"udp": name, "window": "environment", "threshold": "flag", "match": "default"}; !maps.Equal(from, want) {
		t.Errorf("from %v, want %v", from, want)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name, text string
		env        []string
		want       string
		unknown    bool
	}{
		{name: "unknown key", text: "treshold: 3", want: `unknown setting "treshold": did you mean "threshold"?`, unknown: true},
		{name: "far key", text: "zzzzzzzzz: 3", want: `known are udp, window, threshold, match`, unknown: true},
		{name: "unknown variable", env: []string{"X_UPD=1"}, want: `unknown environment variable "X_UPD": did you mean "X_UDP"?`, unknown: true},
		{name: "nested", text: "udp:\n  addr: x", want: `unknown setting "udp.addr": known are`, unknown: true},
		{name: "list", text: "match: [a, b]", want: "match is [a b]: expected a text or a number"},
		{name: "no value", text: "udp:", want: "udp has no value"},
		{name: "no YAML", text: "udp: [", want: "yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := settings.Config{Known: known, EnvPrefix: "X_", File: file(t, c.text)}.Load(c.env)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, settings.ErrUnknown) != c.unknown || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want one line with %s", err, c.want)
			}
		})
	}
	absent := settings.Config{Known: known, File: filepath.Join(t.TempDir(), "absent.yaml")}
	if _, err := absent.Load(nil); err == nil || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("a missing file gives %v", err)
	}
	absent.Optional = true
	if values, err := absent.Load(nil); err != nil || len(values) > 0 {
		t.Errorf("a missing file that is optional gives %v, %v", values, err)
	}
}

func TestEveryWrongValueIsToldWithItsPlace(t *testing.T) {
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Duration("window", time.Minute, "")
	fs.Int("threshold", 5, "")
	_, err := settings.SetFlags(fs, map[string]settings.Value{"window": {"soon", "environment"}, "threshold": {"few", "a.yaml"}, "other": {"x", "a.yaml"}})
	if err == nil || !strings.Contains(err.Error(), `setting threshold (a.yaml) is "few"`) || !strings.Contains(err.Error(), `setting window (environment) is "soon"`) {
		t.Error(err)
	}
}
