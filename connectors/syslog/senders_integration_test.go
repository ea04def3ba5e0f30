package syslog_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/internal/peers"
)

// The senders of docs/connectors/syslog.md that most machines have: util-linux
// logger over every transport that it knows, and openssl with certificates made
// as the manual says.
func TestIntegrationOtherPeoplesSenders(t *testing.T) {
	peers.NeedIntegration(t)
	dir := t.TempDir()
	run := func(stdin, name string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	cfg := syslog.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Listeners: []syslog.Listener{
		{Transport: syslog.Unix, Address: filepath.Join(dir, "stream")}, {Transport: syslog.Unixgram, Address: filepath.Join(dir, "log")}}}
	_, err := exec.LookPath("openssl")
	secure := err == nil
	if secure {
		for _, script := range manual(t, "openssl req") {
			run(script, "bash")
		}
		cfg.Listeners = append(cfg.Listeners, syslog.Listener{Transport: syslog.TLS, Address: "127.0.0.1:0", TLS: syslog.TLSConfig{
			CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server-key.pem"), ClientCAFile: filepath.Join(dir, "ca.pem")}})
	}
	src := syslog.New(cfg)
	if err := src.Open(t.Context(), connectors.SourceContext{}, nil); err != nil {
		t.Fatal(err)
	}
	defer src.Close()

	want := map[string]string{} // text to transport
	if _, err := exec.LookPath("logger"); err != nil {
		t.Log("no logger of util-linux on this machine")
	} else {
		udp, tcp := src.UDPAddr().AddrPort(), src.TCPAddr().AddrPort()
		for text, args := range map[string][]string{
			"udp 5424":          {"--server", "127.0.0.1", "--port", port(udp.Port()), "--udp"},
			"udp 3164":          {"--server", "127.0.0.1", "--port", port(udp.Port()), "--udp", "--rfc3164"},
			"tcp newline":       {"--server", "127.0.0.1", "--port", port(tcp.Port()), "--tcp"},
			"tcp octets":        {"--server", "127.0.0.1", "--port", port(tcp.Port()), "--tcp", "--octet-count"},
			"tcp octets 3164":   {"--server", "127.0.0.1", "--port", port(tcp.Port()), "--tcp", "--octet-count", "--rfc3164"},
			"unix stream":       {"--socket", filepath.Join(dir, "stream"), "--socket-errors=on"},
			"unixgram datagram": {"--socket", filepath.Join(dir, "log"), "--socket-errors=on"},
		} {
			run("", "logger", append(args, "--tag", "millstream-test", "--id=42", text)...)
			want[text], _, _ = strings.Cut(text, " ")
		}
	}
	if secure {
		for _, script := range manual(t, "openssl s_client") {
			run(strings.ReplaceAll(script, "127.0.0.1:6514", src.Addr(syslog.TLS).String()), "bash")
		}
		want["over TLS"] = "tls"
	}
	if len(want) == 0 {
		t.Skip("skipped: neither logger of util-linux nor openssl on this machine")
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for len(want) > 0 {
		var b connectors.Batch
		if err := src.Read(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records() {
			m := syslog.NewMessage(r.Value)
			text := string(m.Text())
			transport, known := want[text]
			if r.DeadLetter != "" || !known {
				t.Fatalf("%q came (%s), expected one of %v", r.Value, r.DeadLetter, want)
			}
			delete(want, text)
			for _, h := range r.Headers {
				if h.Key == syslog.HeaderTransport && string(h.Value) != transport {
					t.Errorf("%q came over %s", r.Value, h.Value)
				}
				if h.Key == syslog.HeaderSubject && string(h.Value) != "CN=web-1,O=Example" {
					t.Errorf("%q: subject %s", r.Value, h.Value)
				}
			}
			if transport != "tls" && (string(r.Key) != host || m.AppName() != "millstream-test" || m.ProcID() != "42") {
				t.Errorf("%q: key %q, app %q, pid %q, want those of %s", r.Value, r.Key, m.AppName(), m.ProcID(), host)
			}
		}
	}
}

func port(p uint16) string { return strconv.Itoa(int(p)) }

var codeBlock = regexp.MustCompile("(?ms)^```\\w*\n(.*?)^```$")

// manual is what the manual says in the code blocks that begin with some words,
// or have them in a pipe.
func manual(t *testing.T, words string) (scripts []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/connectors/syslog.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range codeBlock.FindAllSubmatch(text, -1) {
		if bytes.Contains(block[1], []byte(words)) {
			scripts = append(scripts, string(block[1]))
		}
	}
	if len(scripts) != 1 {
		t.Fatalf("the manual has %d blocks with %q, expected one", len(scripts), words)
	}
	return scripts
}
