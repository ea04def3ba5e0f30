package syslog

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUnixSocketsTakeLinesOfThisHost(t *testing.T) {
	dir := t.TempDir()
	stream, gram := filepath.Join(dir, "stream"), filepath.Join(dir, "log")
	s := opened(t, Config{Listeners: []Listener{{Transport: Unix, Address: stream, Mode: 0o600}, {Transport: Unixgram, Address: gram, Mode: 0o666}}})
	stamp := time.Now().UTC().Format(time.Stamp)
	send(t, dial(t, s.Addr(Unix)), "<13>"+stamp+" app: one\x00<13>"+stamp+" app: two\x00")
	send(t, dial(t, s.Addr(Unixgram)), "<13>"+stamp+" app: three\n")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := readLines(t, s, 3)
	for text, transport := range map[string]string{"one": "unix", "two": "unix", "three": "unixgram"} {
		r := got["<13>"+stamp+" app: "+text]
		if string(r.Key) != host || header(r, HeaderTransport) != transport || r.DeadLetter != "" {
			t.Errorf("%s: %+v, want it from %s", text, r, host)
		}
		if transport == "unix" && !strings.HasPrefix(header(r, HeaderRemote), "pid=") {
			t.Errorf("%s: remote %q", text, header(r, HeaderRemote))
		}
	}
	if fi, err := os.Stat(stream); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", fi, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{stream, gram} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there after Close: %v", path, err)
		}
	}
}

func TestAUnixSocketThatSomebodyListensOnIsRefused(t *testing.T) {
	for _, kind := range []Transport{Unix, Unixgram} {
		for _, other := range []Transport{Unix, Unixgram} {
			path := filepath.Join(t.TempDir(), "log")
			first := opened(t, Config{Listeners: []Listener{{Transport: other, Address: path}}})
			second := New(Config{Listeners: []Listener{{Transport: kind, Address: path}}})
			if err := second.Listen(); !errors.Is(err, ErrSocketInUse) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s over %s: error %v", kind, other, err)
			}
			second.Close()
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%s over %s: the live socket's path is gone: %v", kind, other, err)
			}
			first.Close()
		}
	}
}

func TestAUnixSocketThatNobodyListensOnIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as after a crash
	s := opened(t, Config{Listeners: []Listener{{Transport: Unix, Address: path}}})
	send(t, dial(t, s.Addr(Unix)), aLine+"x\n")
	readLines(t, s, 1)
}

func TestOnlyOurOwnSocketIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listeners: []Listener{{Transport: Unixgram, Address: path}}}
	if err := New(cfg).Listen(); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("over a file: error %v", err)
	}
	os.Remove(path)
	s := opened(t, cfg)
	os.Remove(path)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("what somebody put there meanwhile is %q, %v", b, err)
	}
}
