package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
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
		{"-frob", "-frob"},
		{"-input f -window soon", "-window"},
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
		{"-input f g", `unexpected argument "g"`},
		{"-input f -threshold 0 -by user", "-by user: expected host or source; -threshold 0"},
	}
	for _, tt := range tests {
		var out, err bytes.Buffer
		code := run(context.Background(), strings.Fields(tt.args), stdio{strings.NewReader(""), &out, &err})
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
	for _, args := range []string{"-input /nowhere/to/be/found", "-udp nowhere:port", "-udp 127.0.0.1:0 -tcp 256.0.0.1:1"} {
		var out, err bytes.Buffer
		code := run(context.Background(), strings.Fields(args), stdio{strings.NewReader(""), &out, &err})
		if code != 1 || strings.Count(err.String(), "\n") != 1 || !strings.HasPrefix(err.String(), "syslog-alerts: ") {
			t.Errorf("%q: exit code %d, stderr %q", args, code, &err)
		}
	}
}
