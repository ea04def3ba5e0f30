package peers

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// StreamsApp is java/StreamsApp.java, an application of Apache Kafka's Streams
// with exactly_once_v2, in a process of its own. Methods are for one goroutine
// at a time.
type StreamsApp struct {
	t     testing.TB
	args  []string
	child child
}

// StartStreamsApp starts the application against a broker; it ends with the
// test. Its state is in a directory of the test's own.
func StartStreamsApp(t testing.TB, broker, id, orders, users, totals string) *StreamsApp {
	t.Helper()
	dir := t.TempDir()
	a := &StreamsApp{t: t, args: []string{broker, id, filepath.Join(dir, "state"), orders, users, totals}, child: child{log: filepath.Join(dir, "streams.log")}}
	a.Start()
	t.Cleanup(func() {
		a.Kill()
		if t.Failed() {
			t.Logf("the end of what the Streams application logged:\n%s", a.child.tail(6000))
		}
	})
	return a
}

// Start starts it, after Kill or Stop on the state that was left.
func (a *StreamsApp) Start() {
	a.t.Helper()
	cmd := NeedJava(a.t, "StreamsApp", a.args...)
	if err := a.child.start(cmd, func() bool { _, err := os.Stat(a.child.log); return err == nil }, time.Minute); err != nil {
		a.t.Fatal(err)
	}
}

// Kill ends it with SIGKILL and waits for its end.
func (a *StreamsApp) Kill() { a.child.kill() }

// Stop ends it with SIGTERM: it commits and leaves its group.
func (a *StreamsApp) Stop() { a.child.stop() }
