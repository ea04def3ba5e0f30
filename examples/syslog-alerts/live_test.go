package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/runtime/metrics"
)

// line5424 is a line that counts, of a host.
func line5424(host string, at time.Time) string {
	return fmt.Sprintf("<38>1 %s %s sshd 7 - - Invalid user bob from 192.0.2.1", at.UTC().Format(time.RFC3339), host)
}

// TestTheServiceFromStartToEnd: it says where it listens, is ready then, prints
// and posts a breach, and a SIGTERM lets it finish what it has.
func TestTheServiceFromStartToEnd(t *testing.T) {
	dir, hook := t.TempDir(), newReceiver(t)
	hook.behaves.Store(true)
	socket := filepath.Join(t.TempDir(), "log")
	s := startService(t, "-udp", "127.0.0.1:0", "-tcp", "127.0.0.1:0", "-unix", socket, "-http", "127.0.0.1:0",
		"-webhook", hook.url, "-dir", dir, "-o", "json", "-window", always)
	if want := fmt.Sprintf("listening on udp=%s tcp=%s unix=%s http=%s\n", s.udp, s.tcp, socket, s.http); s.err.String() != want {
		t.Errorf("it said %q, want %q", s.err, want)
	}
	eventually(t, "/readyz: the sinks open beside the source", func() bool { code, _ := get(t, "http://"+s.http+"/readyz"); return code == 200 })
	for _, path := range []string{"/readyz", "/healthz"} {
		var health metrics.Checked
		code, body := get(t, "http://"+s.http+path)
		if err := json.Unmarshal([]byte(body), &health); err != nil || code != 200 || health.Status != "ok" || health.Phase != "running" || len(health.Sources) != 1 || len(health.Sinks) != 2 {
			t.Errorf("%s: %d %s %v", path, code, body, err)
		}
	}

	now := time.Now()
	send(t, "udp", s.udp, line5424("web-1", now))
	send(t, "tcp", s.tcp, line5424("web-1", now), line5424("web-2", now), "no syslog")
	send(t, "unixgram", socket, line5424("web-1", now), line5424("web-1", now))
	if got := printedAlerts(t, s.out.lines()); len(got) > 0 {
		t.Errorf("after four lines of a host it printed %v", got)
	}
	send(t, "tcp", s.tcp, line5424("web-1", now))
	s.out.await(t, "the breach", func(lines []string) bool { return len(lines) > 0 })
	got := printedAlerts(t, s.out.lines())
	if len(got) != 1 || got[0].Kind != "breach" || got[0].Key != "web-1" || got[0].Count != 5 || got[0].Users != nil {
		t.Errorf("printed %+v", got)
	}
	eventually(t, "the post", func() bool { return len(hook.Posts()) > 0 })
	eventually(t, "metrics of all lines", func() bool {
		_, body := get(t, "http://"+s.http+"/metrics")
		return committedLines(body) == 6 && strings.Contains(body, `millstream_dead_letters_total{stage="syslog"} 1`) &&
			strings.Contains(body, `millstream_sink_records_total{sink="webhook"} 1`)
	})

	// What is on its way when the signal comes is worked off.
	send(t, "tcp", s.tcp, line5424("web-2", now), line5424("web-2", now), line5424("web-2", now), line5424("web-2", now))
	s.stop(t)
	if got := printedAlerts(t, s.out.lines()); len(got) != 2 || got[1].Key != "web-2" {
		t.Errorf("printed %+v", got)
	}
	if want := fmt.Sprintf("11 lines in, 1 bad, 0 late, 2 alerts\nthe bad and the late ones are kept in the topic syslog-alerts.dead-letters in %s\n2 alerts posted\n", dir); !strings.HasSuffix(s.err.String(), want) {
		t.Errorf("it said %q, want %q at the end", s.err, want)
	}
	verifyLog(t, dir)
	hook.wantEach(t, readTopic(t, dir, alertsTopic), 0, 16)
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestAWebhookThatIsDownHoldsNothingUp: alerts are printed meanwhile, /readyz says
// what is wrong, and what waited arrives; an alert that the endpoint will never
// take is put aside.
func TestAWebhookThatIsDownHoldsNothingUp(t *testing.T) {
	down := make(chan struct{})
	hook := connectortest.NewReceiver(func(_ int, p *connectortest.Post) connectortest.Answer {
		if strings.Contains(p.ID, "refused") {
			return connectortest.Answer{Status: 404}
		}
		select {
		case <-down:
			return connectortest.Answer{}
		default:
			return connectortest.Answer{Status: 503, Body: "down for repairs"}
		}
	})
	dir := t.TempDir()
	s := startService(t, "-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-webhook", serve(t, hook), "-dir", dir, "-o", "json", "-threshold", "1", "-window", always)
	now := time.Now()
	send(t, "tcp", s.tcp, line5424("refused", now), line5424("web-1", now), line5424("web-2", now))
	s.out.await(t, "three alerts", func(lines []string) bool { return len(lines) == 3 })
	eventually(t, "/readyz that says what is wrong", func() bool {
		code, body := get(t, "http://"+s.http+"/readyz")
		return code == 503 && strings.Contains(body, "webhook") && strings.Contains(body, "down for repairs")
	})
	if code, body := get(t, "http://"+s.http+"/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, body)
	}
	close(down)
	eventually(t, "/readyz that is well again", func() bool { code, _ := get(t, "http://"+s.http+"/readyz"); return code == 200 })
	s.stop(t)
	if !strings.Contains(s.err.String(), "3 lines in, 0 bad, 0 late, 3 alerts\n2 alerts posted\n") {
		t.Errorf("it said %s", s.err)
	}
	if aside := readTopic(t, dir, deadLettersTopic); len(aside) != 1 || !strings.Contains(aside[0], "refused") {
		t.Errorf("put aside: %q", aside)
	}
}

// TestAnAlertThatIsNeverTakenIsPutAside after -webhook-retry-for, and the later
// ones are posted.
func TestAnAlertThatIsNeverTakenIsPutAside(t *testing.T) {
	poison := map[string]connectortest.Answer{
		"p-500": {Status: 500}, "p-429": {Status: 429}, "p-hang": {Hang: true}, "p-drop": {Drop: true},
	}
	hook := connectortest.NewReceiver(func(_ int, p *connectortest.Post) connectortest.Answer {
		for host, answer := range poison {
			if strings.Contains(p.ID, host) {
				return answer
			}
		}
		return connectortest.Answer{}
	})
	dir := t.TempDir()
	s := startService(t, "-tcp", "127.0.0.1:0", "-webhook", serve(t, hook), "-webhook-retry-for", "300ms", "-webhook-timeout", "200ms",
		"-dir", dir, "-o", "json", "-threshold", "1", "-window", always)
	now := time.Now()
	for host := range poison {
		send(t, "tcp", s.tcp, line5424(host, now))
	}
	eventually(t, "the first post", func() bool { return len(hook.Posts()) > 0 })
	send(t, "tcp", s.tcp, line5424("web-1", now), line5424("web-2", now))
	eventually(t, "the posts of the other hosts", func() bool {
		var taken int
		for _, p := range hook.Posts() {
			if strings.Contains(p.ID, "/web-") {
				taken++
			}
		}
		return taken == 2
	})
	s.stop(t)
	aside := strings.Join(readTopic(t, dir, deadLettersTopic), "\n")
	for host := range poison {
		if strings.Count(aside, `"`+host+`"`) != 1 {
			t.Errorf("put aside: %s; want the alert of %s", aside, host)
		}
	}
	if strings.Contains(aside, "web-") || !strings.Contains(s.err.String(), "\n2 alerts posted\n") {
		t.Errorf("put aside: %s; it said %s", aside, s.err)
	}
}

// TestOneLineForEachThingInTheWay: the service does not start, with exit code 1.
func TestOneLineForEachThingInTheWay(t *testing.T) {
	dir := t.TempDir()
	s := startService(t, "-udp", "127.0.0.1:0", "-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-dir", dir)
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"directory in use":   {[]string{"-udp", "127.0.0.1:0", "-dir", dir}, []string{dir, fmt.Sprintf("locked by pid %d", s.cmd.Process.Pid), "choose another directory"}},
		"UDP port in use":    {[]string{"-udp", s.udp}, []string{s.udp, "in use"}},
		"TCP port in use":    {[]string{"-tcp", s.tcp}, []string{s.tcp, "in use"}},
		"HTTP port in use":   {[]string{"-tcp", "127.0.0.1:0", "-http", s.http}, []string{"-http", s.http, "in use"}},
		"no directory":       {[]string{"-tcp", "127.0.0.1:0", "-dir", filepath.Join(plain, "data")}, []string{plain, "not a directory"}},
		"socket is a file":   {[]string{"-unix", plain}, []string{plain}},
		"no such interface":  {[]string{"-udp", "192.0.2.1:5514"}, []string{"192.0.2.1:5514"}},
		"socket's directory": {[]string{"-unix", filepath.Join(plain, "log")}, []string{plain}},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), c.args, stdio{nil, &out, &errs})
		if code != 1 || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "syslog-alerts: ") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 1 and one line", name, code, &out, &errs)
		}
		for _, text := range c.says {
			if !strings.Contains(errs.String(), text) {
				t.Errorf("%s: stderr %q lacks %q", name, &errs, text)
			}
		}
	}
	s.stop(t)
}

// TestNotReadyUntilTheEngineRuns: the checks answer from the beginning.
func TestNotReadyUntilTheEngineRuns(t *testing.T) {
	f, err := newFront("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if code, body := get(t, "http://"+f.addr()+"/readyz"); code != 503 || !strings.Contains(body, `"reason":"starting`) || !strings.Contains(body, `"phase":"new"`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := get(t, "http://"+f.addr()+"/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, body)
	}
}

// TestADirectoryKeepsCounting: a window that a service began goes on in the next.
func TestADirectoryKeepsCounting(t *testing.T) {
	args := []string{"-tcp", "127.0.0.1:0", "-dir", t.TempDir(), "-o", "json", "-window", always, "-threshold", "2"}
	now := time.Now()
	s := startService(t, args...)
	send(t, "tcp", s.tcp, line5424("web-1", now))
	s.stop(t)
	s = startService(t, args...)
	send(t, "tcp", s.tcp, line5424("web-1", now))
	s.out.await(t, "the breach", func(lines []string) bool { return len(lines) == 1 })
	s.stop(t)
	if !strings.Contains(s.err.String(), "1 lines in, 0 bad, 0 late, 1 alerts\n") {
		t.Errorf("it said %s", s.err)
	}
	code := run(context.Background(), append(args, "-by", "source"), stdio{nil, &bytes.Buffer{}, &bytes.Buffer{}})
	if code != 1 {
		t.Errorf("another -by over this state: exit code %d", code)
	}
}

// TestASignalBeforeItRunsIsNoFailure, nor is a second start after it.
func TestASignalBeforeItRunsIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	for range 2 {
		var out, errs bytes.Buffer
		if code := run(ctx, []string{"-tcp", "127.0.0.1:0", "-dir", dir}, stdio{nil, &out, &errs}); code != 0 || !strings.HasPrefix(errs.String(), "0 lines in") {
			t.Errorf("exit code %d, %s", code, &errs)
		}
	}
}

// TestAWrongClockHoldsNobodyElseUp where -max-ahead bounds it: without, a line
// from the future closes the windows of all that share its partition.
func TestAWrongClockHoldsNobodyElseUp(t *testing.T) {
	for _, bounded := range []bool{true, false} {
		args := []string{"-tcp", "127.0.0.1:0", "-o", "json", "-threshold", "2", "-partitions", "1"}
		alerts := "0 bad, 2 late, 0 alerts"
		if bounded {
			args = append(args, "-max-ahead", "10s")
			alerts = "0 bad, 0 late, 1 alerts"
		}
		s := startService(t, args...)
		now := time.Now()
		send(t, "tcp", s.tcp, line5424("ahead", now.Add(48*time.Hour)), line5424("web-1", now), line5424("web-1", now))
		s.stop(t)
		if !strings.Contains(s.err.String(), "3 lines in, "+alerts) {
			t.Errorf("bounded %v: it said %s, want %s", bounded, s.err, alerts)
		}
	}
}
