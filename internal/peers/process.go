package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Process is a program of the test's own, for tests that kill, stop or pause it.
// It ends with the test, and with the process that started it, however that ends
// (on Linux). Methods are for one goroutine at a time, except Output.
type Process struct {
	name  string
	child child
}

// StartProcess starts cmd; what it prints is kept, and shown if the test fails.
func StartProcess(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{name: name, child: child{log: filepath.Join(t.TempDir(), name+".log")}}
	if err := p.child.start(cmd, func() bool { return true }, time.Minute); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", name, p.child.tail(6000))
		}
	})
	return p
}

// Name is what it was started as.
func (p *Process) Name() string { return p.name }

// Kill ends it with SIGKILL and waits for its end.
func (p *Process) Kill() { p.child.kill() }

// Stop ends it with SIGTERM, as an operator does, and waits for its end; false if
// it had to be killed, or ended with another exit code than 0.
func (p *Process) Stop() bool {
	p.child.stop()
	return p.child.cmd.ProcessState.Success()
}

// Pause stops it (SIGSTOP) until Continue.
func (p *Process) Pause() { p.child.signal(syscall.SIGSTOP) }

// Continue lets it go on after Pause.
func (p *Process) Continue() { p.child.signal(syscall.SIGCONT) }

// Dump ends a Go program with SIGQUIT and returns what all its goroutines do.
func (p *Process) Dump() string {
	before := len(p.Output())
	p.Continue()
	p.child.signal(syscall.SIGQUIT)
	select {
	case <-p.Ended():
	case <-time.After(10 * time.Second):
		p.Kill()
	}
	return p.Output()[before:]
}

// Ended is closed when it has ended.
func (p *Process) Ended() <-chan struct{} { return p.child.ended }

// Alive says whether it runs, be it paused.
func (p *Process) Alive() bool { return p.child.alive() }

// Output is what it has printed so far.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.child.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
