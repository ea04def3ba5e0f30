package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// The child of the fault tests on clusters: an instance of an application, in a
// process of its own.

const (
	faultsEnv = "MILLSTREAM_FAULTS_ORDER"
	// faultsSession is the shortest that Kafka's brokers allow by default.
	faultsSession = 6 * time.Second
	// faultsTasks are all tasks: of the chains, of the windows behind them, of the join.
	faultsTasks = 3 * kill9Partitions
)

// faultsOrder is what the parent tells a child, as JSON in its environment.
type faultsOrder struct {
	App      string // and the prefix of its topics
	Brokers  string
	Via      map[string]string // what to dial instead of the brokers' addresses; nil: them
	Instance string
	Dir      string // its state
	Standbys int
	// Tasks: once so many tasks run here, write their state to Dir/state.json, and end.
	Tasks int
}

// topology is that of the kill tests; plain passes each record on; a join with a
// table has inputs of its own, because its tasks' time is the lesser of the two.
func (o *faultsOrder) topology() (*topology.Topology, error) {
	b := streams.NewBuilder(o.App)
	prefix := o.App + "-"
	number := func(_ string, v string) string { return strings.Fields(v)[1] }
	kill9Chains(b, prefix).MapValues(number).To(prefix + "plain")
	users := b.Table[string, string](prefix+"users", streams.Store("users"))
	b.From[string, string](prefix+"orders").
		Join(users, func(k, v, region string) string {
			region, _, _ = strings.Cut(region, " ")
			return number(k, v) + " " + region
		}).
		To(prefix + "joined")
	return b.Build()
}

// faultsState is what the stores hold at the end.
type faultsState struct {
	kill9State
	Users map[string]string
}

// TestFaultsChild is the child's whole life; without an order it does nothing.
func TestFaultsChild(t *testing.T) {
	text := os.Getenv(faultsEnv)
	if text == "" {
		return // only a child of the tests below has an order
	}
	var o faultsOrder
	if err := errors.Join(json.Unmarshal([]byte(text), &o), o.live()); err != nil {
		t.Fatal(err)
	}
}

func (o *faultsOrder) live() error {
	topo, err := o.topology()
	if err != nil {
		return err
	}
	cfg := engine.Config{
		Log: "kafka://" + o.Brokers, StateDir: o.Dir, Workers: 2, Partitions: kill9Partitions, Standbys: o.Standbys,
		CommitInterval: 50 * time.Millisecond, CheckpointInterval: 200 * time.Millisecond,
		Cluster: engine.Cluster{Instance: o.Instance, SessionTimeout: faultsSession, TransactionTimeout: 20 * time.Second},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if o.Via != nil {
		cfg.Cluster.Dial = peers.DialVia(o.Via)
	}
	e, err := engine.New(topo, cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	told := make(chan error, 1)
	go func() {
		told <- o.follow(ctx, e)
		if o.Tasks > 0 {
			stop()
		}
	}()
	err = e.Run(ctx)
	stop()
	return errors.Join(err, <-told, e.Close())
}

// follow prints the number of tasks that run here whenever it is another. It
// returns when ctx ends, or with the state written.
func (o *faultsOrder) follow(ctx context.Context, e *engine.Engine) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for told := -1; ; {
		if n := len(e.State().Tasks); n != told {
			told = n
			fmt.Printf("\ntasks %d\n", n)
		}
		if o.Tasks > 0 && told == o.Tasks && e.Ready() == nil {
			if err := o.writeState(e); !errors.Is(err, engine.ErrRestoring) {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *faultsOrder) writeState(e *engine.Engine) error {
	s := faultsState{Users: map[string]string{}}
	var err error
	if s.kill9State, err = readKill9State(e); err != nil {
		return err
	}
	if err := engine.All(e, "users", func(k, v string) bool { s.Users[k] = v; return true }); err != nil {
		return err
	}
	out, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, "state.json"), out, 0o644)
}
