package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// A random history of transactions over the wire, with lost requests, lost
// answers, crashes in the midst of a request, disk errors, timeouts, fenced
// producers that go on, and a checker that knows only what was acknowledged.

// fate is what a client knows of its transaction.
type fate int

const (
	fateOpen fate = iota
	fateCommitted
	fateAborted
	fateUnknown // the commit was asked for, and no answer came that says more
)

// chaosTxn is one transaction of one producer.
type chaosTxn struct {
	fate   fate
	asked  bool // a commit was sent
	values map[int][]string
	offset int64 // that it commits for the group of its id; 0: none
}

// chaosProducer is one incarnation of a transactional id.
type chaosProducer struct {
	*wireProducer
	addr    string // of the server that conn goes to
	txn     *chaosTxn
	pending kmsg.Request // whose answer is still to come
	take    func(kmsg.Response)
	broken  bool // can only abort or initialise again
	zombie  bool // a newer one was initialised
}

// chaos is the world of one seed.
type chaos struct {
	t    *testing.T
	rng  *rand.Rand
	mem  *vfs.Mem
	disk *vfs.FaultFS
	now  time.Time
	boot int

	b     *broker.Broker
	stop  func()
	addr  string
	top   broker.Topic
	calm  bool
	ids   []string
	live  map[string]*chaosProducer
	old   []*chaosProducer
	txns  []*chaosTxn
	group map[string][]*chaosTxn // by id, those with offsets, in the order of their begin
	after []string               // values that zombies sent
	count int
	log   []string
	seen  map[string]int
}

const chaosPartitions = 3

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		t: t, rng: rand.New(rand.NewPCG(seed, 77)), mem: vfs.NewMem(), now: time.UnixMilli(1_700_000_000_000), ids: []string{"x", "y", "z"},
		live: map[string]*chaosProducer{}, group: map[string][]*chaosTxn{}, seen: map[string]int{},
	}
	c.start()
	var err error
	if _, err = c.b.CreateTopic(broker.TopicSpec{Name: "in", Partitions: 1}); err == nil {
		c.top, err = c.b.CreateTopic(broker.TopicSpec{Name: "t", Partitions: chaosPartitions})
	}
	if err == nil {
		var in *broker.Partition
		if in, err = c.b.Partition(topicPartition("in", 0)); err == nil {
			_, err = in.Produce(batchOf(t, make([]string, 1000)...), broker.AcksAll)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *chaos) note(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf("%4d  ", len(c.log))+fmt.Sprintf(format, args...))
}

func (c *chaos) start() {
	c.disk = vfs.Faulty(c.mem)
	b, err := broker.Open(broker.Config{
		Dir: "data", FS: c.disk, MaintenanceInterval: -1, TickInterval: -1, SyncParallelism: 1, BootID: fmt.Sprint("boot-", c.boot), Now: func() time.Time { return c.now },
	})
	if err != nil {
		c.t.Fatalf("open after %d steps: %v", len(c.log), err)
	}
	srv, err := New(Config{Broker: b, Listeners: []Listener{{Addr: "127.0.0.1:0"}}})
	if err == nil {
		err = srv.Listen()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	c.b, c.addr = b, srv.Addrs()[0].String()
	c.stop = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrServerClosed) {
			c.t.Errorf("Serve: %v", err)
		}
		b.Abandon()
	}
}

// crash goes on from a clone of the disk; a power cut is a new boot.
func (c *chaos) crash(clone *vfs.Mem, power bool) {
	c.note("crash, power cut %v", power)
	c.seen[fmt.Sprint("crash power=", power)]++
	c.stop()
	c.mem = clone
	if power {
		c.boot++
	}
	c.start()
}

func (c *chaos) clone(power bool) *vfs.Mem {
	cfg := vfs.CrashConfig{UnsyncedPercent: 100, Rand: c.rng}
	if power {
		cfg.UnsyncedPercent = []int{0, 50, 100}[c.rng.IntN(3)]
	}
	return c.mem.CrashClone(cfg)
}

// ask sends the producer's pending request, unless it or its answer gets lost;
// then the same request is sent again another time.
func (c *chaos) ask(p *chaosProducer) {
	if p.conn == nil || p.addr != c.addr {
		nc, err := net.Dial("tcp", c.addr)
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { _ = nc.Close() })
		p.conn, p.addr = &rawConn{t: c.t, Conn: nc}, c.addr
	}
	what := 99
	if !c.calm {
		what = c.rng.IntN(20)
	}
	req := p.pending
	switch what {
	case 0:
		c.seen["request lost"]++
		return
	case 1, 2:
		c.seen["answer lost"]++
		c.note("%s %v: %s, the answer is lost", p.id, p.who, kmsg.NameForKey(req.Key()))
		p.conn.do(req)
		return
	case 3:
		power, at, n := c.rng.IntN(3) == 0, c.rng.IntN(12), 0
		var clone *vfs.Mem
		var mu sync.Mutex
		hook := func(vfs.Event) {
			mu.Lock()
			defer mu.Unlock()
			if n++; n == at {
				clone = c.clone(power)
			}
		}
		c.disk.SetHooks(hook, hook)
		p.conn.do(req)
		c.disk.SetHooks(nil, nil)
		if clone == nil {
			clone = c.clone(power)
		}
		c.note("%s %v: %s, and in its midst", p.id, p.who, kmsg.NameForKey(req.Key()))
		c.crash(clone, power)
		return
	}
	resp := p.conn.do(req)
	take := p.take
	p.pending, p.take = nil, nil
	take(resp)
}

// begin sets what the producer asks for next.
func (c *chaos) begin(p *chaosProducer, req kmsg.Request, take func(kmsg.Response)) {
	p.pending, p.take = req, take
}

// triedAgain says whether a client sends its request again at this code.
func triedAgain(code int16) bool {
	return slices.Contains([]int16{codeConcurrentTransactions, codeNotEnoughReplicas, codeCoordinatorNotAvailable, codeKafkaStorageError}, code)
}

// answered notes a code; an error that does not go away breaks the transaction.
func (c *chaos) answered(p *chaosProducer, what string, code int16, req kmsg.Request, take func(kmsg.Response)) (ok bool) {
	c.note("%s %v zombie=%v: %s: error %d", p.id, p.who, p.zombie, what, code)
	c.seen[fmt.Sprintf("%s %d", what, code)]++
	switch {
	case code == codeNone:
		return true
	case triedAgain(code) && (c.calm || c.rng.IntN(3) > 0):
		c.begin(p, req, take)
	default:
		p.broken = true
	}
	return false
}

// step lets one producer do one thing.
func (c *chaos) step(p *chaosProducer) {
	switch {
	case p.pending != nil:
	case p.who == broker.NoProducer:
		c.beginInit(p)
	case p.broken:
		c.beginAbort(p)
	case p.txn != nil && len(p.txn.values)+int(p.txn.offset) > 0 && (c.calm || c.rng.IntN(4) == 0):
		c.beginEnd(p, c.calm || c.rng.IntN(4) > 0)
	case c.rng.IntN(4) == 0:
		c.beginOffset(p)
	default:
		c.beginPut(p)
	}
	c.ask(p)
}

func (c *chaos) beginInit(p *chaosProducer) {
	req := p.initRequest()
	var take func(kmsg.Response)
	take = func(r kmsg.Response) {
		resp := r.(*kmsg.InitProducerIDResponse)
		if !c.answered(p, "InitProducerId", resp.ErrorCode, req, take) {
			p.broken = false
			if p.pending == nil {
				c.begin(p, req, take)
			}
			return
		}
		p.initialised(r)
		c.fence(p)
	}
	c.begin(p, req, take)
}

// fence: from the newcomer's answer on, the one before it can do nothing, and
// what it had not asked to be committed is aborted.
func (c *chaos) fence(p *chaosProducer) {
	was := c.live[p.id]
	p.zombie = false // it may have been one that asked again
	c.old = slices.DeleteFunc(c.old, func(q *chaosProducer) bool { return q == p })
	if c.live[p.id] = p; was == nil || was == p {
		return
	}
	was.zombie = true
	c.old = append(c.old, was)
	if t := was.txn; t != nil && t.fate == fateOpen {
		t.fate = fateAborted
		if t.asked {
			t.fate = fateUnknown
		}
	}
}

func (c *chaos) open(p *chaosProducer) *chaosTxn {
	if p.txn == nil {
		p.txn = &chaosTxn{values: map[int][]string{}}
		c.txns = append(c.txns, p.txn)
		if p.zombie {
			p.txn.fate = fateAborted
		}
	}
	return p.txn
}

func (c *chaos) beginPut(p *chaosProducer) {
	n := c.rng.IntN(chaosPartitions)
	tp := topicPartition("t", int32(n))
	t := c.open(p)
	if !p.implicit() && !p.added[tp] {
		req := p.addRequest(tp)
		var take func(kmsg.Response)
		take = func(r kmsg.Response) {
			p.added[tp] = c.answered(p, "AddPartitionsToTxn", addedCode(r), req, take)
		}
		c.begin(p, req, take)
		return
	}
	var values []string
	for range 1 + c.rng.IntN(2) {
		c.count++
		values = append(values, fmt.Sprintf("%s%d-%d", p.id, p.who.Epoch, c.count))
	}
	if p.zombie {
		c.after = append(c.after, values...)
	}
	req := p.produceRequest(c.top, int32(n), values...)
	var take func(kmsg.Response)
	take = func(r kmsg.Response) {
		code, _ := producedCode(r)
		if !c.answered(p, "Produce", code, req, take) {
			return
		}
		if p.zombie && !slices.Contains(c.after, values[0]) {
			return // sent before it was fenced; this is a duplicate's answer
		}
		p.seq[tp] += int32(len(values))
		t.values[n] = append(t.values[n], values...)
	}
	c.begin(p, req, take)
}

func (c *chaos) beginOffset(p *chaosProducer) {
	t := c.open(p)
	group := "g-" + p.id
	offsets := func() {
		req := p.offsetsRequest(group, topicPartition("in", 0), int64(len(c.group[p.id])+1))
		var take func(kmsg.Response)
		take = func(r kmsg.Response) {
			if c.answered(p, "TxnOffsetCommit", offsetsCode(r), req, take) && !p.zombie {
				t.offset = req.Topics[0].Partitions[0].Offset
				c.group[p.id] = append(c.group[p.id], t)
			}
		}
		c.begin(p, req, take)
	}
	if p.implicit() {
		offsets()
		return
	}
	req := p.addOffsetsRequest(group)
	var take func(kmsg.Response)
	take = func(r kmsg.Response) {
		if c.answered(p, "AddOffsetsToTxn", r.(*kmsg.AddOffsetsToTxnResponse).ErrorCode, req, take) {
			offsets()
		}
	}
	c.begin(p, req, take)
}

func (c *chaos) beginEnd(p *chaosProducer, commit bool) {
	t := p.txn
	req := p.endRequest(commit)
	t.asked = t.asked || commit
	var take func(kmsg.Response)
	take = func(r kmsg.Response) {
		resp := r.(*kmsg.EndTxnResponse)
		if !c.answered(p, fmt.Sprint("EndTxn commit=", commit), resp.ErrorCode, req, take) {
			if p.broken && t.fate == fateOpen {
				t.fate = fateAborted
				if commit {
					t.fate = fateUnknown
				}
			}
			return
		}
		p.ended(r)
		p.txn = nil
		switch {
		case !commit && t.fate == fateOpen:
			t.fate = fateAborted
		case commit && t.fate == fateOpen, commit && t.fate == fateUnknown:
			t.fate = fateCommitted
		case commit:
			c.t.Errorf("%s %v: a commit of a transaction that was aborted is acknowledged", p.id, p.who)
		}
	}
	c.begin(p, req, take)
}

// beginAbort: a client whose transaction cannot go on aborts it, and where that
// is refused it initialises again; one that was fenced gives up.
func (c *chaos) beginAbort(p *chaosProducer) {
	if p.zombie {
		p.broken = false
		c.beginPut(p) // it does not know when to stop
		return
	}
	if t := p.txn; t != nil && t.fate == fateOpen {
		t.fate = fateAborted
		if t.asked {
			t.fate = fateUnknown
		}
	}
	p.txn, p.broken = nil, false
	p.who = broker.NoProducer
	p.reset()
	c.beginInit(p)
}

// disturb does what is nobody's request.
func (c *chaos) disturb() {
	switch c.rng.IntN(30) {
	case 0:
		power := c.rng.IntN(2) == 0
		c.crash(c.clone(power), power)
	case 1:
		c.now = c.now.Add(61 * time.Second)
		c.note("a minute passes")
		c.seen["a minute passes"]++
		fallthrough
	case 2, 3:
		_ = c.b.Tick() // whose errors are those of the disk
	case 4:
		name := []string{"data/t-1/*.log", "data/__transaction_state-*/*.log", "data/__consumer_offsets-*/*.log"}[c.rng.IntN(3)]
		c.note("the disk is full for %s", name)
		c.seen["disk full"]++
		c.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite, Name: name, Err: errors.New("no space")})
	case 5, 6, 7:
		c.disk.SetRules()
	case 8:
		id := c.ids[c.rng.IntN(len(c.ids))]
		p := c.producer(id)
		c.note("a newcomer for %s", id)
		for range 5 {
			if c.step(p); p.who != broker.NoProducer {
				return
			}
		}
		// It may have fenced the other, who finds out.
		if was := c.live[id]; was != nil && was.txn != nil && was.txn.fate == fateOpen && was.txn.asked {
			was.txn.fate = fateUnknown
		}
	}
}

func (c *chaos) producer(id string) *chaosProducer {
	d := dialects[c.rng.IntN(len(dialects))]
	p := &chaosProducer{wireProducer: &wireProducer{txnDialect: d, t: c.t, id: id, who: broker.NoProducer}}
	p.reset()
	return p
}

func (c *chaos) run(steps int) {
	for range steps {
		c.disturb()
		id := c.ids[c.rng.IntN(len(c.ids))]
		p := c.live[id]
		if p == nil {
			p = c.producer(id)
			c.live[id] = p
		}
		if n := len(c.old); n > 0 && c.rng.IntN(6) == 0 {
			p = c.old[c.rng.IntN(n)]
		}
		c.step(p)
	}
	c.finish()
	c.check()
	c.stop()
}

// finish: the faults stop, and every id ends what it has and makes one more transaction.
func (c *chaos) finish() {
	c.calm = true
	c.disk.SetRules()
	_ = c.b.Tick()
	for _, id := range c.ids {
		p := c.live[id]
		if p == nil {
			p = c.producer(id)
		}
		tries := 0
		for last := (*chaosTxn)(nil); ; tries++ {
			if tries > 40 {
				c.t.Errorf("%s hangs: in 40 requests no transaction was committed", id)
				return
			}
			c.step(p)
			if p.txn != nil {
				last = p.txn
			} else if last != nil && last.fate == fateCommitted {
				break
			}
		}
	}
}

// check compares what read_committed shows with what was acknowledged.
func (c *chaos) check() {
	where := map[string]bool{} // values in read_committed
	for n := range chaosPartitions {
		values, err := readCommittedValues(c.b, "t", n)
		if err != nil {
			c.t.Error(err)
		}
		for _, v := range values {
			if where[v] {
				c.t.Errorf("%s stands twice in partition %d", v, n)
			}
			where[v] = true
		}
		for i, t := range c.txns {
			c.checkTxn(i, t, n, values)
		}
		p, err := c.b.Partition(topicPartition("t", int32(n)))
		if err != nil {
			c.t.Fatal(err)
		}
		if o := p.Offsets(); o.Stable != o.End {
			c.t.Errorf("partition %d: a transaction is open from %d to the end %d", n, o.Stable, o.End)
		}
	}
	for _, t := range c.txns { // an unknown one is there as a whole or not at all
		for _, values := range t.values {
			for _, v := range values {
				delete(where, v)
			}
		}
	}
	for v := range where {
		c.t.Errorf("%s is committed, but nobody was told that it was written", v)
	}
	for _, v := range c.after {
		if where[v] {
			c.t.Errorf("%s is of a producer that was fenced", v)
		}
	}
	for _, id := range c.ids {
		c.checkGroup(id)
	}
}

// checkTxn looks at one transaction in one partition: all of it, in order, or nothing.
func (c *chaos) checkTxn(i int, t *chaosTxn, n int, found []string) {
	if len(t.values[n]) == 0 {
		return
	}
	at := slices.Index(found, t.values[n][0])
	switch {
	case t.fate == fateUnknown && at < 0:
		t.fate = fateAborted // so it must be everywhere
	case t.fate == fateUnknown:
		t.fate = fateCommitted
	}
	if (t.fate == fateCommitted) != (at >= 0) {
		c.t.Errorf("transaction %d, committed=%v: %q in partition %d: found=%v", i, t.fate == fateCommitted, t.values[n], n, at >= 0)
		return
	}
	if t.fate != fateCommitted {
		for _, v := range t.values[n] {
			if slices.Contains(found, v) {
				c.t.Errorf("transaction %d was aborted, but %s is in partition %d", i, v, n)
			}
		}
		return
	}
	for _, v := range t.values[n] {
		next := slices.Index(found, v)
		if next < at {
			c.t.Errorf("transaction %d was committed, but %s is missing in partition %d, or before its predecessor", i, v, n)
		}
		at = next
	}
}

// checkGroup: the group is where the last committed transaction with offsets put it.
func (c *chaos) checkGroup(id string) {
	offs, err := c.b.FetchOffsets(context.Background(), "g-"+id, nil, false)
	if err != nil {
		c.t.Error(err)
		return
	}
	found := int64(0)
	if o, ok := offs[record.TopicPartition{Topic: "in"}]; ok {
		found = int64(o.Offset)
	}
	var may []int64
	for _, t := range slices.Backward(c.group[id]) {
		if t.fate == fateAborted {
			continue
		}
		if may = append(may, t.offset); t.fate == fateCommitted {
			break
		}
	}
	if !slices.Contains(may, found) && (found != 0 || len(may) > 0 && slices.ContainsFunc(c.group[id], func(t *chaosTxn) bool { return t.fate == fateCommitted })) {
		c.t.Errorf("group of %s is at %d, expected one of %v", id, found, may)
	}
}

func TestRandomTransactionsOverTheWire(t *testing.T) {
	seeds, first := 30, 0
	if testing.Short() {
		seeds = 6
	}
	if s := os.Getenv("SEED"); s != "" {
		first, _ = strconv.Atoi(s)
		seeds = 1
	}
	randomTransactions(t, first, seeds)
}

// TestTortureRandomTransactionsOverTheWire runs many more.
func TestTortureRandomTransactionsOverTheWire(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("2,000 histories run in `make torture`; TestRandomTransactionsOverTheWire has 30 in `make test`")
	}
	randomTransactions(t, 1_000_000, 2000)
}

// randomTransactions runs histories of as many seeds, which together have seen every
// fault and every fate.
func randomTransactions(t *testing.T, first, seeds int) {
	t.Helper()
	all := map[string]int{}
	for seed := first; seed < first+seeds; seed++ {
		passed := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newChaos(t, uint64(seed))
			c.run(300)
			if t.Failed() {
				for _, l := range c.log {
					t.Log(l)
				}
				t.Fatalf("seed %d: run it alone with SEED=%d", seed, seed)
			}
			for k, n := range c.seen {
				all[k] += n
			}
			for _, tx := range c.txns {
				all[fmt.Sprint("fate ", tx.fate)]++
			}
		})
		if !passed {
			return
		}
	}
	t.Log(all)
	for _, k := range []string{"answer lost", "request lost", "crash power=true", "crash power=false", "a minute passes", "disk full",
		"EndTxn commit=true 0", "EndTxn commit=false 0", "Produce 47", fmt.Sprint("fate ", fateCommitted), fmt.Sprint("fate ", fateUnknown)} {
		if all[k] == 0 && seeds > 5 {
			t.Errorf("the histories have no %q", k)
		}
	}
}
