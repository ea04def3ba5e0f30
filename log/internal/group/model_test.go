package group

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

var seeds = flag.Int("seeds", 60, "how many histories TestNoPartitionHasTwoOwners runs")

// world is a core, its log, and clients that behave as consumers do. Faults come
// at random: processes that die, restarts of the coordinator, appends that fail,
// answers that are lost, topics that grow.
type world struct {
	*script
	t       *testing.T
	r       *rand.Rand
	clients []*client
	names   int
	coop    bool  // the classic members are cooperative
	regex   bool  // the members of the consumer protocol subscribe by expression
	calm    bool  // no more faults
	held    int64 // bytes, after the last step
	refused int   // requests, for the bytes that they brought
	trace   []string
}

// client is a consumer: what it believes, and what it waits for.
type client struct {
	name, id, instance string
	consumer           bool // it speaks the consumer protocol
	owned              map[string]map[int32]bool
	epoch              int32 // or generation
	synced             int32 // the generation that it has its assignment from; -1: it has none
	phase              phase
	waiting            *token
	leaderOf           []JoinedMember
	version            uint64 // of the topics, when it joined
	gone               bool   // the process has ended
}

type phase int

const (
	joining phase = iota
	syncing
	steady
)

// token is a request under way; its answer is lost if the coordinator restarts.
type token struct {
	c    *client
	kind string
}

func (c *client) String() string { return fmt.Sprintf("%s(%s)", c.name, c.id) }

// lose gives everything up: the group has told the client that it is out.
func (c *client) lose() {
	c.owned, c.phase, c.waiting, c.synced = map[string]map[int32]bool{}, joining, nil, -1
	if c.consumer {
		c.epoch = 0
	}
}

func (c *client) parts() map[string][]int32 {
	out := map[string][]int32{}
	for t, ps := range c.owned {
		if len(ps) > 0 {
			out[t] = slices.Sorted(maps.Keys(ps))
		}
	}
	return out
}

// become takes an assignment; it returns whether partitions had to be given up.
func (c *client) become(a map[string][]int32) (revoked bool) {
	n := map[string]map[int32]bool{}
	for t, ps := range a {
		n[t] = map[int32]bool{}
		for _, p := range ps {
			n[t][p] = true
		}
	}
	for t, ps := range c.owned {
		for p := range ps {
			revoked = revoked || !n[t][p]
		}
	}
	c.owned = n
	return revoked
}

func (w *world) topicNames() []string { return w.topics.Names() }

// act lets a client do the next thing that it would do.
func (w *world) act(c *client) {
	switch {
	case c.consumer:
		w.heartbeatOf(c)
	case c.waiting != nil:
	case c.phase == joining, c.phase == steady && c.version != w.topics.version:
		w.joinOf(c)
	case c.phase == syncing:
		w.syncOf(c)
	default:
		w.told(c, w.core.Heartbeat("g", c.id, c.instance, c.epoch, w.now))
	}
}

func (w *world) joinOf(c *client) {
	c.phase, c.version = joining, w.topics.version
	owned := showParts(c.parts())
	if !w.coop {
		c.owned, owned = map[string]map[int32]bool{}, ""
	}
	w.ids++
	req := JoinRequest{Group: "g", MemberID: c.id, NewID: fmt.Sprint(c.name, "-", w.ids), InstanceID: c.instance, SessionMS: 10_000, RebalanceMS: 8_000,
		ProtocolType: ConsumerProtocol, Protocols: []Protocol{{"range", w.subscribes(c, owned)}}, NeedKnownID: true}
	c.waiting = &token{c, "join"}
	w.apply(c, w.core.Join(req, c.waiting, w.now))
}

// subscribes is the client's subscription, with the generation in which it got what it owns.
func (w *world) subscribes(c *client, owned string) []byte {
	m, err := subscription(subscriptionOf(strings.Join(w.topicNames(), ","), owned))
	if err != nil {
		w.t.Fatal(err)
	}
	m.Version, m.Generation = 2, c.synced
	return m.AppendTo(nil)
}

func (w *world) syncOf(c *client) {
	req := SyncRequest{Group: "g", Generation: c.epoch, MemberID: c.id, InstanceID: c.instance}
	if c.leaderOf != nil {
		req.Assignments = w.lead(c.leaderOf)
	}
	c.waiting = &token{c, "sync"}
	w.apply(c, w.core.Sync(req, c.waiting, w.now))
}

// lead assigns in turn. A cooperative leader leaves out what somebody else has still.
func (w *world) lead(members []JoinedMember) map[string][]byte {
	held, since := map[string]string{}, map[string]int32{}
	for _, m := range members {
		sub, err := subscription(m.Metadata)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, t := range sub.OwnedPartitions {
			for _, p := range t.Partitions { // who has it by a later generation; a static member that is away may claim it, too
				tp := fmt.Sprint(t.Topic, "-", p)
				if g, ok := since[tp]; !ok || sub.Generation > g {
					held[tp], since[tp] = m.ID, sub.Generation
				}
			}
		}
	}
	out := map[string]string{}
	i := 0
	for _, t := range w.topicNames() {
		for p := range w.topics.topics[t] {
			m := members[i%len(members)].ID
			i++
			if h := held[fmt.Sprint(t, "-", p)]; !w.coop || h == "" || h == m {
				out[m] += fmt.Sprintf("%s-%d,", t, p)
			}
		}
	}
	encoded := map[string][]byte{}
	for _, m := range members {
		encoded[m.ID] = assignmentOf(out[m.ID])
	}
	return encoded
}

func (w *world) heartbeatOf(c *client) {
	w.ids++
	req := HeartbeatRequest{Group: "g", MemberID: c.id, Epoch: c.epoch, RebalanceMS: -1, ClientID: "c"}
	if c.instance != "" {
		req.InstanceID = &c.instance
	}
	full := c.epoch == 0 || w.r.IntN(4) == 0
	if full {
		req.RebalanceMS = 8_000
		if pattern := "t.*"; w.regex {
			req.Regex = &pattern
		} else {
			req.Topics = w.topicNames()
		}
	}
	if full || w.r.IntN(3) > 0 {
		req.Owned = Assignment{}
		for t, ps := range c.parts() {
			req.Owned[w.topics.id(t)] = ps
		}
	}
	t := &token{c, "heartbeat"}
	c.waiting = t
	w.apply(c, w.core.ConsumerHeartbeat(req, t, w.now))
	c.waiting = nil
}

var errLost = errors.New("disk full")

// apply appends a step's records, as log/broker does, and gives the answers.
func (w *world) apply(c *client, st Step) {
	defer w.accounted()
	if st.Err != nil {
		if errors.Is(st.Err, ErrGroupBytes) && w.core.cfg.Memory.Used() > w.held {
			w.fail("%v is refused, and %d bytes are held that were %d", c, w.core.cfg.Memory.Used(), w.held)
		}
		w.told(c, st.Err)
		return
	}
	base, err := record.Offset(len(w.log)), error(nil)
	if len(st.Records) > 0 && !w.calm && w.r.IntN(40) == 0 {
		err = errLost
	} else {
		for _, r := range st.Records {
			w.log = append(w.log, logged{Record: r, pid: record.NoProducerID})
		}
	}
	for _, r := range append(st.Replies, w.core.Done(st, base, err)...) {
		w.answer(r)
	}
}

// accounted: after each step what is counted is what the members hold.
func (w *world) accounted() {
	w.t.Helper()
	if diff := w.core.accounts(); diff != "" {
		w.fail("%s", diff)
	}
	w.held = w.core.cfg.Memory.Used()
}

func (w *world) answer(r Reply) {
	t := r.Token.(*token)
	c := t.c
	if c.waiting != t {
		return // of a request that was given up
	}
	c.waiting = nil
	if !w.calm && t.kind != "heartbeat" && w.r.IntN(30) == 0 {
		return // lost: it asks again
	}
	if r.Err != nil {
		if r.Join != nil {
			c.id = r.Join.MemberID
		}
		w.told(c, r.Err)
		return
	}
	switch t.kind {
	case "join":
		c.id, c.epoch, c.phase, c.leaderOf = r.Join.MemberID, r.Join.Generation, syncing, r.Join.Members
	case "sync":
		c.synced = c.epoch
		if c.phase = steady; c.become(parts(showAssignment(r.Sync.Assignment))) {
			c.phase = joining // a cooperative member that gave something up joins again
		}
	case "heartbeat":
		if !w.calm && w.r.IntN(20) == 0 {
			return // lost: it goes on with what it knows
		}
		c.epoch = r.Heartbeat.Epoch
		if r.Heartbeat.Assignment != nil {
			c.become(w.named(r.Heartbeat.Assignment))
		}
	}
}

// told: what an error means to a client.
func (w *world) told(c *client, err error) {
	c.waiting = nil
	switch {
	case err == nil || c.gone:
	case errors.Is(err, ErrMemberIDRequired):
	case errors.Is(err, ErrGroupBytes):
		// Consumers take it for fatal: they give up what they have, and begin anew.
		if w.refused++; w.calm {
			w.fail("%v is told %v without a bound", c, err)
		}
		c.lose()
	case errors.Is(err, ErrRebalanceInProgress):
		c.phase = joining
		if !w.coop && !c.consumer {
			c.owned = map[string]map[int32]bool{}
		}
	case errors.Is(err, ErrUnknownMember), errors.Is(err, ErrFencedInstance) && !c.consumer:
		// A restart forgets a replacement that came in the middle of a rebalance: the
		// new process is fenced, ends, and is started again.
		c.lose()
		if !c.consumer {
			c.id = ""
		}
	case errors.Is(err, ErrIllegalGeneration), errors.Is(err, ErrFencedEpoch), errors.Is(err, ErrUnknownGroup):
		c.lose()
	case errors.Is(err, ErrUnreleasedInstance):
	case errors.Is(err, errLost):
		if !c.consumer {
			c.phase = joining
		}
	default:
		w.fail("%v is told %v", c, err)
	}
}

// start begins a new process.
func (w *world) start(instance string) {
	w.names++
	c := &client{name: fmt.Sprint("c", w.names), instance: instance, synced: -1, consumer: w.r.IntN(2) == 0, owned: map[string]map[int32]bool{}}
	if instance == "" && w.r.IntN(4) == 0 {
		c.instance = fmt.Sprint("i", w.names)
	}
	if c.consumer {
		c.id = c.name
	}
	w.clients = append(w.clients, c)
}

// end ends a process: it dies, or leaves. A static one comes back as another process.
func (w *world) end(i int) {
	c := w.clients[i]
	w.clients = slices.Delete(w.clients, i, i+1)
	w.note("end %v", c)
	c.gone = true
	leaves := w.r.IntN(2) == 0
	switch {
	case leaves && c.consumer:
		epoch := int32(leaveEpoch)
		if c.instance != "" {
			epoch = leaveStaticEpoch
		}
		req := HeartbeatRequest{Group: "g", MemberID: c.id, Epoch: epoch, RebalanceMS: -1}
		if c.instance != "" {
			req.InstanceID = &c.instance
		}
		w.apply(c, w.core.ConsumerHeartbeat(req, &token{c, "leave"}, w.now))
	case leaves && c.instance == "" && c.id != "":
		st, _ := w.core.Leave("g", []Leaver{{MemberID: c.id}}, w.now)
		w.apply(c, st)
	}
	if c.instance != "" && w.r.IntN(3) > 0 {
		w.start(c.instance)
	}
}

func (w *world) note(format string, a ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, a...))
	if len(w.trace) > 60 {
		w.trace = w.trace[1:]
	}
}

// fault does something that happens.
func (w *world) fault() {
	switch n := w.r.IntN(20); {
	case n == 0 && len(w.clients) < 7:
		w.start("")
	case n == 1 && len(w.clients) > 1:
		w.end(w.r.IntN(len(w.clients)))
	case n == 2:
		w.note("restart")
		w.core = w.fold()
		w.accounted()
		for _, c := range w.clients {
			c.waiting = nil // its connection is gone: it asks again
		}
	case n == 3:
		name := fmt.Sprint("t", w.r.IntN(3))
		w.topics.set(name, w.topics.topics[name]+int32(1+w.r.IntN(2)))
		w.note("topic %s has %d", name, w.topics.topics[name])
	}
}

// round lets time go on and everybody act, in any order.
func (w *world) round() {
	w.now += int64(w.r.IntN(400))
	for {
		st, more := w.core.Tick(w.now)
		if !more {
			break
		}
		w.apply(nil, st)
	}
	for _, i := range w.r.Perm(len(w.clients)) {
		c := w.clients[i]
		w.act(c)
		w.note("%v acts: epoch %d phase %d owns %s", c, c.epoch, c.phase, showParts(c.parts()))
		w.disjoint()
	}
}

// disjoint: no partition belongs to two processes that live.
func (w *world) disjoint() {
	owner := map[string]*client{}
	for _, c := range w.clients {
		for t, ps := range c.owned {
			for p := range ps {
				tp := fmt.Sprint(t, "-", p)
				if o := owner[tp]; o != nil {
					w.fail("%s belongs to %v and %v", tp, o, c)
				}
				owner[tp] = c
			}
		}
	}
}

// covered: every partition belongs to somebody.
func (w *world) covered() string {
	var missing []string
	for _, t := range w.topicNames() {
		for p := range w.topics.topics[t] {
			if !slices.ContainsFunc(w.clients, func(c *client) bool { return c.owned[t][p] }) {
				missing = append(missing, fmt.Sprint(t, "-", p))
			}
		}
	}
	return strings.Join(missing, " ")
}

func (w *world) fail(format string, a ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s\n%s", fmt.Sprintf(format, a...), w.show("g"), strings.Join(w.trace, "\n"))
}

// TestNoPartitionHasTwoOwners runs random histories of groups whose members speak
// one protocol or both. At no time do two living members believe that they own a
// partition, the state is always what the log says, and when the faults stop
// every partition gets an owner.
func TestNoPartitionHasTwoOwners(t *testing.T) {
	refused := 0
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { refused += history(t, seed) })
	}
	if refused == 0 && *seeds >= 10 {
		t.Error("no history refused what a member brought: the bound of bytes was not tried")
	}
}

// TestTortureNoPartitionHasTwoOwners runs many more.
func TestTortureNoPartitionHasTwoOwners(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("TORTURE is not set")
	}
	for seed := range uint64(5000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, 1_000_000+seed) })
	}
}

// history runs one; it returns how many requests the bound of bytes refused.
func history(t *testing.T, seed uint64) int {
	w := &world{script: newScript(), t: t, r: rand.New(rand.NewPCG(seed, 848))}
	w.coop, w.regex = w.r.IntN(2) == 0, w.r.IntN(2) == 0
	w.settings.AssignmentIntervalMS = int64(w.r.IntN(2) * 1000)
	w.cfg.InitialDelayMS = int64(w.r.IntN(2) * 300)
	w.cfg.RetentionCheckMS, w.cfg.OffsetsRetentionMS = 5_000, 1<<40
	if w.r.IntN(3) == 0 {
		w.cfg.MaxBytes = int64(1_500 + w.r.IntN(3_000))
	}
	w.core = New(w.cfg)
	w.topics.set("t0", 3)
	w.start("")
	w.start("")
	for i := range 150 {
		w.round()
		w.fault()
		if i%25 == 0 {
			w.check()
		}
	}
	w.calm = true
	w.cfg.MaxBytes = 0
	w.core = w.fold()
	for _, c := range w.clients {
		c.waiting = nil
	}
	w.accounted()
	if len(w.clients) == 0 {
		w.start("")
	}
	for range 300 {
		w.round()
	}
	w.check()
	if w.problem != "" {
		w.fail("%s", w.problem)
	}
	if missing := w.covered(); missing != "" {
		w.fail("nobody has %s", missing)
	}
	return w.refused
}
