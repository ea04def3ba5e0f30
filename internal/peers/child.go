package peers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// child is a server in a process of its own. It ends with the process that
// started it, however that ends (on Linux).
type child struct {
	log   string // file that takes what it prints
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process of cmd has ended
}

// start starts cmd and waits until ready says yes. The log of earlier starts stays.
func (c *child) start(cmd *exec.Cmd, ready func() bool, timeout time.Duration) error {
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for us, not for it
	endWithParent(cmd.SysProcAttr)
	c.cmd, c.ended = cmd, make(chan struct{})
	started := make(chan error, 1)
	go func() { // the thread that starts it must live as long as it does: see endWithParent
		runtime.LockOSThread()
		defer close(c.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	if err := c.wait(ready, timeout); err != nil {
		c.kill()
		return fmt.Errorf("%w; the end of its log:\n%s", err, c.tail(4000))
	}
	return nil
}

func (c *child) wait(ready func() bool, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-c.ended:
			return fmt.Errorf("ended while starting (%v)", c.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v", timeout)
		case <-tick.C:
		}
	}
	return nil
}

func (c *child) running() bool { return c.cmd != nil && c.cmd.Process != nil }

// signal sends it a signal, if it runs.
func (c *child) signal(sig syscall.Signal) {
	if c.running() {
		c.cmd.Process.Signal(sig)
	}
}

// alive says whether its process runs, be it paused.
func (c *child) alive() bool {
	if !c.running() {
		return false
	}
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// kill ends it with SIGKILL and waits for its end.
func (c *child) kill() {
	if c.running() {
		c.cmd.Process.Kill()
		<-c.ended
	}
}

// stop ends it with SIGTERM, and with SIGKILL after half a minute.
func (c *child) stop() {
	if !c.running() {
		return
	}
	c.signal(syscall.SIGTERM)
	c.signal(syscall.SIGCONT) // a paused one would not hear it
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		c.kill()
	}
}

// tail is the end of what it printed.
func (c *child) tail(n int) string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(tail(b, n)))
}
