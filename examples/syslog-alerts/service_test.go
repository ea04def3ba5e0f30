package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/badgerstore"
)

// The tests of the service run it as a process of its own: this test binary,
// told by a variable to be something else.

const asEnv = "MILLSTREAM_TEST_AS" // "service" or "sender"

func TestMain(m *testing.M) {
	switch os.Getenv(asEnv) {
	case "service":
		main()
	case "sender":
		os.Exit(sendUntilAcknowledged(os.Stdin, os.Stdout, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// patience bounds every wait of these tests; only a failure takes that long.
const patience = 60 * time.Second

// process is a child whose output is read line by line.
type process struct {
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	out, err *output
	ended    chan struct{} // closed when it is over and all its output is here
}

// startProcess starts this binary as something else. It does not outlive the test.
func startProcess(t *testing.T, as string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...), out: newOutput(), err: newOutput(), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asEnv+"="+as)
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
		p.out.Write(nil) // wakes who waits for a line that will not come
		p.err.Write(nil)
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends a process as kill -9 does; once it has ended it does nothing.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.wait()
}

// wait returns the exit code, -1 after a signal.
func (p *process) wait() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// output collects what a process writes.
type output struct {
	mu     sync.Mutex
	text   strings.Builder
	change chan struct{} // closed at the next write
}

func newOutput() *output { return &output{change: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.change)
	o.change = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) String() string {
	text, _ := o.now()
	return text
}

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.change
}

// lines are the complete lines.
func (o *output) lines() []string {
	text := o.String()
	all := strings.Split(text, "\n")
	return all[:len(all)-1]
}

// await waits until ok, and fails the test if that takes too long.
func (o *output) await(t *testing.T, what string, ok func(lines []string) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		text, changed := o.now()
		all := strings.Split(text, "\n")
		if ok(all[:len(all)-1]) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited in vain for %s; it said:\n%s", what, text)
		}
	}
}

// eventually asks again and again until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// service is a syslog-alerts that is ready.
type service struct {
	*process
	udp, tcp, tls, http string
}

var readyLine = regexp.MustCompile(`(?m)^listening on( udp=\S+)?( tcp=\S+)?( tls=\S+)?( unix=\S+)?( http=\S+)?$`)

// startService starts one and waits until it says that it listens.
func startService(t *testing.T, args ...string) *service {
	t.Helper()
	s := &service{process: startProcess(t, "service", args...)}
	s.err.await(t, "the line that says where it listens", func([]string) bool {
		select {
		case <-s.ended:
			t.Fatalf("the service ended: %s", s.err)
		default:
		}
		return readyLine.MatchString(s.err.String())
	})
	for word := range strings.FieldsSeq(readyLine.FindString(s.err.String())) {
		name, addr, _ := strings.Cut(word, "=")
		switch name {
		case "udp":
			s.udp = addr
		case "tcp":
			s.tcp = addr
		case "tls":
			s.tls = addr
		case "http":
			s.http = addr
		}
	}
	return s
}

// stop ends it with SIGTERM, and wants exit code 0.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != 0 {
		t.Fatalf("after SIGTERM: exit code %d\n%s", code, s.err)
	}
}

// get asks the service over HTTP.
func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	code, body, err := fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return code, body
}

func fetch(url string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// printedAlerts decodes the lines on stdout.
func printedAlerts(t *testing.T, lines []string) (all []Alert) {
	t.Helper()
	for _, line := range lines {
		var a Alert
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("stdout has %q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

// verifyLog checks a directory as `millstream verify` does: no damage, and
// closed cleanly.
func verifyLog(t *testing.T, dir string) {
	t.Helper()
	sum, err := broker.Verify(vfs.OS(), dir, broker.VerifyOptions{Foreign: []string{"state"}}, func(f segment.Finding) {
		t.Errorf("%s at %d: %s", f.Path, f.Pos, f.What)
	})
	if err != nil || !sum.Clean {
		t.Errorf("the log in %s: closed cleanly %v, %v", dir, sum.Clean, err)
	}
	found, err := badgerstore.Verify(filepath.Join(dir, "state"))
	if err != nil || len(found) > 0 {
		t.Errorf("the state in %s: %v %v", dir, found, err)
	}
}

// committedLines is how many lines a service has committed since it started, by
// its /metrics.
func committedLines(body string) (n int) {
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, `millstream_source_records_total{source="syslog"} `); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return int(f)
		}
	}
	return 0
}

// send writes lines to an address and closes the connection.
func send(t *testing.T, network, addr string, lines ...string) {
	t.Helper()
	conn, err := dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := bufio.NewWriter(conn)
	for _, line := range lines {
		fmt.Fprintln(w, line)
		if network != "tcp" { // a datagram is a line
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}
