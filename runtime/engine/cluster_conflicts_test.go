package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// capture keeps what is logged.
type capture struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *capture) logger() *slog.Logger { return slog.New(slog.NewTextHandler(c, nil)) }

// Of two processes with one instance name the earlier ends, with an error that says
// why, and the later goes on: nothing is lost or repeated.
func TestOfTwoProcessesWithOneInstanceNameTheEarlierEnds(t *testing.T) {
	all := newShelf()
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(int) engine.Config {
		cfg := sharedConfig()
		cfg.Cluster.Instance, cfg.Cluster.SessionTimeout = "twin", 10*time.Second
		cfg.Sources = []engine.Source{{Name: "shelf", Topic: "in", Source: &shelfSource{shelf: all}}}
		return cfg
	})
	topicOn(t, f.log(), "in", 4)
	reads := func(n int, want int64) {
		t.Helper()
		f.eventually(fmt.Sprint("instance ", n, " reads"), func() bool { return f.running[n].State().Sources[0].Records >= want })
	}
	all.put(100)
	f.start(0)
	reads(0, 100)
	earlier := f.running[0]
	delete(f.running, 0)
	f.start(1)
	select {
	case <-earlier.done:
	case <-time.After(time.Minute):
		t.Fatalf("the earlier process goes on: %+v", earlier.State())
	}
	err := earlier.err
	for _, w := range []string{"group app", "another process", "instance name twin", "Cluster.Instance"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, expected it to say %q", err, w)
		}
	}
	if !errors.Is(err, logclient.ErrFenced) {
		t.Errorf("%v, expected ErrFenced", err)
	}
	if err := earlier.Close(); err != nil {
		t.Error(err)
	}
	all.put(100)
	reads(1, 100)
	f.stopAll()
	valuesOnce(t, f.addr, "in", 200)
}

// A program that is another one is refused under a name that is taken, before it
// processes anything, and those that run go on.
func TestAnotherProgramUnderTheSameNameIsRefused(t *testing.T) {
	f := newFleet(t, serveHere(t), func() *topology.Topology { return countProgram(t) }, func(int) engine.Config {
		cfg := config(lines(500, 3), 2, 1)
		cfg.Bounded, cfg.InMemoryState = false, true
		return cfg
	})
	in := f.start(0)
	f.eventually("it runs", func() bool { return in.Ready() == nil })
	other := func() *topology.Topology {
		b := streams.NewBuilder("app")
		b.From[string, string]("lines").GroupByKey().Windowed(streams.Tumbling(time.Hour)).Count(streams.Store("counts")).
			ToStream(func(k string, w streams.Window) string { return k }).To("out")
		topo, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return topo
	}
	cfg := sharedConfig()
	cfg.Log = "kafka://" + f.addr
	e, err := engine.New(other(), cfg)
	if err == nil {
		e.Close()
	}
	var changed *engine.ChangedError
	if !errors.As(err, &changed) || changed.App != "app" || !strings.Contains(err.Error(), "counts") || !strings.Contains(err.Error(), "new application name") {
		t.Errorf("%v, expected a ChangedError that names the application, the store and what to do", err)
	}
	if strings.Contains(err.Error(), "directory") {
		t.Errorf("there is no directory on a cluster: %v", err)
	}
	if err := in.Ready(); err != nil {
		t.Errorf("the one that ran is disturbed: %v", err)
	}
}

// Somebody else opens a transactional id of a program that runs. It is fenced, opens
// the id anew, and its output is exact; the log names the id.
func TestAForeignProducerWithOurTransactionalIDDisturbsNothing(t *testing.T) {
	all := newShelf()
	var said capture
	f := newFleet(t, serveHere(t), func() *topology.Topology { return passing(t, "else") }, func(int) engine.Config {
		cfg := sharedConfig()
		cfg.Cluster.Instance = "one"
		cfg.Logger = said.logger()
		cfg.Sources = []engine.Source{{Name: "shelf", Topic: "in", Source: &shelfSource{shelf: all}}}
		return cfg
	})
	log := f.log()
	topicOn(t, log, "in", 4)
	in := f.start(0)
	for round := range 3 {
		all.put(100)
		f.eventually("the source has read", func() bool { return in.State().Sources[0].Records >= int64(100*(round+1)) })
		w, err := log.Writer(t.Context(), "app-@@source@shelf", logclient.WriterConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all.put(100)
	f.eventually("the source has read all", func() bool { return in.State().Sources[0].Records >= 400 })
	f.stopAll()
	valuesOnce(t, f.addr, "in", 400)
	if !strings.Contains(said.String(), "app-@@source@shelf") {
		t.Errorf("the log does not name the transactional id: %s", said.String())
	}
}

// What does not fit into a topic is told with the record's key, its size, the topic's
// limit and the setting; nothing of its transaction is visible.
func TestARecordThatATopicDoesNotTakeIsNamed(t *testing.T) {
	addr := serveHere(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	limit := "2000"
	if r, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &limit}, "out"); errors.Join(err, r.Err) != nil {
		t.Fatal(err, r.Err)
	}
	b := streams.NewBuilder("app")
	b.From[string, string]("lines").
		Map(func(_, v string) (string, string) { return v, strings.Repeat("x", len(v)*300) }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config([]line{{at: t0, text: "tiny"}, {at: t0 + 1, text: "the long one"}}, 1, 1)
	cfg.Log, cfg.InMemoryState = "kafka://"+addr, true
	e, err := engine.New(topo, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = errors.Join(e.Run(ctx), ctx.Err(), e.Close())
	var large *logclient.RecordTooLargeError
	if !errors.As(err, &large) || large.Limit != 2000 || large.TopicPartition.Topic != "out" {
		t.Errorf("%v, expected a RecordTooLargeError", err)
	}
	for _, w := range []string{`"the long one"`, "out-0", "2000 bytes", "max.message.bytes"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, expected it to say %q", err, w)
		}
	}
	t.Log(err)
	clusterRead(t, addr, "out", func(k, _ []byte) { t.Errorf("out has a record of the transaction: %s", k) })
}
