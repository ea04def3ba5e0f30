package syslog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValidateReportsEveryProblem(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Config{
		UDP: "nowhere", TCP: "127.0.0.1:514", MaxLine: 1 << 21, QueueBytes: -1, MaxConns: -2, IdleTimeout: -time.Second,
		Listeners: []Listener{
			{Transport: TCP, Address: "127.0.0.1:514"},
			{Transport: "carrier pigeon", Address: "loft"},
			{Transport: UDP, Address: "127.0.0.1:0", Framing: FramingNUL, TLS: TLSConfig{CertFile: "x"}, Mode: 0o600},
			{Transport: TCP, Address: "127.0.0.1:0", Framing: "odd"},
			{Transport: TLS, Address: "127.0.0.1:0", TLS: TLSConfig{MinVersion: "1.1", CertFile: junk, KeyFile: filepath.Join(dir, "missing"), ClientCAFile: junk}},
			{Transport: TLS, Address: "127.0.0.1:0", TLS: TLSConfig{ClientOptional: true}},
			{Transport: Unix, Address: "/" + strings.Repeat("x", 200)},
			{Transport: Unixgram},
		},
	}.Validate()
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, want := range []string{
		"MaxLine is 2097152", "QueueBytes is -1", "MaxConns is -2", "IdleTimeout is -1s",
		"(udp nowhere): the address is not host:port", "(tcp 127.0.0.1:514): the address is given twice",
		`unknown transport "carrier pigeon"`, `framing "nul" is for streams`, "TLS settings are for transport tls", "a mode is for unix sockets",
		`unknown framing "odd"`, `TLS version "1.1"`, "missing: no such file", "has no PEM certificate", "TLS needs a CertFile and a KeyFile",
		"ClientOptional needs a ClientCAFile", "unix sockets allow 103", "the address must be a path",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported in\n%v", want, err)
		}
	}
	if got := New(Config{UDP: "nowhere"}).Listen(); got == nil || !strings.Contains(got.Error(), "host:port") {
		t.Errorf("Listen: %v", got)
	}
	if err := (Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}).Validate(); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}
