package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/internal/peers"
)

// childEnv holds the arguments of a child: this test binary, run as the program.
const childEnv = "CASSANDRA_ETL_CHILD"

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		os.Exit(child(strings.Split(args, "\n")))
	}
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// child is the program with a word on stdout about each step that it has
// finished: "at N M", N records moved by any part, M of them into Cassandra.
func child(args []string) int {
	c, err := parseFlags(args, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var mu sync.Mutex
	var moved, sunk int64
	say := func(n, toCassandra int64) {
		mu.Lock()
		defer mu.Unlock()
		moved, sunk = moved+n, sunk+toCassandra
		fmt.Println("at", moved, sunk)
	}
	j := &job{c: c, std: stdio{os.Stdout, os.Stderr}, dir: c.dir, temp: c.dir == ""}
	j.hooks.Source = func(_ string, records, _ int64, _ error) { say(records, 0) }
	j.hooks.Written = func(_ string, records, _ int64) { say(records, 0) }
	j.hooks.Sink = func(_ string, records, _ int64, _ time.Duration, _ error) { say(records, records) }
	if err := j.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// life is one run of the child.
type life struct {
	out         []string // on stdout, but the progress
	err         bytes.Buffer
	killed      bool
	moved, sunk int64
	usage       *syscall.Rusage
}

// live runs the child. at is called with each word of its progress; it is killed
// when at says so.
func live(t *testing.T, args []string, at func(*life) (kill bool)) *life {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(args, "\n"))
	l := &life{}
	cmd.Stderr = &l.err
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // where the test gives up
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "at %d %d", &l.moved, &l.sunk); err != nil {
			l.out = append(l.out, lines.Text())
		} else if at(l) && !l.killed {
			l.killed = true
			cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	l.killed = status.Signaled() // else it was at its end before the kill came
	l.usage, _ = cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !l.killed && err != nil {
		t.Fatalf("cassandra-etl %q: %v\n%s", args, err, &l.err)
	}
	return l
}

// An order is moved so often: read, sent to its customer, enriched, sent to its
// product; then into Cassandra.
const (
	movesOfOrder = 4
	withSink     = 5
)

// killed runs the program with so many kills, each somewhere in its share of the
// records that are left to be moved, until it comes to its end. A life may move far
// more than its share (one commit can be as large as the input), and more than it
// had the time to tell, so the shares are dealt anew after each, and a life may end
// before its kill: then a new run has the kills that are left. args are a run's;
// compare looks at the last life of each.
func killed(t *testing.T, moves, kills int, args func(run int) []string, at func(*life), compare func(run int, last *life)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(moves), uint64(kills)))
	const runs = 10
	for run := 0; kills > 0; run++ {
		if run == runs {
			t.Fatalf("%d runs came to their end, and %d kills are left", runs, kills)
		}
		args, left := args(run), int64(moves)
		l := &life{killed: true}
		for l.killed {
			limit := int64(math.MaxInt64)
			if kills > 0 {
				share := max(left/int64(kills+1), 5)
				limit = share*3/5 + rng.Int64N(share*2/5)
			}
			l = live(t, args, func(l *life) bool {
				at(l)
				return l.moved >= limit
			})
			left -= l.moved
			if l.killed {
				kills--
			}
		}
		compare(run, l)
	}
}

func TestKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped with -short: the children are not instrumented; make test runs it")
	}
	const orders = 10_000
	files := generated(t, orders, 21)
	w := fold(t, files[1], files[3])
	killed(t, movesOfOrder*orders, 2, func(int) []string {
		return slices.Concat(files, []string{"-dir", t.TempDir(), "-out", "rows", "-o", "json"})
	}, func(*life) {}, func(_ int, l *life) {
		wantRows(t, rowsOf(t, l.out), w.rows(t))
		if got := lastLine(l.err.String()); got != w.tally {
			t.Errorf("tally %q, want %q", got, w.tally)
		}
	})
}

func TestIntegrationKillsOfJobAndCassandra(t *testing.T) {
	killBoth(t, 30_000, 5, 2)
}

func TestTortureKillsOfJobAndCassandra(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	killBoth(t, 500_000, 30, 10)
}

// killBoth kills the job and Cassandra so many times, spread over the run, and
// compares every column of every row with a fold over the files.
func killBoth(t *testing.T, orders, kills, cassandraKills int) {
	t.Helper()
	peers.NeedIntegration(t)
	node := peers.StartCassandra(t, peers.CassandraConfig{})
	files := generated(t, orders, 31)
	w := fold(t, files[1], files[3])
	began := time.Now()

	var done int64 // into Cassandra, by the lives before
	var last *life
	down, fallen, runs := make(chan error, 1), 0, 0
	down <- nil
	keyspace := func(run int) string { return fmt.Sprintf("torture%d", run) }
	killed(t, withSink*orders, kills, func(run int) []string {
		return slices.Concat(files, []string{"-dir", t.TempDir(), "-cassandra", node.Addr(), "-create-schema", "-keyspace", keyspace(run)})
	}, func(l *life) {
		if l != last && last != nil {
			done += last.sunk
		}
		last = l
		if fallen == cassandraKills || done+l.sunk < int64(orders)*int64(fallen+1)/int64(cassandraKills+2) {
			return
		}
		// The sinks may be quicker to see that it is up again.
		if err := <-down; err != nil {
			t.Fatalf("Cassandra did not come back: %v\n%s", err, node.LogTail(2000))
		}
		fallen++
		node.Kill()
		go func() { down <- node.Restart() }()
	}, func(run int, l *life) {
		runs++
		if err := <-down; err != nil {
			t.Fatalf("Cassandra did not come back: %v\n%s", err, node.LogTail(2000))
		}
		down <- nil
		if got := l.out[len(l.out)-1]; got != w.tally {
			t.Errorf("last line %q, want %q", got, w.tally)
		}
		compareCassandra(t, node.Addr(), keyspace(run), w)
	})
	if fallen != cassandraKills {
		t.Errorf("Cassandra was killed %d times, want %d", fallen, cassandraKills)
	}
	t.Logf("%d orders, %d kills of the job and %d of Cassandra in %d runs, in %v: %d rows equal in every column",
		orders, kills, fallen, runs, time.Since(began).Round(time.Second), len(w.orders)+len(w.sales))
}

// compareCassandra reads both tables whole.
func compareCassandra(t *testing.T, addr, keyspace string, w *want) {
	t.Helper()
	cluster := gocql.NewCluster(addr)
	cluster.Keyspace, cluster.Timeout, cluster.ConnectTimeout = keyspace, time.Minute, time.Minute
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	wrong := 0
	differ := func(format string, args ...any) {
		if wrong++; wrong <= 5 {
			t.Errorf(format, args...)
		}
	}

	left := map[string]wantOrder{}
	for _, o := range w.orders {
		left[o.id] = o
	}
	it := session.Query("SELECT customer, time, id, product, quantity, price_cents, customer_name, country FROM orders_by_customer").PageSize(5000).Iter()
	var o wantOrder
	var at time.Time
	var name, country *string
	for it.Scan(&o.customer, &at, &o.id, &o.product, &o.quantity, &o.price, &name, &country) {
		o.ms, o.name, o.country = at.UnixMilli(), text(name), text(country)
		if left[o.id] != o {
			differ("order %s: got %+v, want %+v", o.id, o, left[o.id])
		}
		delete(left, o.id)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		differ("order %s is missing", id)
	}

	days := maps.Clone(w.sales)
	it = session.Query("SELECT product, day, orders, quantity, revenue_cents, unknown_customers, revenue_by_country FROM daily_sales").PageSize(5000).Iter()
	var k wantDay
	for {
		var got wantSales
		if !it.Scan(&k.product, &at, &got.orders, &got.quantity, &got.cents, &got.unknown, &got.countries) {
			break
		}
		k.day = at.UTC().Format(time.DateOnly)
		if want := days[k]; want == nil || got.orders != want.orders || got.quantity != want.quantity || got.cents != want.cents ||
			got.unknown != want.unknown || !maps.Equal(got.countries, want.countries) {
			differ("daily sales %v: got %+v, want %+v", k, got, want)
		}
		delete(days, k)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	for k := range days {
		differ("daily sales %v are missing", k)
	}
	if wrong > 5 {
		t.Errorf("%d rows differ", wrong)
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// TestTortureMemory runs 5 million orders in a process of its own.
func TestTortureMemory(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	const orders, most = 5_000_000, 300 << 20
	args := generated(t, orders, 41)
	began := time.Now()
	l := live(t, args, func(*life) bool { return false })
	if got := l.out[len(l.out)-1]; !strings.HasPrefix(got, fmt.Sprintf("orders=%d ", orders)) {
		t.Errorf("last line %q", got)
	}
	rss := l.usage.Maxrss << 10
	t.Logf("%d orders: %.0f orders/s, %d MB of memory at most", orders, orders/time.Since(began).Seconds(), rss>>20)
	if rss >= most {
		t.Errorf("%d MB of memory, want less than %d", rss>>20, most>>20)
	}
}
