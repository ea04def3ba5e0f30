package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/badgerstore"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/embedded"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// The child of the kill -9 tests: a process that runs a topology over a kept
// directory, tells its progress on stdout, and dies when told to, either by its
// parent at any moment or by its own hand at a chosen place.

const (
	kill9Partitions = 6
	kill9Window     = time.Second
	kill9Grace      = 300 * time.Millisecond
)

// kill9Order is what the parent tells a child, as JSON in its environment.
type kill9Order struct {
	Dir string
	// Die is "" (the parent kills), "roll" (at a segment's creation) or
	// "checkpoint" (while entries go to Badger), once Arm input records are committed.
	Die string
	Arm int64
	Nth int  // which of those moments after Arm
	End bool // run to the end of the input and write the state to state.json
}

const kill9Env = "MILLSTREAM_KILL9_ORDER"

// reexec is this test binary with an order: it runs one test, which is a child's
// whole life.
func reexec(t *testing.T, test, env string, order any) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+string(text))
	return cmd
}

// kill9Topology has a repartition, a windowed store and a plain one.
func kill9Topology() (*topology.Topology, error) {
	b := streams.NewBuilder("kill9")
	kill9Chains(b, "")
	return b.Build()
}

// kill9Chains counts the topic in, by the first word of the value per window into
// closed, by key into updates; all topics with the prefix.
func kill9Chains(b *streams.Builder, prefix string) *streams.Stream[string, string] {
	in := b.From[string, string](prefix + "in").Peek(func(_ string, v string) { burn(v) })
	in.GroupBy(func(_ string, v string) string { return v[:strings.IndexByte(v, ' ')] }).
		Windowed(streams.Tumbling(kill9Window).Grace(kill9Grace).Retention(1000*time.Hour)).
		Count(streams.Store("windows"), streams.EmitOnClose()).
		ToStream(streams.Keyed).
		To(prefix + "closed")
	in.GroupByKey().
		Count(streams.Store("keys"), streams.EmitEveryUpdate()).
		ToStream().
		To(prefix + "updates")
	return in
}

var burnt atomic.Uint32

// burn spends some 25 microseconds, so that a life lasts several commits.
func burn(v string) {
	sum := sha256.Sum256([]byte(v[:8]))
	for range 250 {
		sum = sha256.Sum256(sum[:])
	}
	burnt.Store(uint32(sum[0]))
}

// TestKill9Child is the child's whole life; without an order it does nothing.
func TestKill9Child(t *testing.T) {
	text := os.Getenv(kill9Env)
	if text == "" {
		return // only a child of the tests below has an order
	}
	var o kill9Order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	if err := o.live(); err != nil {
		t.Fatal(err)
	}
}

// doom kills this process at the nth call of here once it is armed.
type doom struct {
	armed atomic.Bool
	left  atomic.Int64
}

func (d *doom) here() {
	if d != nil && d.armed.Load() && d.left.Add(-1) == 0 {
		fmt.Println("dying")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

func (o *kill9Order) live() (err error) {
	d := &doom{}
	d.left.Store(int64(o.Nth))
	fs, wrap := vfs.OS(), func(db state.DB) state.DB { return db }
	switch o.Die {
	case "roll":
		fs = rollFS{fs, d}
	case "checkpoint":
		wrap = func(db state.DB) state.DB { return checkpointDB{db, d} }
	}
	b, err := broker.Open(broker.Config{Dir: filepath.Join(o.Dir, "log"), FS: fs,
		TopicDefaults: map[string]string{"segment.bytes": "262144"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	db, err := badgerstore.Open(badgerstore.Config{Dir: filepath.Join(o.Dir, "state")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	topo, err := kill9Topology()
	if err != nil {
		return err
	}
	var e *engine.Engine
	cfg := engine.Config{Workers: 2, Partitions: kill9Partitions, CommitInterval: 10 * time.Millisecond,
		CheckpointInterval: 50 * time.Millisecond, Bounded: o.End}
	cfg.Hooks.Committed = func(_ string, _ time.Duration, err error) {
		if err == nil {
			done := committedInput(e)
			fmt.Println("at", done)
			d.armed.Store(o.Die != "" && done >= o.Arm)
		}
	}
	if e, err = engine.NewOn(topo, cfg, engine.Backing{Log: embedded.New(b), DB: wrap(db)}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.Run(context.Background()); err != nil {
		return err
	}
	return o.writeState(e)
}

// committedInput is how many records of the topic in are committed.
func committedInput(e *engine.Engine) (n int64) {
	for _, t := range e.State().Tasks {
		for _, p := range t.Positions {
			if p.Topic == "in" {
				n += p.Offset
			}
		}
	}
	return n
}

// kill9State is what the stores hold at the end.
type kill9State struct {
	Windows map[string]int64 // "key@start"
	Keys    map[string]int64
}

func readKill9State(e *engine.Engine) (kill9State, error) {
	s := kill9State{map[string]int64{}, map[string]int64{}}
	return s, errors.Join(
		engine.AllWindows(e, "windows", func(k string, w engine.WindowValue[int64]) bool {
			s.Windows[fmt.Sprintf("%s@%d", k, w.Start.UnixMilli())] = w.Value
			return true
		}),
		engine.All(e, "keys", func(k string, n int64) bool { s.Keys[k] = n; return true }))
}

func (o *kill9Order) writeState(e *engine.Engine) error {
	s, err := readKill9State(e)
	if err != nil {
		return err
	}
	out, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, "state.json"), out, 0o644)
}

// rollFS meets its doom around the creation of a segment.
type rollFS struct {
	vfs.FS
	doom *doom
}

func (fs rollFS) Create(name string) (vfs.File, error) {
	if strings.HasSuffix(name, ".log") {
		fs.doom.here()
	}
	f, err := fs.FS.Create(name)
	if strings.HasSuffix(name, ".log") {
		fs.doom.here()
	}
	return f, err
}

func (fs rollFS) SyncDir(name string) error {
	fs.doom.here()
	return fs.FS.SyncDir(name)
}

// checkpointDB meets its doom while a checkpoint's entries are written.
type checkpointDB struct {
	state.DB
	doom *doom
}

func (db checkpointDB) Checkpoint(t state.TaskKey, rec []byte, write func(state.Batch) error) error {
	return db.DB.Checkpoint(t, rec, func(b state.Batch) error {
		if err := write(doomedBatch{b, db.doom}); err != nil {
			return err
		}
		db.doom.here() // everything is written but the record
		return nil
	})
}

type doomedBatch struct {
	state.Batch
	doom *doom
}

func (b doomedBatch) Put(s state.StoreKey, key, value []byte) error {
	b.doom.here()
	return b.Batch.Put(s, key, value)
}
