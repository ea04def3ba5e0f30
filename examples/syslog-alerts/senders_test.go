package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
)

// always is one window for as long as these tests may live.
const always = "87600h"

// wantOneBreach waits until a service has printed and posted one breach, which
// tells that its threshold's number of lines has come in.
func wantOneBreach(t *testing.T, s *service, hook *receiver, key string, count int64) {
	t.Helper()
	s.out.await(t, "the breach", func(lines []string) bool { return len(lines) > 0 })
	all := printedAlerts(t, s.out.lines())
	if len(all) != 1 || all[0].Kind != "breach" || all[0].Key != key || all[0].Count != count {
		t.Errorf("printed %+v, want one breach of %s with %d lines", all, key, count)
	}
	eventually(t, "the post", func() bool { return len(hook.Posts()) > 0 })
	s.stop(t)
	summary := fmt.Sprintf("%d lines in, 0 bad, 0 late, 1 alerts\n1 alerts posted\n", count)
	if !strings.HasSuffix(s.err.String(), summary) {
		t.Errorf("it said %q, want %q at the end", s.err, summary)
	}
}

// TestIntegrationLogger sends with util-linux' logger, in every way that it has.
func TestIntegrationLogger(t *testing.T) {
	logger := peers.NeedDebian(t, "bsdutils", "logger")
	hook := newReceiver(t)
	hook.behaves.Store(true)
	ways := [][]string{
		{"-d"}, {"-d", "--rfc3164"}, {"-d", "--rfc5424=notime"}, {"-d", "--rfc5424", "--msgid", "ID47", "--sd-id", "x@32473", "--sd-param", `a="b"`},
		{"-T"}, {"-T", "--rfc3164"}, {"-T", "--rfc5424=notq"}, {"-T", "--octet-count"}, {"-T", "--octet-count", "--rfc3164"},
		{"-u"},
	}
	socket := filepath.Join(t.TempDir(), "log")
	s := startService(t, "-udp", "127.0.0.1:0", "-tcp", "127.0.0.1:0", "-unix", socket, "-webhook", hook.url, "-dir", t.TempDir(),
		"-o", "json", "-by", "source", "-window", always, "-threshold", fmt.Sprint(len(ways)))
	for _, way := range ways {
		addr := s.udp
		if way[0] == "-T" {
			addr = s.tcp
		}
		host, port, _ := strings.Cut(addr, ":")
		args := slices.Concat([]string{"-n", host, "-P", port}, way)
		if way[0] == "-u" {
			args = []string{"-u", socket}
		}
		args = append(args, "-p", "authpriv.info", "-t", "sshd", "Invalid user bob from 192.0.2.7 port 22")
		if out, err := exec.Command(logger, args...).CombinedOutput(); err != nil {
			t.Fatalf("logger %q: %v\n%s", args, err, out)
		}
	}
	wantOneBreach(t, s, hook, "192.0.2.7", int64(len(ways)))
}

// TestIntegrationRsyslog lets rsyslog forward what comes into its local socket:
// over UDP and TCP, with both framings, in the formats of both RFCs.
func TestIntegrationRsyslog(t *testing.T) {
	rsyslogd := peers.NeedDebian(t, "rsyslog", "rsyslogd")
	hook := newReceiver(t)
	hook.behaves.Store(true)
	const lines, forwards = 50, 5
	s := startService(t, "-udp", "127.0.0.1:0", "-tcp", "127.0.0.1:0", "-webhook", hook.url, "-dir", t.TempDir(),
		"-o", "json", "-by", "host", "-window", always, "-threshold", fmt.Sprint(lines*forwards))

	dir := t.TempDir()
	forward := func(protocol, addr, template, more string) string {
		host, port, _ := strings.Cut(addr, ":")
		return fmt.Sprintf("action(type=\"omfwd\" target=\"%s\" port=\"%s\" protocol=\"%s\" template=\"%s\" %s)\n", host, port, protocol, template, more)
	}
	conf := fmt.Sprintf(`global(workDirectory="%[1]s" localHostname="relay-1")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="%[1]s/in" RateLimit.Interval="0")
`, dir) +
		forward("udp", s.udp, "RSYSLOG_TraditionalForwardFormat", "") +
		forward("udp", s.udp, "RSYSLOG_SyslogProtocol23Format", "") +
		forward("tcp", s.tcp, "RSYSLOG_ForwardFormat", "") +
		forward("tcp", s.tcp, "RSYSLOG_SyslogProtocol23Format", `TCP_Framing="octet-counted"`) +
		forward("tcp", s.tcp, "RSYSLOG_TraditionalForwardFormat", `TCP_Framing="octet-counted"`)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	said := newOutput()
	relay := exec.Command(rsyslogd, "-n", "-f", filepath.Join(dir, "conf"), "-i", filepath.Join(dir, "pid"))
	relay.Stdout, relay.Stderr = said, said
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { relay.Wait(); close(ended) }()
	t.Cleanup(func() { relay.Process.Kill(); <-ended })

	var local net.Conn
	eventually(t, "rsyslog's socket", func() (ok bool) {
		select {
		case <-ended:
			t.Fatalf("rsyslogd ended: %s", said)
		default:
		}
		var err error
		local, err = net.Dial("unixgram", filepath.Join(dir, "in"))
		return err == nil
	})
	defer local.Close()
	for i := range lines {
		if _, err := fmt.Fprintf(local, "<86>sshd[%d]: Invalid user u%d from 192.0.2.%d", 100+i, i, i%5); err != nil {
			t.Fatal(err)
		}
	}
	wantOneBreach(t, s, hook, "relay-1", lines*forwards)
}
