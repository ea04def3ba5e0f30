package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// numbered makes n lines of which each is another: "host-07 000123".
func numbered(n int) []line {
	in := make([]line, n)
	for i := range in {
		in[i] = line{at: t0 + int64(i)*150, text: fmt.Sprintf("host-%02d %06d", i%13, i)}
	}
	return in
}

// followProgram passes every line on behind a repartition ("passed"), counts per
// host ("totals") and per host and window ("closed").
func followProgram(t testing.TB) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	s := b.From[string, string]("lines").
		SelectKey(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host }).
		Repartition(streams.Named("by-host"))
	s.To("passed")
	s.GroupByKey().Count(streams.Store("totals")).ToStream().To("totals")
	s.GroupByKey().Windowed(streams.Tumbling(windowMS*time.Millisecond)).
		Count(streams.Store("windows"), streams.EmitOnClose()).
		ToStream(func(k string, w streams.Window) string { return fmt.Sprintf("%s@%d", k, w.Start) }).To("closed")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// shortLived is a network that is cut at the n-th write to it from when left is set:
// a process that is killed there.
type shortLived struct {
	network
	left   atomic.Int64
	killed chan struct{} // closed then
}

func (s *shortLived) dial(ctx context.Context, proto, addr string) (net.Conn, error) {
	c, err := s.network.dial(ctx, proto, addr)
	if err != nil {
		return nil, err
	}
	return &shortConn{c, s}, nil
}

type shortConn struct {
	net.Conn
	of *shortLived
}

func (c *shortConn) Write(b []byte) (int, error) {
	if c.of.left.Add(-1) == 0 {
		c.of.cut()
		close(c.of.killed)
	}
	return c.Conn.Write(b)
}

// follow runs followProgram on a cluster, once: until it is done, or killed at the
// n-th write. It reports whether it came to the end.
func follow(t *testing.T, addr, guarantee string, in []line, n int64) bool {
	t.Helper()
	cfg := config(in, 3, 2)
	cfg.Log, cfg.InMemoryState, cfg.Guarantee = "kafka://"+addr, true, guarantee
	way := &shortLived{network: network{conns: map[net.Conn]bool{}}, killed: make(chan struct{})}
	cfg.Cluster.Dial, cfg.Cluster.Instance = way.dial, "one"
	e, err := engine.New(followProgram(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	way.left.Store(n)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-way.killed:
		cancel()
		e.Close() // ends what still runs; without a network it can do nothing
		<-done
		return false
	case err := <-done:
		if err := errors.Join(err, ctx.Err(), e.Close()); err != nil {
			t.Fatal(err)
		}
		return true
	}
}

// followed is what the program has written: how often each line was passed on, and
// the last count of each host and window.
type followed struct {
	passed         map[string]int
	totals, closed map[string]int64
}

func readFollowed(t *testing.T, addr string) followed {
	f := followed{map[string]int{}, map[string]int64{}, map[string]int64{}}
	clusterRead(t, addr, "passed", func(_, v []byte) { f.passed[string(v)]++ })
	clusterRead(t, addr, "totals", func(k, v []byte) { f.totals[string(k)] = int64(binary.BigEndian.Uint64(v)) })
	clusterRead(t, addr, "closed", func(k, v []byte) { f.closed[string(k)] = int64(binary.BigEndian.Uint64(v)) })
	return f
}

// judge says what is missing, which must be nothing, and how many lines were passed
// on more than once.
func (f followed) judge(t *testing.T, in []line) (repeated int) {
	t.Helper()
	totals, closed := map[string]int64{}, map[string]int64{}
	for _, l := range in {
		host, _, _ := strings.Cut(l.text, " ")
		totals[host]++
		closed[fmt.Sprintf("%s@%d", host, l.at-l.at%windowMS)]++
		switch n := f.passed[l.text]; {
		case n == 0:
			t.Errorf("line %q is lost", l.text)
		case n > 1:
			repeated++
		}
	}
	for host, n := range totals {
		if f.totals[host] < n {
			t.Errorf("%s: counted %d lines, expected %d or more", host, f.totals[host], n)
		}
	}
	for window, n := range closed {
		if f.closed[window] < n {
			t.Errorf("window %s: counted %d lines, expected %d or more", window, f.closed[window], n)
		}
	}
	return repeated
}

func (f followed) total() (n int64) {
	for _, v := range f.totals {
		n += v
	}
	return n
}

func TestAtLeastOnceWithoutAKillIsExact(t *testing.T) {
	addr, in := serveHere(t), numbered(4000)
	if !follow(t, addr, "at_least_once", in, 0) {
		t.Fatal("it did not end")
	}
	f := readFollowed(t, addr)
	if n := f.judge(t, in); n > 0 || f.total() != int64(len(in)) {
		t.Errorf("%d lines were passed on twice, and %d counted, expected %d once", n, f.total(), len(in))
	}
}

func TestAtLeastOnceLosesNothingOverKills(t *testing.T) {
	overKills(t, 6, func(int) string { return "at_least_once" })
}

// A program may change its guarantee between any two runs, also when it was killed
// in between: transactions that hang end, and no position is taken for another.
func TestGuaranteeMayChangeBetweenRuns(t *testing.T) {
	overKills(t, 6, func(life int) string { return []string{"exactly_once", "at_least_once"}[life%2] })
}

func overKills(t *testing.T, kills int, guarantee func(life int) string) {
	addr, in := serveHere(t), numbered(20_000)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("GUARANTEE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("GUARANTEE_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	killed := 0
	for life := 0; ; life++ {
		n := int64(0)
		if life < kills {
			n = 20 + r.Int64N(100)
		}
		if follow(t, addr, guarantee(life), in, n) {
			break
		}
		killed++
	}
	f := readFollowed(t, addr)
	repeated := f.judge(t, in)
	t.Logf("%d kills: of %d lines %d were passed on more than once; %d counted", killed, len(in), repeated, f.total())
	nothingHangs(t, addr, "lines", "passed", "app-by-host-repartition", "app-totals-changelog")
}

// nothingHangs checks that topics are stable to their ends.
func nothingHangs(t *testing.T, addr string, topics ...string) {
	t.Helper()
	log, err := kafka.Open(t.Context(), kafka.Config{Seeds: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	infos, err := log.Describe(t.Context(), topics)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Partitions == 0 {
			t.Fatalf("there is no topic %s", info.Name)
		}
		for p := range info.Partitions {
			tps := []record.TopicPartition{{Topic: info.Name, Partition: record.Partition(p)}}
			stable, err1 := log.Offsets(t.Context(), tps, logclient.At{Kind: logclient.AtStable})
			end, err2 := log.Offsets(t.Context(), tps, logclient.At{Kind: logclient.AtEnd})
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			if stable[0].Offset != end[0].Offset {
				t.Errorf("%s-%d: a transaction hangs: stable to %d of %d", info.Name, p, stable[0].Offset, end[0].Offset)
			}
		}
	}
}
