package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDefaultsDependOnTheMode(t *testing.T) {
	tests := []struct {
		args   string
		emit   string
		grace  time.Duration
		window time.Duration
	}{
		{"-input f", "final", 0, time.Minute},
		{"-input f -grace 3s -emit breach", "breach", 3 * time.Second, time.Minute},
		{"-udp :0", "breach", 10 * time.Second, time.Minute},
		{"-tcp :0 -emit final -window 1h", "final", 10 * time.Second, time.Hour},
		{"-demo", "breach", 10 * time.Second, 5 * time.Second},
		{"-demo -window 1s", "breach", 10 * time.Second, time.Second},
		{"-unix p", "breach", 10 * time.Second, time.Minute},
	}
	for _, tt := range tests {
		c, err := parseFlags(strings.Fields(tt.args), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		if c.emit != tt.emit || c.grace != tt.grace || c.window != tt.window || c.by != "host" || c.threshold != 5 || c.tz != time.UTC {
			t.Errorf("%s: %+v", tt.args, c)
		}
	}
}

func TestWrongUsageIsOneLineAndExitCode2(t *testing.T) {
	tests := []struct{ args, says string }{
		{"", "nothing to read"},
		{"-frob", "unknown flag -frob (-h shows all flags)"},
		{"-udp :0 -treshold 3", "unknown flag -treshold: did you mean -threshold?"},
		{"-input f -window soon", "-window"},
		{"-input f -window 5", "flag -window: expected a time such as 30s or 5m"},
		{"-udp nonsense", "-udp nonsense: expected HOST:PORT"},
		{"-udp nowhere:port", "-udp nowhere:port: expected HOST:PORT"},
		{"-tcp localhost", "-tcp localhost: expected HOST:PORT"},
		{"-tcp 127.0.0.1:99999", "-tcp 127.0.0.1:99999: expected HOST:PORT"},
		{"-tcp 256.0.0.1:1", "-tcp 256.0.0.1:1: expected HOST:PORT"},
		{"-tcp :0 -http :-1", "-http :-1: expected HOST:PORT"},
		{"-tcp :5514 -tls :5514 -tls-cert /not/here -tls-key /nor/here", "/not/here"},
		{"-tls :0 -tls-cert flags_test.go -tls-key flags_test.go", "flags_test.go"},
		{"-tcp :0 -max-conns 0", "-max-conns 0: expected at least 1"},
		{"-tcp :0 -max-conns-per-peer -1", "-max-conns-per-peer -1"},
		{"-tcp :0 -idle-timeout -1s", "-idle-timeout -1s"},
		{"-input f -max-conns 5", "-max-conns is for listening"},
		{"-udp :0 -webhook-retry-for 1h", "-webhook-retry-for needs -webhook"},
		{"-udp :0 -webhook http://h/ -webhook-retry-for -1s", "-webhook-retry-for -1s"},
		{"-udp :0 -webhook http://h/ -webhook-rate -1", "syslog-alerts: -webhook-rate -1: expected at least 0\n"},
		{"-input f -by user", "-by user: expected host or source"},
		{"-input f -emit never", "-emit never"},
		{"-input f -o xml", "-o xml"},
		{"-input f -window 0s", "-window 0s"},
		{"-input f -window 1500us", "-window 1.5ms"},
		{"-input f -grace -1s", "-grace -1s"},
		{"-input f -threshold 0", "-threshold 0"},
		{"-input f -partitions 0", "-partitions 0"},
		{"-input f -workers -1", "-workers -1"},
		{"-input f -year 0", "-year 0"},
		{"-input f -tz Atlantis", "Atlantis"},
		{"-input - -dir d", "-input - does not go with -dir"},
		{"-input f -udp :0", "-input does not go with"},
		{"-demo -dir d", "-demo does not go with -dir"},
		{"-input f -webhook http://h/", "-webhook is for listening"},
		{"-demo -retention 1h", "-retention is for listening"},
		{"-udp :0 -webhook ftp://user:secret@host/token", `URL has the scheme "ftp"`},
		{"-udp :0 -webhook host:80", "-webhook"},
		{"-udp :0 -webhook env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE"},
		{"-udp :0 -webhook http://h/ -webhook-body xml", "-webhook-body xml: expected alert, slack"},
		{"-udp :0 -webhook http://h/ -webhook-body file:/not/here", "/not/here"},
		{"-udp :0 -webhook http://h/ -webhook-secret file:/not/here", "/not/here"},
		{"-udp :0 -webhook http://h/ -webhook-timeout 0s", "-webhook-timeout 0s"},
		{"-udp :0 -webhook-rate 2", "-webhook-rate needs -webhook"},
		{"-udp :0 -webhook http://h/ -webhook-uncommitted 0", "-webhook-uncommitted 0"},
		{"-udp :0 -retention 1s", "-retention 1s"},
		{"-udp :0 -retention 99999999d", "-retention"},
		{"-udp :0 -retention soon", "expected a duration such as 36h or 30d"},
		{"-tls :0", "-tls needs -tls-cert FILE and -tls-key FILE"},
		{"-udp :0 -tls-ca f", "-tls-ca needs -tls"},
		{"-udp :0 -config /not/here.yaml", "/not/here.yaml"},
		{"-input f g", `unexpected argument "g"`},
		{"-input f -threshold 0 -by user", "-by user: expected host or source; -threshold 0"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is taken for right usage ends at once
	for _, tt := range tests {
		var out, err bytes.Buffer
		code := run(ctx, strings.Fields(tt.args), stdio{strings.NewReader(""), &out, &err})
		if code != 2 || out.Len() > 0 || !strings.Contains(err.String(), tt.says) || strings.Count(err.String(), "\n") != 1 {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want 2, nothing, one line with %q", tt.args, code, &out, &err, tt.says)
		}
	}
}

func TestHelpGoesToStdoutAndIsNoError(t *testing.T) {
	var out, errs bytes.Buffer
	if _, err := parseFlags([]string{"-h"}, &bytes.Buffer{}); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	if code := run(context.Background(), []string{"-h"}, stdio{nil, &out, &errs}); code != 0 || !strings.Contains(out.String(), "-threshold") || errs.Len() > 0 {
		t.Fatalf("exit code %d, %q, %q", code, &out, &errs)
	}
}

func TestFailuresAreOneLineAndExitCode1(t *testing.T) {
	for _, args := range []string{"-input /nowhere/to/be/found", "-udp 127.0.0.1:0 -tcp 192.0.2.1:1"} {
		var out, err bytes.Buffer
		code := run(context.Background(), strings.Fields(args), stdio{strings.NewReader(""), &out, &err})
		if code != 1 || strings.Count(err.String(), "\n") != 1 || !strings.HasPrefix(err.String(), "syslog-alerts: ") {
			t.Errorf("%q: exit code %d, stderr %q", args, code, &err)
		}
	}
}

// TestEveryFlagCanStandInFileAndEnvironment: a flag goes before a variable, that
// before the file, that before the default, which depends on the mode.
func TestEveryFlagCanStandInFileAndEnvironment(t *testing.T) {
	name := filepath.Join(t.TempDir(), "alerts.yaml")
	text := "# a service\ntcp: 127.0.0.1:5514\nwindow: 2m\nthreshold: 7\nmatch: \"Invalid user\"\ngrace: 3s\ndir: /d\nwebhook: http://host/\nwebhook-secret: env:HOOK_SECRET\nyear: 2015\nretention: 30d\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOOK_SECRET", "hush")
	t.Setenv("SYSLOG_ALERTS_WINDOW", "3m")
	t.Setenv("SYSLOG_ALERTS_THRESHOLD", "8")
	t.Setenv("SYSLOG_ALERTS_WEBHOOK_RATE", "2.5")
	want := func(c config, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		secret, err := c.webhookSecret.Reveal()
		if c.tcp != "127.0.0.1:5514" || c.window != 3*time.Minute || c.threshold != 9 || c.grace != 3*time.Second || c.year != 2015 ||
			c.retention != 30*24*time.Hour || secret != "hush" || err != nil || c.webhookRate != 2.5 || c.emit != "breach" {
			t.Errorf("%+v", c)
		}
		if shown := fmt.Sprintf("%+v", c); strings.Contains(shown, "hush") || strings.Contains(shown, "HOOK_SECRET") {
			t.Errorf("the secret shows: %s", shown)
		}
	}
	want(parseFlags([]string{"-config", name, "-threshold", "9"}, nil))
	t.Setenv("SYSLOG_ALERTS_CONFIG", name)
	want(parseFlags([]string{"-threshold", "9"}, nil))

	os.Unsetenv("SYSLOG_ALERTS_THRESHOLD") // until the end of the test
	for text, says := range map[string]string{
		"treshold: 3":           `unknown setting "treshold": did you mean "threshold"?`,
		"threshold: many":       `setting threshold (`,
		"config: other.yaml":    `unknown setting "config"`,
		"webhook:\n  url: http": `unknown setting "webhook.url"`,
		"threshold: 0":          "-threshold 0: expected at least 1",
		"udp: [":                "yaml",
	} {
		if err := os.WriteFile(name, []byte("tcp: :0\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := parseFlags(nil, nil)
		if err == nil || !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %s", text, err, says)
		}
	}
	t.Setenv("SYSLOG_ALERTS_CONFIG", "")
	t.Setenv("SYSLOG_ALERTS_TRESHOLD", "3")
	if _, err := parseFlags(nil, nil); err == nil || !strings.Contains(err.Error(), `did you mean`) {
		t.Errorf("an unknown variable: %v", err)
	}
}

func TestRetentionHasADefaultWhereItCanHave(t *testing.T) {
	for args, want := range map[string]time.Duration{
		"-udp :0 -dir d":                  7 * 24 * time.Hour,
		"-udp :0":                         0, // a temporary directory
		"-udp :0 -dir d -year 2015":       0, // its lines would be gone at once
		"-udp :0 -dir d -retention 0":     0,
		"-udp :0 -dir d -retention 90m":   90 * time.Minute,
		"-udp :0 -retention 2d -year 999": 48 * time.Hour,
		"-input f -dir d":                 0,
		"-demo":                           0,
	} {
		if c, err := parseFlags(strings.Fields(args), nil); err != nil || c.retention != want {
			t.Errorf("%s: %v, %v; want %v", args, c.retention, err, want)
		}
	}
}

func TestTheHelpHasEveryFlag(t *testing.T) {
	var help bytes.Buffer
	if _, err := parseFlags([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	fs, _, _ := newFlags(&config{})
	fs.VisitAll(func(f *flag.Flag) {
		if n := strings.Count(help.String(), "\n  -"+f.Name+" "); n != 1 {
			t.Errorf("-%s stands %d times in the help", f.Name, n)
		}
	})
	for line := range strings.Lines(help.String()) {
		if len(line) > 140 {
			t.Errorf("the help has a line of %d characters: %s", len(line), line)
		}
	}
}

// TestTheDeployedSettingsAreTaken: docs/deploy's file is one of this program.
func TestTheDeployedSettingsAreTaken(t *testing.T) {
	t.Setenv("SYSLOG_ALERTS_WEBHOOK", "https://hooks.example/T0/B0")
	c, err := parseFlags([]string{"-config", "../../docs/deploy/syslog-alerts.yaml", "-dir", "d"}, nil)
	if err != nil || c.udp == "" || c.tcp == "" || c.http == "" || c.retention != 7*24*time.Hour || c.webhook.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
}
