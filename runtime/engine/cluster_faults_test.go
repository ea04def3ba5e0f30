package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

// Instances of one application on three brokers of Apache Kafka, while processes
// die, stand still or cannot reach each other: the output is the fold over the
// input, each record exactly once, and so is the state.

// faults is one application under faults. Its methods are for the test's goroutine.
type faults struct {
	t       *testing.T
	cluster *peers.KafkaCluster
	app     string
	dir     string
	running map[int]*peers.Process
	proxies map[int]*peers.Proxy
	in      *inflow
	out     *judge
	rnd     *rand.Rand
	began   time.Time
}

// fault is one thing that happens to an application that runs.
type fault struct {
	name      string
	instances int // that run before and after it
	strike    func(*faults)
}

var (
	killInstance = fault{"an instance is killed and replaced", 2, func(f *faults) {
		n := f.any()
		f.kill(n)
		f.flows("the others have taken over")
		f.start(n)
		f.hasTasks(n)
	}}
	killCoordinator = fault{"the broker that leads a transaction coordinator is killed", 2, func(f *faults) {
		b, err := f.cluster.TransactionCoordinator(f.t.Context(), fmt.Sprintf("%s-%s-worker-0", f.app, instanceNamed(f.any())))
		f.must(err)
		f.loseBroker(b, (*peers.KafkaBroker).Kill)
	}}
	zombie = fault{"an instance stands still beyond its session, and goes on", 2, func(f *faults) {
		n := f.any()
		f.running[n].Pause()
		f.flows("the others have taken over")
		seen := len(f.running[n].Output())
		f.running[n].Continue()
		f.await(fmt.Sprintf("instance %d is a member again", n), func() string { return hasTasks(f.running[n].Output()[seen:]) })
	}}
	otherFaults = []fault{
		{"an instance is killed and back at once", 2, func(f *faults) {
			n := f.any()
			f.kill(n)
			f.start(n)
			if f.rnd.IntN(2) == 0 {
				f.hasTasks(n)
			}
		}},
		{"an instance is killed while it starts", 2, func(f *faults) {
			n := f.any()
			f.kill(n)
			for range 3 {
				f.start(n)
				stage := []string{"RUN", "tasks 0", "assigned"}[f.rnd.IntN(3)]
				f.await(fmt.Sprintf("instance %d prints %q", n, stage), func() string {
					if !strings.Contains(f.running[n].Output(), stage) {
						return "not yet"
					}
					return ""
				})
				f.kill(n)
			}
			f.start(n)
			f.hasTasks(n)
		}},
		{"two instances are killed at once", 3, func(f *faults) {
			f.kill(1)
			f.kill(2)
			if f.rnd.IntN(2) == 0 {
				f.flows("the other has taken over")
			}
			f.start(1)
			f.start(2)
		}},
		{"a broker is killed", 2, func(f *faults) { f.loseBroker(f.anyBroker(), (*peers.KafkaBroker).Kill) }},
		{"a broker is restarted", 2, func(f *faults) { f.loseBroker(f.anyBroker(), (*peers.KafkaBroker).Stop) }},
		{"a broker stands still beyond its session", 2, func(f *faults) { f.loseBroker(f.anyBroker(), (*peers.KafkaBroker).Pause) }},
		{"all instances are restarted in turn", 3, func(f *faults) {
			for n := range 3 {
				f.stop(n)
				f.start(n)
				f.flows("it goes on")
			}
		}},
		{"from one instance to four to two", 1, func(f *faults) {
			for n := 1; n < 4; n++ {
				f.start(n)
			}
			for n := range 4 {
				f.hasTasks(n)
			}
			f.flows("four share the work")
			f.stop(3)
			f.stop(0)
			f.flows("two share the work")
			f.start(0)
			f.stop(1)
			f.stop(2)
		}},
		{"the network of an instance is cut", 2, func(f *faults) { f.loseNetwork((*peers.Proxy).Cut) }},
		{"the network of an instance is a black hole", 2, func(f *faults) { f.loseNetwork((*peers.Proxy).Blackhole) }},
		{"an instance does not hear the brokers", 2, func(f *faults) { f.loseNetwork((*peers.Proxy).Deafen) }},
	}
)

// Three of them, each once.
func TestIntegrationFaultsOnAKafkaCluster(t *testing.T) {
	cluster := peers.NeedKafkaCluster(t)
	for _, one := range []fault{killInstance, killCoordinator, zombie} {
		t.Run(one.name, func(t *testing.T) { underFaults(t, cluster, one, 1) })
	}
}

// All of them, each many times: ROUNDS, ten if that is not set.
func TestTortureFaultsOnAKafkaCluster(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	cluster := peers.NeedKafkaCluster(t)
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		rounds = n
	}
	for _, one := range append([]fault{killInstance, killCoordinator, zombie}, otherFaults...) {
		t.Run(one.name, func(t *testing.T) { underFaults(t, cluster, one, rounds) })
	}
}

// underFaults runs instances on a stream of input, lets the fault happen so often,
// and compares what came out.
func underFaults(t *testing.T, cluster *peers.KafkaCluster, what fault, rounds int) {
	f := newFaults(t, cluster)
	for n := range what.instances {
		f.start(n)
	}
	f.loadUsers()
	f.in.feed(25) // every 50 ms
	f.flows("it runs")
	for round := range rounds {
		began := time.Now()
		what.strike(f)
		f.flows("it goes on")
		t.Logf("%d: %s: all goes on after %v", round+1, what.name, time.Since(began).Round(10*time.Millisecond))
	}
	n := f.finish()
	t.Logf("%d records and the state of %d instances are as the fold has them, in %v", n, what.instances, time.Since(f.began).Round(100*time.Millisecond))
}

func newFaults(t *testing.T, cluster *peers.KafkaCluster) *faults {
	seed := rand.Uint64()
	f := &faults{t: t, cluster: cluster, app: fmt.Sprintf("faults-%x", seed&0xffffff), dir: t.TempDir(), running: map[int]*peers.Process{},
		proxies: map[int]*peers.Proxy{}, rnd: rand.New(rand.NewPCG(seed, 1)), began: time.Now()}
	seeds := strings.Split(cluster.Addrs(), ",")
	f.makeTopics(seeds)
	f.in, f.out = newInflow(t, seeds, f.app+"-"), newJudge(t, seeds, f.app+"-")
	t.Cleanup(func() { f.must(cluster.Heal()) }) // for who uses it next
	return f
}

func (f *faults) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *faults) admin(seeds []string) (*kadm.Client, func()) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	f.must(err)
	return kadm.NewClient(cl), cl.Close
}

func (f *faults) makeTopics(seeds []string) {
	adm, done := f.admin(seeds)
	defer done()
	var names []string
	for _, topic := range []string{"in", "orders", "users", "plain", "joined", "updates", "closed"} {
		names = append(names, f.app+"-"+topic)
	}
	forGood := "-1"
	answers, err := adm.CreateTopics(f.t.Context(), kill9Partitions, -1, map[string]*string{"retention.ms": &forGood}, names...)
	f.must(errors.Join(err, answers.Error()))
}

// loadUsers fills the table and waits until it is read: an order then finds its user.
func (f *faults) loadUsers() {
	n := f.in.loadUsers(f.t)
	adm, done := f.admin(strings.Split(f.cluster.Addrs(), ","))
	defer done()
	f.await("the table is read", func() string {
		offsets, err := adm.FetchOffsets(f.t.Context(), f.app)
		if err != nil {
			return err.Error()
		}
		read := int64(0)
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == f.app+"-users" {
				read += max(0, o.At)
			}
		})
		if read < int64(n) {
			return fmt.Sprintf("%d of %d records are read", read, n)
		}
		return ""
	})
}

// members says who is in the application's group; "" if nobody is.
func (f *faults) members() string {
	adm, done := f.admin(strings.Split(f.cluster.Addrs(), ","))
	defer done()
	groups, err := adm.DescribeGroups(f.t.Context(), f.app)
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, g := range groups {
		for _, m := range g.Members {
			names = append(names, m.MemberID)
		}
	}
	return strings.Join(names, ", ")
}

func instanceNamed(n int) string { return fmt.Sprintf("instance-%d", n) }

func (f *faults) order(n int) faultsOrder {
	return faultsOrder{App: f.app, Brokers: f.cluster.Addrs(), Instance: instanceNamed(n), Dir: filepath.Join(f.dir, fmt.Sprint(n)), Standbys: int(f.rnd.UintN(2))}
}

// start starts instance n, in its first life or a later one, behind a network of its own.
func (f *faults) start(n int) {
	f.t.Helper()
	if f.proxies[n] == nil {
		f.proxies[n] = peers.StartProxy(f.t, strings.Split(f.cluster.Addrs(), ",")...)
	}
	o := f.order(n)
	o.Via = f.proxies[n].Via()
	f.running[n] = peers.StartProcess(f.t, o.Instance, reexec(f.t, "TestFaultsChild", faultsEnv, o))
}

func (f *faults) kill(n int) {
	f.running[n].Kill()
	delete(f.running, n)
}

// stop ends instance n as an operator does, which it must do without an error.
func (f *faults) stop(n int) {
	f.t.Helper()
	p := f.running[n]
	delete(f.running, n)
	if !p.Stop() {
		f.t.Fatalf("instance %d did not stop:\n%s", n, lastLines(p.Output()))
	}
}

// any is an instance that runs.
func (f *faults) any() int {
	var running []int
	for n := range f.running {
		running = append(running, n)
	}
	slices.Sort(running)
	return running[f.rnd.IntN(len(running))]
}

func (f *faults) anyBroker() *peers.KafkaBroker {
	return f.cluster.Brokers()[f.rnd.IntN(len(f.cluster.Brokers()))]
}

// loseBroker lets all go on without a broker, and with it again.
func (f *faults) loseBroker(b *peers.KafkaBroker, strike func(*peers.KafkaBroker)) {
	f.t.Helper()
	strike(b)
	f.flows(fmt.Sprintf("it goes on without broker %d", b.ID()))
	f.must(f.cluster.Heal())
}

// loseNetwork takes an instance's network until the others have its tasks.
func (f *faults) loseNetwork(strike func(*peers.Proxy)) {
	f.t.Helper()
	n := f.any()
	strike(f.proxies[n])
	f.flows("the others have taken over")
	seen := len(f.running[n].Output())
	f.proxies[n].Heal()
	f.flows("it goes on")
	f.await(fmt.Sprintf("instance %d is a member again", n), func() string { return hasTasks(f.running[n].Output()[seen:]) })
}

// hasTasks waits until instance n runs tasks.
func (f *faults) hasTasks(n int) {
	f.t.Helper()
	f.await(fmt.Sprintf("instance %d has tasks", n), func() string { return hasTasks(f.running[n].Output()) })
}

// hasTasks looks for the last number of tasks that a child has told.
func hasTasks(output string) string {
	told, n := "none", 0
	for line := range strings.Lines(output) {
		if _, err := fmt.Sscanf(line, "tasks %d", &n); err == nil {
			told = line
		}
	}
	if n == 0 {
		return "tasks told: " + told
	}
	return ""
}

// flows waits until everything that is in the input by now has come out, and some
// that was not yet.
func (f *faults) flows(what string) {
	f.t.Helper()
	before := f.in.written()
	var written map[string]int
	f.await("more is in the input", func() string {
		written = f.in.written()
		for p := range kill9Partitions {
			if in := tpKey("in", int32(p)); written[in] <= before[in] {
				return fmt.Sprintf("%s has %d records", in, written[in])
			}
		}
		return ""
	})
	f.await(what, func() string { return f.out.behind(written) })
}

// await waits until missing says "". It gives up after two minutes, when an
// instance has ended by itself, and when the output is wrong already.
func (f *faults) await(what string, missing func() string) {
	f.t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := missing()
		if left == "" {
			return
		}
		for n, p := range f.running {
			if !p.Alive() {
				f.t.Fatalf("while waiting until %s: instance %d ended by itself:\n%s", what, n, lastLines(p.Output()))
			}
		}
		if problems := f.out.found(); len(problems) > 0 {
			f.t.Fatalf("while waiting until %s:\n%s", what, strings.Join(problems, "\n"))
		}
		select {
		case <-tick.C:
		case <-limit:
			for _, p := range f.running {
				f.t.Logf("%s:\n%s", p.Name(), p.Dump())
			}
			f.t.Fatalf("after two minutes still not: %s (%s)", what, left)
		case <-f.t.Context().Done():
			f.t.Fatal(context.Cause(f.t.Context()))
		}
	}
}

func lastLines(output string) string { return output[max(0, len(output)-3000):] }

// finish ends the input, waits until all of it has come out, stops the instances,
// and compares output and state with the fold. It returns the number of records.
func (f *faults) finish() (n int) {
	f.t.Helper()
	n = f.in.finish(f.t)
	written := f.in.written()
	f.await("all has come out", func() string { return f.out.complete(written, n) })
	var kept []int
	for i := range f.running {
		kept = append(kept, i)
		f.stop(i)
	}
	f.await("all have left the group", f.members)
	for _, p := range f.out.verdict(written, n) {
		f.t.Error(p)
	}
	slices.Sort(kept)
	kept = kept[:1]
	for _, i := range append(kept, 99) { // the last one has nothing but the changelogs
		o := f.order(i)
		o.Tasks, o.Standbys = faultsTasks, 0
		if _, err := os.Stat(o.Dir); i != 99 && errors.Is(err, fs.ErrNotExist) {
			f.t.Errorf("instance %d has left no state in %s", i, o.Dir)
		}
		p := peers.StartProcess(f.t, fmt.Sprintf("end-of-%s", o.Instance), reexec(f.t, "TestFaultsChild", faultsEnv, o))
		select {
		case <-p.Ended():
		case <-time.After(2 * time.Minute):
			f.t.Fatalf("the state of instance %d cannot be read:\n%s", i, lastLines(p.Output()))
		}
		for _, problem := range stateProblems(o.Dir, n, f.in.users) {
			f.t.Errorf("state of instance %d: %s", i, problem)
		}
	}
	return n
}
