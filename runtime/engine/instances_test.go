package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
	"github.com/millstream-io/millstream/streams/topology"
)

// serveHere is `millstream serve` within the test's process, until the test ends;
// groups deal out at once and short sessions are allowed.
func serveHere(t testing.TB) (addr string) {
	t.Helper()
	return serveAs(t, broker.Config{
		Flush: broker.FlushOS, TickInterval: 20 * time.Millisecond,
		Properties: map[string]string{"group.min.session.timeout.ms": "100"},
	}, wire.Listener{}, wire.Security{})
}

// serveAs is serveHere of another kind: log in a directory of its own, listener on
// a port that is free.
func serveAs(t testing.TB, log broker.Config, l wire.Listener, security wire.Security) (addr string) {
	t.Helper()
	log.Dir, log.GroupInitialDelay, l.Addr = t.TempDir(), -1, "127.0.0.1:0"
	b, err := broker.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.New(wire.Config{Broker: b, Listeners: []wire.Listener{l}, Security: security})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, b.Close()); err != nil {
			t.Error(err)
		}
	})
	return s.Addrs()[0].String()
}

// fleet runs instances of one application, each an engine with a state directory
// of its own, on one cluster. Its methods are for the test's goroutine.
type fleet struct {
	t      testing.TB
	addr   string
	dir    string
	topo   func() *topology.Topology
	config func(n int) engine.Config // of instance n; Log and StateDir are filled in
	quiet  bool                      // logs go nowhere

	running map[int]*instance
}

// instance is one life of an instance.
type instance struct {
	*engine.Engine
	network *network
	cancel  context.CancelFunc
	done    chan struct{} // closed when Run has returned
	err     error         // of Run, once done
}

// network is the way of one instance to the brokers, which can be cut.
type network struct {
	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func (n *network) dial(ctx context.Context, proto, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, errors.New("the test has cut the network")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, proto, addr) // on loopback: at once
	if err == nil {
		n.conns[c] = true
	}
	return c, err
}

// cut ends every connection, and there are no new ones until mend.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for c := range n.conns {
		c.Close()
	}
	clear(n.conns)
}

func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

// newFleet makes a fleet without instances. At the test's end those that run are
// stopped, which must not fail.
func newFleet(t testing.TB, addr string, topo func() *topology.Topology, config func(n int) engine.Config) *fleet {
	f := &fleet{t: t, addr: addr, dir: t.TempDir(), topo: topo, config: config, running: map[int]*instance{}}
	t.Cleanup(f.stopAll)
	return f
}

// start makes and runs instance n: a new one, or the same again after stop, with
// the state that it left.
func (f *fleet) start(n int) *instance {
	f.t.Helper()
	if f.running[n] != nil {
		f.t.Fatalf("instance %d runs already", n)
	}
	cfg := f.config(n)
	cfg.Log = "kafka://" + f.addr
	if !cfg.InMemoryState {
		cfg.StateDir = filepath.Join(f.dir, fmt.Sprint(n))
	}
	if cfg.Logger == nil && !f.quiet {
		cfg.Logger = slog.New(slog.NewTextHandler(logTo{f.t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("instance", n)
	}
	way := &network{conns: map[net.Conn]bool{}}
	cfg.Cluster.Dial = way.dial
	e, err := engine.New(f.topo(), cfg)
	if err != nil {
		f.t.Fatalf("instance %d: %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &instance{Engine: e, network: way, cancel: cancel, done: make(chan struct{})}
	f.running[n] = in
	go func() {
		defer close(in.done)
		in.err = e.Run(ctx)
	}()
	return in
}

// stop ends instance n as a signal would, and waits until it has.
func (f *fleet) stop(n int) {
	f.t.Helper()
	in := f.running[n]
	in.cancel()
	if err := f.wait(n); err != nil {
		f.t.Errorf("instance %d: %v", n, err)
	}
}

// wait waits until instance n has ended and closes it. It returns what Run returned.
func (f *fleet) wait(n int) error {
	f.t.Helper()
	in := f.running[n]
	select {
	case <-in.done:
	case <-time.After(time.Minute):
		f.t.Fatalf("instance %d did not end within a minute: %+v", n, in.State())
	}
	delete(f.running, n)
	if err := in.Close(); err != nil {
		f.t.Errorf("close instance %d: %v", n, err)
	}
	return in.err
}

// kill ends instance n without a good-bye: the brokers hear nothing of it any
// more. What its Run returns is of no interest.
func (f *fleet) kill(n int) {
	f.t.Helper()
	in := f.running[n]
	in.network.cut()
	in.Crash()
	f.wait(n)
}

func (f *fleet) stopAll() {
	for _, in := range f.running {
		in.cancel()
	}
	for n := range f.running {
		f.stop(n)
	}
}

// log opens the cluster for the test itself, until the test ends.
func (f *fleet) log() *kafka.Log {
	f.t.Helper()
	log, err := kafka.Open(context.Background(), kafka.Config{Seeds: []string{f.addr}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { log.Close() })
	return log
}

// eventually waits until holds; it gives up after a minute, or when an instance
// has ended with an error.
func (f *fleet) eventually(what string, holds func() bool) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			for n, in := range f.running {
				f.t.Logf("instance %d: %+v", n, in.State())
			}
			f.t.Fatalf("after a minute still not: %s", what)
		}
		for n, in := range f.running {
			select {
			case <-in.done:
				if in.err != nil {
					f.t.Fatalf("while waiting until %s: instance %d ended: %v", what, n, in.err)
				}
			default:
			}
		}
	}
}

// writeTo appends values to a partition in a transaction of its own.
func writeTo(t testing.TB, log logclient.Log, topic string, p record.Partition, values ...string) {
	t.Helper()
	w, err := log.Writer(t.Context(), logclient.TxnID(fmt.Sprintf("test-%s-%d", topic, p)), logclient.WriterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, v := range values {
		if err := w.Append(record.TopicPartition{Topic: topic, Partition: p}, &record.View{Key: []byte(v), Value: []byte(v), Timestamp: t0}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), nil, logclient.Generation{}); err != nil {
		t.Fatal(err)
	}
}

// topicOn makes a topic that does not exist yet.
func topicOn(t testing.TB, log logclient.Log, topic string, partitions int32) {
	t.Helper()
	if _, err := log.Ensure(t.Context(), []logclient.TopicSpec{{Name: topic, Partitions: partitions, Configs: map[string]string{"retention.ms": "-1"}}}); err != nil {
		t.Fatal(err)
	}
}

// logTo is an io.Writer of a test's log, until the test is over.
type logTo struct{ t testing.TB }

var logging sync.Mutex

func (l logTo) Write(b []byte) (int, error) {
	logging.Lock()
	defer logging.Unlock()
	l.t.Log(string(b[:len(b)-1]))
	return len(b), nil
}

// One instance of an application on a cluster in the test's process does what the
// program does anywhere.
func TestAFleetOfOneGivesTheProgramsOutput(t *testing.T) {
	in := lines(2000, 21)
	f := newFleet(t, serveHere(t), func() *topology.Topology { return countProgram(t) }, func(int) engine.Config {
		return config(in, 3, 2)
	})
	f.start(0)
	if err := f.wait(0); err != nil {
		t.Fatal(err)
	}
	same(t, countsOn(t, f.addr, "out"), fold(in))
}

// countsOn reads a topic of counts on a cluster; a key that occurs twice is reported.
func countsOn(t *testing.T, addr, topic string) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	clusterRead(t, addr, topic, func(k, v []byte) {
		if _, twice := got[string(k)]; twice {
			t.Errorf("%s: window %s was emitted twice", topic, k)
		}
		got[string(k)] = int64(binary.BigEndian.Uint64(v))
	})
	return got
}
