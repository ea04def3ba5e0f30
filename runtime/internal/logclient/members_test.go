package logclient_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
)

// manyMembers is what holds of several instances on one cluster.
var manyMembers = map[string]func(*testing.T, *fleet){
	"ASecondMemberTakesItsShareAndNothingElseMoves": aSecondMemberTakesItsShare,
	"ARevocationWaitsForDone":                       aRevocationWaitsForDone,
	"WhoLeavesGivesEverythingBack":                  whoLeavesGivesEverythingBack,
	"AStaticMemberComesBackWithoutARebalance":       aStaticMemberComesBack,
	"WhoDiesBeforeItHasLetGoHoldsNothingBack":       whoDiesBeforeItHasLetGo,
	"AMemberThatAnswersElsewhereNowIsToldOf":        aNewEndpointIsToldOf,
	"OneNameIsOneMember":                            oneNameIsOneMember,
	"AZombieIsRefusedAndBeginsAnew":                 aZombieIsRefused,
	"AZombieThatJoinsBeforeItKnowsIsRefusedToo":     aJoiningZombieIsRefused,
	"CommitsRideOverARebalance":                     commitsRideOverARebalance,
	"StandbysAndInstancesAreTold":                   standbysAndInstancesAreTold,
	"RebalanceDealsByTheNewReport":                  rebalanceDealsByTheNewReport,
	"SinksShareByNumber":                            sinksShareByNumber,
}

func TestManyMembersOnServe(t *testing.T) {
	for name, claim := range manyMembers {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for heartbeats
			claim(t, newFleet(t, []string{serveHere(t)}))
		})
	}
}

// Four of them on a real Apache Kafka; its rebalances take seconds.
func TestIntegrationManyMembersOnKafka(t *testing.T) {
	onKafka(t, "ASecondMemberTakesItsShareAndNothingElseMoves", "WhoDiesBeforeItHasLetGoHoldsNothingBack", "AZombieIsRefusedAndBeginsAnew", "CommitsRideOverARebalance")
}

func TestTortureManyMembersOnKafka(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	onKafka(t, slices.Sorted(maps.Keys(manyMembers))...)
}

func onKafka(t *testing.T, claims ...string) {
	addr := peers.NeedKafkaBroker(t).Addr()
	for _, name := range claims {
		t.Run(name, func(t *testing.T) { manyMembers[name](t, newFleet(t, []string{addr})) })
	}
}

// fleet is the instances of one application. Each takes its assignments as they
// come, unless a test holds it; the fleet checks that no partition has two owners.
type fleet struct {
	t     testing.TB
	addrs []string

	mu    sync.Mutex
	owner map[record.TopicPartition]string // until Done of the assignment without it
	news  chan struct{}                    // closed and replaced at each assignment
}

func newFleet(t testing.TB, addrs []string) *fleet {
	peers.EmptyCluster(t, addrs...)
	t.Cleanup(func() { // when all logs are closed: the static members that stayed
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cl := must(kgo.NewClient(kgo.SeedBrokers(addrs...)))(t)
		defer cl.Close()
		adm := kadm.NewClient(cl)
		for _, name := range must(adm.ListGroups(ctx))(t).Groups() {
			_, err := adm.LeaveGroup(ctx, kadm.LeaveGroup(name).InstanceIDs("a", "b"))
			noError(t, err)
		}
	})
	return &fleet{t: t, addrs: addrs, owner: map[record.TopicPartition]string{}, news: make(chan struct{})}
}

// sailor is an instance. The fleet's lock guards what follows the blank line.
type sailor struct {
	fleet *fleet
	name  string
	log   *kafka.Log
	m     logclient.Member

	history []logclient.Assignment
	held    chan struct{} // closed when assignments are taken as they come
	err     error         // the last of Next
}

// open opens the cluster's log as an instance; an empty name is a dynamic one.
func (f *fleet) open(name string) *kafka.Log {
	f.t.Helper()
	l := must(kafka.Open(testContext(f.t), kafka.Config{Seeds: f.addrs, InstanceID: name, SessionTimeout: 30 * time.Second}))(f.t)
	f.t.Cleanup(func() { l.Close() })
	return l
}

// join starts an instance.
func (f *fleet) join(name string, cfg logclient.MemberConfig) *sailor {
	f.t.Helper()
	return f.enlist(name, f.open(name), cfg)
}

func (f *fleet) enlist(name string, l *kafka.Log, cfg logclient.MemberConfig) *sailor {
	f.t.Helper()
	s := &sailor{fleet: f, name: name, log: l, m: must(l.Join(testContext(f.t), cfg))(f.t), held: make(chan struct{})}
	close(s.held)
	ctx := testContext(f.t)
	go func() {
		for {
			a, err := s.m.Next(ctx)
			if err != nil {
				f.mu.Lock()
				s.err = err
				f.tell()
				f.mu.Unlock()
				return
			}
			s.take(ctx, a)
		}
	}()
	return s
}

func (f *fleet) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

// take notes an assignment, waits while a test holds the instance, and lets go.
func (s *sailor) take(ctx context.Context, a logclient.Assignment) {
	f := s.fleet
	f.mu.Lock()
	for _, tp := range a.Partitions {
		if at := f.owner[tp]; at != "" && at != s.name {
			f.t.Errorf("%v is dealt to %s while %s has it", tp, s.name, at)
		}
		f.owner[tp] = s.name
	}
	s.history = append(s.history, a)
	held := s.held
	f.tell()
	f.mu.Unlock()
	select {
	case <-held:
	case <-ctx.Done():
		return
	}
	f.mu.Lock()
	for tp, at := range f.owner {
		if at == s.name && !slices.Contains(a.Partitions, tp) {
			delete(f.owner, tp)
		}
	}
	f.mu.Unlock()
	if err := s.m.Done(a); err != nil {
		f.t.Error(err)
	}
}

// hold keeps the instance from letting go until the function returned is called.
func (s *sailor) hold() (release func()) {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return sync.OnceFunc(func() {
		s.fleet.mu.Lock()
		defer s.fleet.mu.Unlock()
		close(held)
		s.held = held
	})
}

// forget: what the instance has is void for others' sake: it was lost.
func (s *sailor) forget() {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	maps.DeleteFunc(s.fleet.owner, func(_ record.TopicPartition, at string) bool { return at == s.name })
}

func (s *sailor) leave() {
	s.fleet.t.Helper()
	s.forget()
	noError(s.fleet.t, s.m.Leave(testContext(s.fleet.t)))
}

// last is the newest assignment. The lock is held.
func (s *sailor) last() logclient.Assignment {
	if len(s.history) == 0 {
		return logclient.Assignment{}
	}
	return s.history[len(s.history)-1]
}

// until waits for a condition on what was told, checked under the lock.
func (f *fleet) until(what string, holds func() bool) {
	f.t.Helper()
	ctx := testContext(f.t)
	for {
		f.mu.Lock()
		done, news := holds(), f.news
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-ctx.Done():
			f.t.Fatalf("never: %s", what)
		}
	}
}

// has waits until an instance has so many partitions, and returns that assignment.
func (s *sailor) has(n int) logclient.Assignment {
	s.fleet.t.Helper()
	var a logclient.Assignment
	s.fleet.until(fmt.Sprintf("%s has %d partitions", s.name, n), func() bool {
		a = s.last()
		return a.Generation.Group != "" && len(a.Partitions) == n
	})
	return a
}

func (s *sailor) told() []logclient.Assignment {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	return slices.Clone(s.history)
}

// twoHeartbeats is so long that members would have heard of a rebalance.
func twoHeartbeats() {
	beat := make(chan struct{})
	time.AfterFunc(2*time.Second, func() { close(beat) })
	<-beat
}

// units are n of them, of one partition of topic in each.
func units(n int, stateful bool) []logclient.Unit {
	var us []logclient.Unit
	for p := range n {
		us = append(us, logclient.Unit{ID: fmt.Sprint("0_", p), Partitions: []record.TopicPartition{tp("in", p), tp("other", p)}, Stateful: stateful})
	}
	return us
}

// app is the config of an application with n units of two partitions each.
func (f *fleet) app(n int) logclient.MemberConfig {
	ensure(f.t, f.anyLog(), "in", n)
	ensure(f.t, f.anyLog(), "other", n)
	ensure(f.t, f.anyLog(), "out", 1)
	return logclient.MemberConfig{Group: "app", Topics: []string{"in", "other"}, Units: units(n, false)}
}

func (f *fleet) anyLog() *kafka.Log { return f.open("") }

func holdsAll(a logclient.Assignment, tps []record.TopicPartition) bool {
	return !slices.ContainsFunc(tps, func(tp record.TopicPartition) bool { return !slices.Contains(a.Partitions, tp) })
}

func aSecondMemberTakesItsShare(t *testing.T, f *fleet) {
	cfg := f.app(4)
	a := f.join("a", cfg)
	a.has(8)
	b := f.join("b", cfg)
	b.has(4)
	kept := a.has(4).Partitions
	for _, was := range a.told() {
		if !holdsAll(was, kept) {
			t.Fatalf("what a keeps was taken from it for a while: %v, expected always %v", was.Partitions, kept)
		}
		if was.Lost {
			t.Fatalf("a rebalance was told as a loss: %+v", was)
		}
	}
	for _, is := range []*sailor{a, b} {
		for _, u := range cfg.Units {
			if some, all := slices.Contains(is.told()[0].Partitions, u.Partitions[0]), holdsAll(is.told()[0], u.Partitions); some != all {
				t.Fatalf("%s has a part of unit %s", is.name, u.ID)
			}
		}
	}
}

func aRevocationWaitsForDone(t *testing.T, f *fleet) {
	ctx := testContext(t)
	cfg := f.app(2)
	load(t, f.anyLog(), tp("in", 0), "0", "1")
	load(t, f.anyLog(), tp("in", 1), "0", "1")
	a := f.join("a", cfg)
	a.has(4)
	release := a.hold()
	b := f.join("b", cfg)
	kept := a.has(2)
	gone := tp("in", 0)
	if slices.Contains(kept.Partitions, gone) {
		gone = tp("in", 1)
	}
	f.until("b was told of the dealing", func() bool { return len(b.history) > 0 })
	// The last commit of what goes.
	w := newWriter(t, a.log, "w")
	write(t, w, tp("out", 0), "last")
	must(w.Commit(ctx, logclient.Positions{gone: {Offset: 2}}, a.m.Generation()))(t)
	twoHeartbeats()
	for _, is := range b.told() {
		equal(t, "partitions of b before a's Done", len(is.Partitions), 0)
	}
	release()
	b.has(2)
	equal(t, "the last commit", must(b.m.Committed(ctx, []record.TopicPartition{gone}))(t)[gone].Offset, record.Offset(2))
}

func whoLeavesGivesEverythingBack(t *testing.T, f *fleet) {
	for _, static := range []bool{true, false} {
		cfg := f.app(4)
		cfg.Group = fmt.Sprint("app-", static)
		join := func(name string) *sailor {
			if static {
				return f.join(name, cfg)
			}
			return f.enlist(name, f.open(""), cfg)
		}
		a := join("a")
		a.has(8)
		b := join("b")
		b.has(4)
		b.leave()
		a.has(8)
		if _, err := b.m.Next(testContext(t)); !errors.Is(err, logclient.ErrClosed) {
			t.Fatalf("Next after Leave: %v, expected ErrClosed", err)
		}
		a.leave()
	}
}

// Three units, of which the one that leads has two: it would deal otherwise if it
// dealt without knowing what the other has.
func aStaticMemberComesBack(t *testing.T, f *fleet) {
	cfg := f.app(3)
	cfg.Stay = true
	leader := f.join("b", cfg)
	leader.has(6)
	other := f.join("a", cfg)
	other.has(2)
	f.until("both have the last generation", func() bool {
		return leader.last().Generation.ID == other.last().Generation.ID && len(leader.last().Partitions) == 4
	})
	generation := leader.told()[len(leader.told())-1].Generation.ID
	for _, pair := range [][2]**sailor{{&other, &leader}, {&leader, &other}} {
		who, stays := *pair[0], *pair[1]
		before, told := who.last(), len(stays.told())
		who.forget()
		noError(t, who.log.Close())
		again := f.join(who.name, cfg)
		now := again.has(len(before.Partitions))
		equal(t, "partitions of "+who.name+" after its restart", now.Partitions, before.Partitions)
		equal(t, "generation", now.Generation.ID, generation)
		equal(t, "instances", now.Instances, before.Instances)
		if now.Lost {
			t.Fatal("the first assignment says that something was lost")
		}
		in := logclient.Positions{now.Partitions[0]: {Offset: 0}}
		must(newWriter(t, again.log, "new").Commit(testContext(t), in, again.m.Generation()))(t)
		if _, err := newWriter(t, again.log, "stale").Commit(testContext(t), in, before.Generation); logclient.Classify(err) != logclient.ClassRebalanced {
			t.Fatalf("a commit of the process before: %v, expected ErrRebalanced", err)
		}
		twoHeartbeats() // later nobody has heard of anything
		equal(t, "assignments that the other was told of meanwhile", len(stays.told())-told, 0)
		equal(t, "assignments that "+who.name+" was told of", len(again.told()), 1)
		*pair[0] = again
	}
}

// A static member that comes back gets what it had, without a rebalance. What it had
// not let go by then, and would have joined once more for, is nobody's.
func whoDiesBeforeItHasLetGo(t *testing.T, f *fleet) {
	cfg := f.app(2)
	cfg.Stay = true
	l, die := f.mortal("a")
	a := f.enlist("a", l, cfg)
	a.has(4)
	release := a.hold()
	defer release()
	b := f.join("b", cfg)
	a.has(2)
	f.until("b was told of the dealing", func() bool { return len(b.history) > 0 })
	die()
	a.forget()
	f.join("a", cfg).has(2)
	b.has(2)
}

// mortal opens the log as an instance whose process can die: from then on nothing
// of it reaches the cluster.
func (f *fleet) mortal(name string) (l *kafka.Log, die func()) {
	f.t.Helper()
	var mu sync.Mutex
	var conns []net.Conn
	dead := false
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return nil, errors.New("this process is dead")
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			conns = append(conns, conn)
		}
		return conn, err
	}
	l = must(kafka.Open(testContext(f.t), kafka.Config{Seeds: f.addrs, InstanceID: name, SessionTimeout: 30 * time.Second, Dial: dial}))(f.t)
	f.t.Cleanup(func() { l.Close() })
	return l, func() {
		mu.Lock()
		defer mu.Unlock()
		dead = true
		for _, conn := range conns {
			conn.Close()
		}
	}
}

func aNewEndpointIsToldOf(t *testing.T, f *fleet) {
	cfg := f.app(2)
	cfg.Stay, cfg.Endpoint = true, "127.0.0.1:1"
	a := f.join("a", cfg)
	a.has(4)
	b := f.join("b", cfg)
	b.has(2)
	a.has(2)
	for _, who := range []*sailor{b, a} {
		other := map[*sailor]*sailor{a: b, b: a}[who]
		who.forget()
		noError(t, who.log.Close())
		elsewhere := cfg
		elsewhere.Endpoint = "127.0.0.1:2"
		again := f.join(who.name, elsewhere)
		f.until("the other one hears of the new endpoint", func() bool {
			i := slices.IndexFunc(other.last().Instances, func(i logclient.Instance) bool { return i.Name == who.name })
			return i >= 0 && other.last().Instances[i].Endpoint == elsewhere.Endpoint
		})
		again.has(2)
		if who == b {
			b = again
		}
	}
}

func oneNameIsOneMember(t *testing.T, f *fleet) {
	cfg := f.app(2)
	first := f.join("a", cfg)
	first.has(4)
	f.mu.Lock()
	clear(f.owner) // the second takes over without asking
	f.mu.Unlock()
	second := f.enlist("a", f.open("a"), cfg)
	second.has(4)
	f.until("the first one's Next fails", func() bool { return first.err != nil })
	if !errors.Is(first.err, logclient.ErrFenced) || !strings.Contains(first.err.Error(), "another process runs with the instance name a: give each process its own StateDir or Cluster.Instance") {
		t.Fatalf("the first one's Next: %v", first.err)
	}
	noError(t, first.m.Leave(testContext(t)))
	generation := second.m.Generation()
	w := newWriter(t, second.log, "w")
	must(w.Commit(testContext(t), logclient.Positions{tp("in", 0): {Offset: 0}}, generation))(t)
}

// expel takes a member out of the group behind its back, as the end of its
// session does.
func (f *fleet) expel(g logclient.Generation, instance string) {
	f.t.Helper()
	cl := must(kgo.NewClient(kgo.SeedBrokers(f.addrs...)))(f.t)
	defer cl.Close()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = g.Group, g.Member
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = g.Member, kmsg.StringPtr(instance)
	req.Members = append(req.Members, m)
	resp := must(req.RequestWith(testContext(f.t), cl))(f.t)
	noError(f.t, kerr.ErrorForCode(resp.ErrorCode))
}

func aZombieIsRefused(t *testing.T, f *fleet) { zombie(t, f, func(*sailor) {}) }
func aJoiningZombieIsRefused(t *testing.T, f *fleet) {
	zombie(t, f, func(s *sailor) { s.m.Rebalance() })
}

// zombie: a member whose session is over, and that then wakes up, commits nothing
// of before, not even with the generation that it has since; it is told of the
// loss, and begins anew.
func zombie(t *testing.T, f *fleet, wakes func(*sailor)) {
	ctx := testContext(t)
	cfg := f.app(2)
	load(t, f.anyLog(), tp("in", 0), "0", "1")
	load(t, f.anyLog(), tp("in", 1), "0", "1")
	a := f.join("a", cfg)
	had := a.has(4)
	w := newWriter(t, a.log, "w")
	write(t, w, tp("out", 0), "of a zombie")
	unsure := func(when string) {
		t.Helper()
		if err := a.m.Confirm(ctx); logclient.Classify(err) != logclient.ClassRebalanced {
			t.Fatalf("%s the group confirms: %v, expected ErrRebalanced", when, err)
		}
	}
	noError(t, a.m.Confirm(ctx))
	release := a.hold()
	a.forget()
	f.expel(had.Generation, "a")
	unsure("before it hears of the loss")
	wakes(a)
	f.until("a hears of the loss", func() bool { return a.last().Lost })
	refused := func(what string, g logclient.Generation) {
		t.Helper()
		if _, err := w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 2}}, g); logclient.Classify(err) != logclient.ClassRebalanced {
			t.Fatalf("%s: %v, expected ErrRebalanced", what, err)
		}
		noError(t, w.Abort(ctx))
		write(t, w, tp("out", 0), "of a zombie")
	}
	refused("a commit with the old generation", had.Generation)
	refused("a commit before Done", a.m.Generation())
	equal(t, "the generation before Done", a.m.Generation(), had.Generation)
	unsure("before Done")
	release()
	now := a.has(4)
	f.until("a has a new generation", func() bool { now = a.last(); return len(now.Partitions) == 4 && now.Generation != had.Generation })
	refused("a commit with the old generation, afterwards", had.Generation)
	noError(t, w.Abort(ctx))
	f.until("the loss is done with", func() bool { return a.m.Generation() != had.Generation })
	noError(t, a.m.Confirm(ctx))
	write(t, w, tp("out", 0), "of one that began anew")
	must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 1}}, a.m.Generation()))(t)
	equal(t, "committed", must(a.m.Committed(ctx, []record.TopicPartition{tp("in", 0)}))(t)[tp("in", 0)].Offset, record.Offset(1))
	equal(t, "output", committedValues(t, a.log, tp("out", 0)), []string{"of one that began anew"})
}

func commitsRideOverARebalance(t *testing.T, f *fleet) {
	ctx := testContext(t)
	cfg := f.app(2)
	for p := range 2 {
		load(t, f.anyLog(), tp("in", p), "0", "1")
	}
	a := f.join("a", cfg)
	old := a.has(4).Generation
	b := f.join("b", cfg)
	b.has(2)
	kept := a.has(2).Partitions[0]
	gone := tp("in", 1-int(kept.Partition))
	if a.m.Generation() == old {
		t.Fatal("a second member joined without a new generation")
	}
	w := newWriter(t, a.log, "w")
	write(t, w, tp("out", 0), "rides")
	must(w.Commit(ctx, logclient.Positions{kept: {Offset: 1}}, old))(t)
	write(t, w, tp("out", 0), "too late")
	if _, err := w.Commit(ctx, logclient.Positions{kept: {Offset: 2}, gone: {Offset: 2}}, old); logclient.Classify(err) != logclient.ClassRebalanced {
		t.Fatalf("a commit of what is another's: %v, expected ErrRebalanced", err)
	}
	noError(t, w.Abort(ctx))
	equal(t, "committed", must(a.m.Committed(ctx, []record.TopicPartition{kept, gone}))(t), positions{kept: {Offset: 1}})
	equal(t, "output", committedValues(t, a.log, tp("out", 0)), []string{"rides"})
}

func standbysAndInstancesAreTold(t *testing.T, f *fleet) {
	cfg := f.app(2)
	cfg.Units, cfg.Standbys = units(2, true), 1
	cfg.Endpoint = "127.0.0.1:1"
	a := f.join("a", cfg)
	equal(t, "instances of one", a.has(4).Instances, []logclient.Instance{{Name: "a", Endpoint: "127.0.0.1:1", Units: []string{"0_0", "0_1"}}})
	cfg.Endpoint = "127.0.0.1:2"
	b := f.join("b", cfg)
	expected := []logclient.Instance{
		{Name: "a", Endpoint: "127.0.0.1:1", Units: []string{"0_1"}, Standbys: []string{"0_0"}},
		{Name: "b", Endpoint: "127.0.0.1:2", Units: []string{"0_0"}, Standbys: []string{"0_1"}},
	}
	b.has(2)
	for _, s := range []*sailor{a, b} {
		f.until("each is told of both", func() bool { return len(s.last().Partitions) == 2 && len(s.last().Instances) == 2 })
		last := s.told()[len(s.told())-1]
		equal(t, "instances", last.Instances, expected)
		equal(t, "standbys of "+s.name, last.Standbys, map[string][]string{"a": {"0_0"}, "b": {"0_1"}}[s.name])
	}
	b.leave()
	f.until("a is alone, with no standbys", func() bool {
		return len(a.last().Instances) == 1 && len(a.last().Standbys) == 0 && len(a.last().Partitions) == 4
	})
}

func rebalanceDealsByTheNewReport(t *testing.T, f *fleet) {
	cfg := f.app(4)
	cfg.Units = units(4, true)
	cfg.Report = func(context.Context) map[string]int64 {
		return map[string]int64{"0_0": 0, "0_1": 0, "0_2": 0, "0_3": 0}
	}
	a := f.join("a", cfg)
	a.has(8)
	var mu sync.Mutex
	lag := map[string]int64{}
	cfg.Report = func(context.Context) map[string]int64 {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(lag)
	}
	b := f.join("b", cfg)
	f.until("b warms two up", func() bool { return len(b.last().Standbys) == 2 })
	warm := b.told()[len(b.told())-1].Standbys
	equal(t, "partitions of b, which has no state", len(b.last().Partitions), 0)
	mu.Lock()
	for _, id := range warm {
		lag[id] = 10_000
	}
	mu.Unlock()
	b.m.Rebalance()
	got := b.has(4)
	f.until("a has the others", func() bool { return len(a.last().Partitions) == 4 })
	for _, id := range warm {
		if tp := tp("in", int(id[2]-'0')); !slices.Contains(got.Partitions, tp) {
			t.Fatalf("b has %v, expected what it has warmed up: %v", got.Partitions, warm)
		}
	}
}

// Several groups on each of two logs, without units.
func sinksShareByNumber(t *testing.T, f *fleet) {
	l := f.anyLog()
	ensure(t, l, "results", 3)
	ensure(t, l, "alerts", 1)
	logs := map[string]*kafka.Log{"a": f.open("a"), "b": f.open("b")}
	for topic, n := range map[string]int{"results": 3, "alerts": 1} {
		cfg := logclient.MemberConfig{Group: "app-sink-" + topic, Topics: []string{topic}}
		a := f.enlist("a", logs["a"], cfg)
		a.has(n)
		b := f.enlist("b", logs["b"], cfg)
		a.has((n + 1) / 2)
		b.has(n / 2)
		f.until("both are told of", func() bool { return len(a.last().Instances) == 2 && len(b.last().Instances) == 2 })
		b.leave()
		a.has(n)
	}
}
