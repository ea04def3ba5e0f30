package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// doors are the HTTP servers of a fleet's instances.
type doors struct {
	servers []*httptest.Server
	inside  []atomic.Pointer[engine.Engine]
	asked   []atomic.Int64 // questions of other instances
}

func newDoors(t *testing.T, n int) *doors {
	d := &doors{inside: make([]atomic.Pointer[engine.Engine], n), asked: make([]atomic.Int64, n)}
	for i := range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/raw/") {
				d.asked[i].Add(1)
			}
			if e := d.inside[i].Load(); e != nil {
				e.StoresHandler().ServeHTTP(w, r)
				return
			}
			http.Error(w, "no engine", http.StatusNotFound)
		}))
		t.Cleanup(s.Close)
		d.servers = append(d.servers, s)
	}
	return d
}

func (d *doors) door(i int) string { return d.servers[i].Listener.Addr().String() }

// asking is a fleet of two instances of the program of queried, and what its
// stores shall hold.
type asking struct {
	*fleet
	*doors
	hosts map[string]int64
}

const askingHosts, askingPartitions = 24, 6

// newAsking starts the first instance with all the input processed, then the
// second, and returns when each runs tasks.
func newAsking(t *testing.T, topo func() *topology.Topology, change func(n int, cfg *engine.Config)) *asking {
	t.Helper()
	a := &asking{doors: newDoors(t, 2), hosts: map[string]int64{}}
	a.fleet = newFleet(t, serveHere(t), topo, func(n int) engine.Config {
		cfg := engine.Config{Workers: 2, Partitions: askingPartitions, CommitInterval: 5 * time.Millisecond, Advertise: a.door(n)}
		cfg.Cluster.SessionTimeout = time.Second
		if change != nil {
			change(n, &cfg)
		}
		return cfg
	})
	a.quiet = true
	log := a.log()
	topicOn(t, log, "lines", askingPartitions)
	for p := range askingPartitions {
		var values []string
		for i := range askingHosts {
			for n := range i + 1 {
				values = append(values, fmt.Sprintf("host-%d line %d %d", i, p, n))
				a.hosts[fmt.Sprintf("host-%d", i)]++
			}
		}
		writeTo(t, log, "lines", record.Partition(p), values...)
	}
	first := a.start(0)
	a.inside[0].Store(first.Engine)
	a.eventually("the first instance has counted everything", func() bool { return a.complete(0) })
	a.inside[1].Store(a.start(1).Engine)
	a.eventually("both instances run tasks with the store", func() bool {
		return len(a.owners(0)) == 2 && a.complete(0)
	})
	return a
}

// complete reports whether instance n answers with every host's count.
func (a *asking) complete(n int) bool {
	got := map[string]int64{}
	err := engine.All(a.running[n], "hosts", func(k string, v visits) bool { got[k] = v.Lines; return true })
	return err == nil && fmt.Sprint(got) == fmt.Sprint(a.hosts)
}

// owners are the instances that have tasks, by the answers that n gets.
func (a *asking) owners(n int) map[string]bool {
	q := a.running[n].Query(context.Background())
	found := map[string]bool{}
	if err := engine.All(q, "hosts", func(string, visits) bool { return true }); err != nil {
		return nil
	}
	for _, x := range q.Answers() {
		found[x.Instance] = true
	}
	return found
}

// Each instance answers for the whole application, wherever the key is; entries
// come in the same order from each, and every answer says what it reflects.
func TestEveryInstanceAnswersForAll(t *testing.T) {
	a := newAsking(t, func() *topology.Topology { return queried(t) }, nil)
	var orders [2][]string
	for n := range 2 {
		e := a.running[n]
		by := map[string]int{}
		for host, want := range a.hosts {
			q := e.Query(t.Context())
			v, ok, err := engine.Get[string, visits](q, "hosts", host)
			if err != nil || !ok || v.Lines != want {
				t.Errorf("instance %d, %s: %d %v %v, want %d", n, host, v.Lines, ok, err, want)
			}
			if len(q.Answers()) != 1 {
				t.Fatalf("instance %d, %s: answers %+v, want one task's", n, host, q.Answers())
			}
			by[q.Answers()[0].Instance]++
			if ps := q.Answers()[0].Positions; len(ps) == 0 || ps[0].Offset == 0 || !strings.Contains(ps[0].Topic, "repartition") {
				t.Errorf("instance %d, %s: positions %+v", n, host, ps)
			}
			h := askHTTP(t, a.servers[n].URL, "/stores/hosts/get", "key", host)
			var over visits
			if json.Unmarshal(h.Value, &over); over != v || len(h.Tasks) != 1 || h.Tasks[0].Instance != q.Answers()[0].Instance {
				t.Errorf("instance %d, %s over HTTP: %s, want %+v", n, host, h.body, v)
			}
			at := streams.At(host, time.UnixMilli(t0))
			if w, ok, err := engine.Get[string, int64](e, "windows", at); err != nil || !ok || w != want {
				t.Errorf("instance %d, %s in its window: %d %v %v, want %d", n, host, w, ok, err, want)
			}
			ws, err := engine.Fetch[string, int64](e, "windows", host, time.UnixMilli(0), time.UnixMilli(t0+1))
			if err != nil || len(ws) != 1 || ws[0].Value != want {
				t.Errorf("instance %d, %s: windows %v %v, want one with %d", n, host, ws, err, want)
			}
		}
		if len(by) != 2 {
			t.Errorf("instance %d: answers by %v, want both instances", n, by)
		}
		// The task that has a key is sure, so a key that is nowhere costs one question at most.
		before := a.asked[1-n].Load()
		if v, ok, err := engine.Get[string, visits](e, "hosts", "nobody"); ok || err != nil {
			t.Errorf("instance %d, nobody: %+v %v %v", n, v, ok, err)
		}
		if more := a.asked[1-n].Load() - before; more > 1 {
			t.Errorf("instance %d asked %d times for a key that is nowhere", n, more)
		}
		engine.All(e, "hosts", func(k string, _ visits) bool { orders[n] = append(orders[n], k); return true })
		var whole []string
		for _, entry := range askHTTP(t, a.servers[n].URL, "/stores/hosts/all").Entries {
			whole = append(whole, strings.Trim(string(entry.Key), `"`))
		}
		if !slices.Equal(whole, orders[n]) {
			t.Errorf("instance %d: over HTTP %v, in Go %v", n, whole, orders[n])
		}
		sum := int64(0)
		if err := engine.AllWindows(e, "windows", func(_ string, w engine.WindowValue[int64]) bool { sum += w.Value; return true }); err != nil || sum != askingPartitions*askingHosts*(askingHosts+1)/2 {
			t.Errorf("instance %d: %d lines in windows, %v", n, sum, err)
		}
		ps, err := e.Positions("hosts")
		if err != nil || len(ps) != askingPartitions {
			t.Errorf("instance %d: positions %v %v, want %d", n, ps, err, askingPartitions)
		}
	}
	if !slices.Equal(orders[0], orders[1]) || len(orders[0]) != askingHosts {
		t.Errorf("entries in order\n%v\n%v", orders[0], orders[1])
	}
	stopped := 0
	if err := engine.All(a.running[0], "hosts", func(string, visits) bool { stopped++; return stopped < 5 }); err != nil || stopped != 5 {
		t.Errorf("a scan that was to stop after 5 entries gave %d, %v", stopped, err)
	}
}

// An instance that does not answer is named; what runs elsewhere is answered all
// the same, and once the group has dealt its tasks to others, everything is.
func TestAnUnreachableOwnerIsNamed(t *testing.T) {
	t.Parallel() // it waits most of the time
	a := newAsking(t, func() *topology.Topology { return queried(t) }, nil)
	a.servers[1].Close()
	answered, unreachable := 0, 0
	for host, want := range a.hosts {
		v, ok, err := engine.Get[string, visits](a.running[0], "hosts", host)
		var u *engine.UnreachableError
		switch {
		case err == nil && ok && v.Lines == want:
			answered++
		case errors.As(err, &u) && u.Endpoint == a.door(1) && strings.Contains(err.Error(), a.door(1)):
			unreachable++
			if h := askHTTP(t, a.servers[0].URL, "/stores/hosts/get", "key", host); h.code != http.StatusBadGateway || !strings.Contains(h.Error, a.door(1)) {
				t.Errorf("%s over HTTP: %d %s", host, h.code, h.body)
			}
		default:
			t.Errorf("%s: %+v %v %v", host, v, ok, err)
		}
	}
	if answered == 0 || unreachable == 0 {
		t.Errorf("%d hosts answered, %d unreachable, want some of both", answered, unreachable)
	}
	a.kill(1)
	a.eventually("the first instance answers for all again", func() bool { return a.complete(0) })
	if owners := a.owners(0); len(owners) != 1 {
		t.Errorf("answers of %v, want of one instance", owners)
	}
}

// Who advertises nothing cannot be asked, and the error says so.
func TestAnInstanceWithoutEndpointIsNamed(t *testing.T) {
	a := newAsking(t, func() *topology.Topology { return queried(t) }, func(n int, cfg *engine.Config) {
		if n == 0 {
			cfg.Advertise = ""
		}
	})
	found := false
	for host := range a.hosts {
		_, _, err := engine.Get[string, visits](a.running[1], "hosts", host)
		if err != nil && (!errors.Is(err, engine.ErrNoEndpoint) || !strings.Contains(err.Error(), "Config.Advertise")) {
			t.Errorf("%s: %v", host, err)
		}
		found = found || err != nil
	}
	if !found {
		t.Error("the second instance answered for all")
	}
}

// Queries go on while tasks move: an answer is right or an error that says to ask
// again, never a wrong or an incomplete one.
func TestAnswersAreRightWhileTasksMove(t *testing.T) {
	a := newAsking(t, func() *topology.Topology { return queried(t) }, nil)
	e := a.running[0].Engine
	done, failed := make(chan struct{}), make(chan error, 1)
	asked := make(chan int, 1)
	go func() {
		n := 0
		defer func() { asked <- n }()
		for {
			for host, want := range a.hosts {
				v, ok, err := engine.Get[string, visits](e, "hosts", host)
				var u *engine.UnreachableError
				switch {
				case err == nil && ok && v.Lines == want:
					n++
				case errors.Is(err, engine.ErrRestoring), errors.Is(err, engine.ErrNotRunning), errors.As(err, &u):
				default:
					failed <- fmt.Errorf("%s: %+v %v %v, want %d", host, v, ok, err, want)
					return
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	for range 2 {
		a.stop(1)
		a.eventually("the first instance answers for all", func() bool { return len(a.owners(0)) == 1 })
		a.inside[1].Store(a.start(1).Engine)
		a.eventually("the second has tasks again", func() bool { return len(a.owners(0)) == 2 })
	}
	close(done)
	n := <-asked
	select {
	case err := <-failed:
		t.Error(err)
	default:
	}
	if n == 0 {
		t.Error("nothing was answered")
	}
}
