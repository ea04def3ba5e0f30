package peers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Serve is a `millstream serve` in a process of its own, on loopback: what
// clients that are not ours talk to in tests. It ends with the process that
// started it. Methods are for one goroutine at a time, except Addr.
type Serve struct {
	dir   string // data, log
	addr  string
	args  []string
	child child
}

var sharedServe struct {
	mu    sync.Mutex
	serve *Serve
}

// NeedServe gives the `millstream serve` that all tests of a package share; the
// first one starts it. The package's TestMain must call StopShared after m.Run.
// Use topic and group names of your own. args are more of its arguments, the same
// in the whole package.
func NeedServe(t testing.TB, args ...string) *Serve {
	t.Helper()
	NeedIntegration(t)
	sharedServe.mu.Lock()
	defer sharedServe.mu.Unlock()
	if sharedServe.serve == nil {
		dir, err := os.MkdirTemp("", "millstream-serve")
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewServe(dir, "127.0.0.1:0", args...)
		if err != nil {
			os.RemoveAll(dir)
			t.Fatal(err)
		}
		sharedServe.serve = s
	}
	return sharedServe.serve
}

func stopSharedServe() {
	sharedServe.mu.Lock()
	defer sharedServe.mu.Unlock()
	if s := sharedServe.serve; s != nil {
		s.Kill()
		os.RemoveAll(s.dir)
		sharedServe.serve = nil
	}
}

// StartServe gives a `millstream serve` of the test's own, which ends with the
// test. args are more of its arguments.
func StartServe(t testing.TB, args ...string) *Serve {
	t.Helper()
	NeedIntegration(t)
	s, err := NewServe(t.TempDir(), "127.0.0.1:0", args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the end of what millstream serve logged:\n%s", s.LogTail(4000))
		}
	})
	return s
}

// NewServe builds cmd/millstream, once in a process, and starts its verb serve
// with its data below dir. listen is the value of --listen; with a port of 0 it
// keeps over restarts the port that it got. The caller kills it.
func NewServe(dir, listen string, args ...string) (*Serve, error) {
	if port, any := strings.CutSuffix(listen, ":0"); any {
		p, err := freePort()
		if err != nil {
			return nil, err
		}
		listen = fmt.Sprintf("%s:%d", port, p)
	}
	s := &Serve{dir: dir, child: child{log: filepath.Join(dir, "serve.log")}}
	s.args = append([]string{"serve", "--data-dir", filepath.Join(dir, "data"), "--listen", listen,
		"--property", "log.retention.ms=-1", // tests' event times are old
		"--property", "group.initial.rebalance.delay.ms=0"}, args...)
	return s, s.Start()
}

// listening is the line that serve prints when clients can connect.
var listening = regexp.MustCompile(`(?m)^listening on ([^,\s]+)`)

// Start starts it on its data and waits until it says that clients can connect.
func (s *Serve) Start() error {
	binary, err := Millstream()
	if err != nil {
		return err
	}
	said := 0 // what earlier starts logged
	if b, err := os.ReadFile(s.child.log); err == nil {
		said = len(b)
	}
	ready := func() bool {
		b, err := os.ReadFile(s.child.log)
		if err != nil {
			return false
		}
		m := listening.FindSubmatch(b[said:])
		if m != nil {
			s.addr = string(m[1])
		}
		return m != nil
	}
	if err := s.child.start(exec.Command(binary, s.args...), ready, time.Minute); err != nil {
		return fmt.Errorf("millstream serve: %w", err)
	}
	return nil
}

// Addr is where clients of the first listener connect, "127.0.0.1:PORT". It stays over restarts.
func (s *Serve) Addr() string { return s.addr }

// DataDir is its --data-dir.
func (s *Serve) DataDir() string { return filepath.Join(s.dir, "data") }

// PID is the process of the last start.
func (s *Serve) PID() int { return s.child.cmd.Process.Pid }

// Kill ends it with SIGKILL and waits for its end.
func (s *Serve) Kill() { s.child.kill() }

// Stop ends it with SIGTERM, as an operator does.
func (s *Serve) Stop() { s.child.stop() }

// Restart starts it again on its data and ports, after Kill or Stop or instead of them.
func (s *Serve) Restart() error {
	s.Kill()
	return s.Start()
}

// LogTail is the end of what it logged.
func (s *Serve) LogTail(n int) string { return s.child.tail(n) }

var built struct {
	once   sync.Once
	binary string
	err    error
}

// Millstream builds cmd/millstream of the module that the process runs in, once,
// and gives the binary's path. It is removed by StopShared.
func Millstream() (string, error) {
	built.once.Do(func() {
		root, err := moduleRoot()
		if err != nil {
			built.err = err
			return
		}
		dir, err := os.MkdirTemp("", "millstream-binary")
		if err != nil {
			built.err = err
			return
		}
		built.binary = filepath.Join(dir, "millstream")
		cmd := exec.Command("go", "build", "-o", built.binary, "./cmd/millstream")
		cmd.Dir, cmd.Env = root, append(os.Environ(), "GOTOOLCHAIN=auto")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build ./cmd/millstream: %w\n%s", err, tail(out, 4000))
		}
	})
	return built.binary, built.err
}

func removeMillstream() {
	if built.binary != "" {
		os.RemoveAll(filepath.Dir(built.binary))
	}
}

// moduleRoot is the folder of our go.mod.
func moduleRoot() (string, error) {
	cmd := exec.Command("go", "env", "GOMOD")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=auto")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := string(bytes.TrimSpace(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("not in a Go module: millstream is built from its source")
	}
	return filepath.Dir(mod), nil
}
