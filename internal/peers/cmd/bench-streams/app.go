package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/internal/sysloglines"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// app is one instance of the counting application, ours or that of Kafka
// Streams: what both are told, in the same words.
type app struct {
	Broker    string
	Name      string // of the application: the group
	Instance  string // name; "": none
	StateDir  string
	In, Out   string // topics
	Threads   int
	Commit    time.Duration
	Session   time.Duration // 0: the default
	Restarts  string        // at SIGTERM: "leave" the group, "remain", or "default"
	Profile   string
	isStreams bool
	log       string
	program   *peers.Program
}

// side is one of the two that are measured.
type side struct {
	name      string
	isStreams bool
}

// sides are measured in this order in each round.
func (b *bench) sides() []side {
	ours := side{"millstream", false}
	if b.profile != "" {
		return []side{ours}
	}
	return []side{{"kafka-streams", true}, ours}
}

var mark = []byte(sysloglines.Mark)

// topology is the measured program: the same verbs as in java/CountApp.java.
func (a *app) topology() (*topology.Topology, error) {
	b := streams.NewBuilder(a.Name)
	b.From[string, []byte](a.In).
		Filter(func(_ string, line []byte) bool { return bytes.Contains(line, mark) }).
		GroupByKey().
		Windowed(streams.Tumbling(time.Minute)).
		Count(streams.Store("counts")).
		ToStream(streams.Keyed).
		To(a.Out)
	return b.Build()
}

// runChild is our application; description is an app as JSON.
func runChild(ctx context.Context, description string) error {
	var a app
	if err := json.Unmarshal([]byte(description), &a); err != nil {
		return err
	}
	topo, err := a.topology()
	if err != nil {
		return err
	}
	if a.Profile != "" {
		f, err := os.Create(a.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println("starting", time.Now().UnixMilli())
	e, err := engine.New(topo, engine.Config{
		Log: "kafka://" + a.Broker, StateDir: a.StateDir, Workers: a.Threads, CommitInterval: a.Commit,
		Cluster: a.cluster(),
	})
	if err != nil {
		return err
	}
	err = e.Run(ctx)
	if cerr := e.Close(); err == nil {
		err = cerr
	}
	return err
}

func (a *app) cluster() engine.Cluster {
	return engine.Cluster{SessionTimeout: a.Session}
}

var startingAt = regexp.MustCompile(`(?m)^starting (\d+)$`)

// start starts the instance, anew after kill or stop, and tells when it began to
// look for its input: the start of its runtime (of Java's machine) is over then.
func (a *app) start(jars *peers.Kafka) (time.Time, error) {
	cmd, err := a.command(jars)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	a.program, err = peers.StartProgram(cmd, a.log, func(printed string) bool {
		m := startingAt.FindStringSubmatch(printed)
		if m != nil {
			ms, _ := strconv.ParseInt(m[1], 10, 64)
			at = time.UnixMilli(ms)
		}
		return m != nil
	}, time.Minute)
	return at, err
}

func (a *app) command(jars *peers.Kafka) (*exec.Cmd, error) {
	if !a.isStreams {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		description, err := json.Marshal(a)
		return exec.Command(self, "-child", string(description)), err
	}
	instance := a.Instance
	if instance == "" {
		instance = "-"
	}
	return jars.JavaProgram([]string{"-Xmx1G"}, "CountApp", a.Broker, a.Name, a.StateDir, a.In, a.Out,
		strconv.Itoa(a.Threads), ms(a.Commit), ms(a.Session), instance, a.Restarts)
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// bench holds what the measurements share.
type bench struct {
	options
	dir     string
	jars    *peers.Kafka
	kafka   *peers.KafkaBroker
	client  *client
	figures []figure
	apps    int // made so far
}

// newApp describes an application of its own, with a topic for its results.
func (b *bench) newApp(ctx context.Context, s side, in string) (*app, error) {
	b.apps++
	name := fmt.Sprintf("%s-%d", s.name, b.apps)
	a := &app{
		Broker: b.kafka.Addr(), Name: name, StateDir: filepath.Join(b.dir, name), In: in, Out: name + "-counts",
		Threads: b.threads, Commit: b.commit, Restarts: "default", isStreams: s.isStreams, log: filepath.Join(b.dir, name+".log"),
	}
	return a, b.client.create(ctx, a.Out)
}

// committed is how far the application's group has come in its input.
func (b *bench) committed(ctx context.Context, a *app) (map[int32]int64, error) {
	got, err := b.client.admin.FetchOffsets(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	at := map[int32]int64{}
	got.Each(func(o kadm.OffsetResponse) {
		if o.Topic == a.In && o.Err == nil {
			at[o.Partition] = o.At
		}
	})
	return at, nil
}
