package webhook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/connectors/webhook"
	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/engine"
)

// kill9Order is what the parent tells a child, as JSON in its environment.
type kill9Order struct {
	Dir, URL       string
	Alerts         int
	MaxUncommitted int
}

const kill9Env = "MILLSTREAM_WEBHOOK_KILL9_ORDER"

// alerts are n alerts over 13 keys, and their ids.
func alerts(n int) (outs []connectors.Out, ids []string) {
	for i := range n {
		key := fmt.Sprint("host-", i%13)
		text, id := value(key, i)
		outs = append(outs, connectors.Out{Key: []byte(key), Value: []byte(text), Timestamp: int64(i), Partition: -1})
		ids = append(ids, id)
	}
	return outs, ids
}

// TestWebhookKill9Child is a child's whole life: an engine that posts alerts
// until it is killed, or its standard input ends; without an order it does nothing.
func TestWebhookKill9Child(t *testing.T) {
	text := os.Getenv(kill9Env)
	if text == "" {
		return // only a child of the tests below has an order
	}
	var o kill9Order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	sink, err := webhook.New(webhook.Config{
		URL: connectors.NewSecret(o.URL), Secret: connectors.NewSecret("kill9"), MaxUncommitted: o.MaxUncommitted, Timeout: 250 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	outs, _ := alerts(o.Alerts)
	e, err := engine.New(program(t), engine.Config{
		Log: "embedded:" + filepath.Join(o.Dir, "log"), InMemoryState: true, Partitions: 3, Workers: 1, CommitInterval: 20 * time.Millisecond,
		Sources: []engine.Source{{Name: "alerts", Topic: "alerts", Source: &connectortest.Records{Out: outs, Chunk: 5, Stay: true}}},
		Sinks:   []engine.Sink{{Name: "hook", Topic: "alerts", Sink: sink, Retry: engine.Retry{First: 5 * time.Millisecond, Most: 50 * time.Millisecond}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("up")
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped with -short: the children are not instrumented; make test runs it")
	}
	kill9(t, 3, 16)
}

func TestIntegrationKill9(t *testing.T) {
	peers.NeedIntegration(t)
	kill9(t, 5, 3)
}

func TestTortureKill9(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	kill9(t, 50, 16)
}

// kill9 kills a process that posts alerts to a receiver that misbehaves, with
// signal 9 and as often as asked, mostly while a post is under way, and lets the
// last one finish.
func kill9(t *testing.T, kills, maxUncommitted int) {
	t.Helper()
	const perLife = 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	receiver := connectortest.NewReceiver(connectortest.Misbehaving(seed, 0.3, true))
	srv := httptest.NewServer(receiver)
	defer srv.Close()
	defer receiver.Release()
	o := kill9Order{Dir: t.TempDir(), URL: srv.URL + "/hook", Alerts: perLife * (kills + 1), MaxUncommitted: maxUncommitted}
	_, ids := alerts(o.Alerts)
	settled := connectortest.Settled(ids)
	for k := range kills {
		c := startChild(t, o)
		until := len(receiver.Posts()) + 1 + r.IntN(perLife)
		err := receiver.Await(t.Context(), func(posts []connectortest.Post) bool {
			return len(posts) >= until || settled(posts)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(receiver.Posts()); n < until {
			t.Fatalf("all alerts were posted before kill %d: %d posts, to be killed at %d", k+1, n, until)
		}
		c.kill(t)
	}
	c := startChild(t, o)
	if err := receiver.Await(t.Context(), settled); err != nil {
		t.Error(err)
	}
	c.stop(t)
	posts := receiver.Posts()
	t.Log(connectortest.Tally(posts))
	if err := connectortest.Judge(posts, connectortest.Account{IDs: ids, Kills: kills, MaxUncommitted: maxUncommitted}); err != nil {
		t.Error(err)
	}
	for _, p := range posts {
		if err := webhook.Verify("kill9", p.Header.Get(webhook.SignatureHeader), p.Body, time.Now(), time.Hour); err != nil {
			t.Fatalf("%s: %v", p.ID, err)
		}
	}
}

// child is a process under test; its standard input ends with the parent's.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  *strings.Builder
	ended chan struct{}
}

func startChild(t *testing.T, o kill9Order) *child {
	t.Helper()
	order, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^TestWebhookKill9Child$", "-test.v"), said: &strings.Builder{}, ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), kill9Env+"="+string(order))
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	go func() {
		defer close(c.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "up" {
				close(up)
				continue
			}
			fmt.Fprintln(c.said, lines.Text())
		}
	}()
	t.Cleanup(func() { c.cmd.Process.Kill() })
	select {
	case <-up:
	case <-c.ended:
		t.Fatalf("the child ended before it was up: %v\n%s", c.cmd.Wait(), c.said)
	}
	return c
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	c.cmd.Process.Signal(syscall.SIGKILL)
	<-c.ended
	err := c.cmd.Wait()
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("the child ended by itself: %v\n%s", err, c.said)
	}
}

func (c *child) stop(t *testing.T) {
	t.Helper()
	c.stdin.Close()
	<-c.ended
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the last child: %v\n%s", err, c.said)
	}
}
