package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

// A broker that is killed again and again, and clients of every kind that go on:
// what was acknowledged is there, exactly once where the protocol promises it.

func TestIntegrationWhatWasAcknowledgedSurvivesKills(t *testing.T) {
	peers.NeedIntegration(t)
	underKills(t, 3)
}

func TestTortureWhatWasAcknowledgedSurvivesKills(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	underKills(t, 40)
}

// load is what runs against the broker while it is killed. Every worker keeps
// what it was told in a ledger of its own and is judged when all have ended.
type load struct {
	t      *testing.T
	broker string
	ctx    context.Context // ends when the workers shall stop
	wg     sync.WaitGroup
}

func (l *load) client(opts ...kgo.Opt) *kgo.Client {
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(l.broker), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(20 * time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		l.t.Error(err)
		panic(err)
	}
	return cl
}

func (l *load) run(worker func()) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		worker()
	}()
}

func (l *load) going() bool { return l.ctx.Err() == nil }

const killedPartitions = 4

// A member whose leaving did not arrive because the broker was dead holds its
// group up for a session's time.
var shortSession, oftenHeartbeat = kgo.SessionTimeout(time.Second), kgo.HeartbeatInterval(200 * time.Millisecond)

func underKills(t *testing.T, kills int) {
	s := peers.StartServe(t, "--property", "log.cleaner.backoff.ms=100", "--property", "group.initial.rebalance.delay.ms=0",
		"--property", "group.min.session.timeout.ms=500", "--property", "group.consumer.min.session.timeout.ms=500", "--property", "group.consumer.session.timeout.ms=1000",
		"--property", "group.consumer.min.heartbeat.interval.ms=100", "--property", "group.consumer.heartbeat.interval.ms=200")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := &load{t: t, broker: s.Addr(), ctx: ctx}
	adm := kadm.NewClient(l.client())
	defer adm.Close()
	makeTopics(t, adm)

	written := &ledger{acked: map[string]bool{}}
	compacted := &compactedLedger{last: map[string]int{}}
	transacted := &txnLedger{outcome: map[string]string{}}
	rewritten := &txnLedger{outcome: map[string]string{}}
	read := map[string]*groupLedger{}
	for i := range 2 {
		l.run(func() { l.produce(written, i) })
		l.run(func() { l.transactInto(transacted, "txn", i) })
		l.run(func() { l.update(compacted, i) })
	}
	l.run(func() { l.transactInto(rewritten, "keyed-txn", 9) })
	l.run(func() { l.produceKafkaGo(written) })
	for _, protocol := range []string{"classic", "consumer"} {
		g := &groupLedger{name: "group-" + protocol, seen: map[string]bool{}, acked: map[int32]int64{}}
		read[protocol] = g
		l.run(func() { l.consume(g, protocol == "consumer") })
	}
	l.run(func() { l.relay() })

	rng := rand.New(rand.NewPCG(9, uint64(kills)))
	for k := range kills {
		pause(ctx, time.Duration(300+rng.IntN(1500))*time.Millisecond)
		s.Kill()
		if err := s.Start(); err != nil {
			t.Fatalf("start after kill %d: %v", k, err)
		}
		verify(t, s.DataDir(), k, "--live")
		for _, g := range read {
			g.check(t, adm, k)
		}
		if t.Failed() {
			t.Logf("after kill %d", k)
			break
		}
	}
	pause(ctx, time.Second)
	stop()
	l.wg.Wait()
	written.judge(t, l, read)
	transacted.judge(t, l)
	rewritten.judgeKeys(t, l)
	compacted.judge(t, l)
	l.judgeRelay(t)
	s.Stop()
	verify(t, s.DataDir(), kills)
	t.Logf("%d kills: %d records acknowledged, %d transactions, %d updates of compacted keys", kills, len(written.acked), len(transacted.outcome), compacted.n)
}

func makeTopics(t *testing.T, adm *kadm.Client) {
	t.Helper()
	str := func(s string) *string { return &s }
	small := map[string]*string{"segment.bytes": str("1048576")}
	compact := map[string]*string{"cleanup.policy": str("compact"), "segment.ms": str("500"), "min.cleanable.dirty.ratio": str("0.01")}
	for topic, configs := range map[string]map[string]*string{"plain": small, "txn": small, "copy": nil, "keyed": compact, "keyed-txn": compact} {
		if _, err := adm.CreateTopic(context.Background(), killedPartitions, 1, configs, topic); err != nil {
			t.Fatal(err)
		}
	}
}

// pause lets the load run on.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// verify is `millstream verify` on the directory.
func verify(t *testing.T, dir string, kill int, args ...string) {
	t.Helper()
	binary, err := peers.Millstream()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary, append([]string{"verify", "--data-dir", dir}, args...)...).CombinedOutput(); err != nil {
		t.Errorf("verify after kill %d: %v\n%s", kill, err, out)
	}
}

// ledger keeps the records that were acknowledged: "producer/partition/number".
type ledger struct {
	mu    sync.Mutex
	acked map[string]bool
}

func (b *ledger) ack(value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked[value] = true
}

// produce is an idempotent producer with many records in flight.
func (l *load) produce(b *ledger, id int) {
	codec := []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression()}[id%2]
	cl := l.client(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(0), kgo.StopProducerOnDataLossDetected(), kgo.MaxBufferedRecords(500))
	defer cl.Close()
	filler := strings.Repeat("x", 200)
	for n := 0; l.going(); n++ {
		p := n % killedPartitions
		value := fmt.Sprintf("idempotent%d/%d/%d/%s", id, p, n, filler[:n%200])
		cl.Produce(context.Background(), &kgo.Record{Topic: "plain", Partition: int32(p), Value: []byte(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				l.t.Errorf("idempotent producer %d: %v", id, err)
				return
			}
			b.ack(value)
		})
		if n%20 == 0 {
			pause(l.ctx, 5*time.Millisecond)
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		l.t.Errorf("flush: %v", err)
	}
}

// produceKafkaGo writes without idempotence: acknowledged at least once.
func (l *load) produceKafkaGo(b *ledger) {
	w := &kafka.Writer{Addr: kafka.TCP(l.broker), Topic: "plain", RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		Balancer: kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.Key[0] - '0') })}
	defer w.Close()
	for n := 0; l.going(); n++ {
		p := n % killedPartitions
		value := fmt.Sprintf("kafkago/%d/%d/", p, n)
		if err := w.WriteMessages(context.Background(), kafka.Message{Key: fmt.Append(nil, p), Value: []byte(value)}); err == nil {
			b.ack(value)
		}
	}
}

// judge reads all: each acknowledged record is there, those of idempotent
// producers once and in order; groups saw all of them.
func (b *ledger) judge(t *testing.T, l *load, groups map[string]*groupLedger) {
	t.Helper()
	counts, last, missed := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range l.readAll(t, "plain", kgo.ReadUncommitted()) {
		v := string(r.Value)
		counts[v]++
		for _, g := range groups {
			if r.Offset < g.acked[r.Partition] && !g.seen[v] {
				missed[g.name]++
			}
		}
		f := strings.Split(v, "/")
		if f[0] == "kafkago" {
			continue
		}
		var p, n int
		fmt.Sscan(f[1], &p)
		fmt.Sscan(f[2], &n)
		if int32(p) != r.Partition {
			t.Errorf("record %.40s is in partition %d", v, r.Partition)
		}
		who := f[0] + "/" + f[1]
		if before, ok := last[who]; ok && n <= before {
			t.Errorf("%s: record %d comes after %d, at offset %d", who, n, before, r.Offset)
		}
		last[who] = n
	}
	for v := range b.acked {
		if n := counts[v]; n == 0 || n > 1 && !strings.HasPrefix(v, "kafkago") {
			t.Errorf("acknowledged record %.40s is in the log %d times", v, n)
		}
	}
	for name, n := range missed {
		t.Errorf("%s committed past %d records that it never saw", name, n)
	}
}

// readAll reads a topic to its end as of now.
func (l *load) readAll(t *testing.T, topic string, level kgo.IsolationLevel) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cl := l.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	next := map[int32]int64{}
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("reading %s: partitions %v did not reach their ends, read to %v", topic, left, next)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < next[r.Partition] {
				t.Errorf("%s-%d: offset %d after %d", topic, r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition] = r.Offset + 1
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	return all
}

// txnLedger keeps what a producer knows of its transactions: committed, aborted, unknown.
type txnLedger struct {
	mu      sync.Mutex
	outcome map[string]string
}

const txnRecords = 7

func (l *load) transactInto(b *txnLedger, topic string, id int) {
	var cl *kgo.Client
	defer func() { cl.Close() }()
	for n := 0; l.going(); n++ {
		if cl == nil {
			cl = l.client(kgo.TransactionalID(fmt.Sprintf("txn-%d", id)), kgo.ProducerLinger(0))
		}
		name := fmt.Sprintf("txn%d.%d", id, n)
		outcome, fresh := l.transaction(cl, topic, name, n%5 != 4)
		b.mu.Lock()
		b.outcome[name] = outcome
		b.mu.Unlock()
		if !fresh {
			cl.Close()
			cl = nil
		}
	}
	if cl == nil {
		cl = l.client()
	}
}

// transaction runs one and says how it ended, and whether the client may go on.
func (l *load) transaction(cl *kgo.Client, topic, name string, commit bool) (outcome string, goOn bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		return "aborted", false
	}
	var sent []*kgo.Record
	for i := range txnRecords {
		sent = append(sent, &kgo.Record{Topic: topic, Partition: int32(i % killedPartitions), Key: fmt.Append(nil, i), Value: fmt.Appendf(nil, "%s/%d", name, i)})
	}
	if err := cl.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		if err := cl.AbortBufferedRecords(ctx); err != nil {
			return "aborted", false
		}
		return "aborted", cl.EndTransaction(ctx, kgo.TryAbort) == nil
	}
	if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		if !commit {
			return "aborted", false
		}
		return "unknown", false
	}
	if !commit {
		return "aborted", true
	}
	return "committed", true
}

func (b *txnLedger) judge(t *testing.T, l *load) {
	t.Helper()
	counts := map[string]int{}
	for _, r := range l.readAll(t, "txn", kgo.ReadCommitted()) {
		name, _, _ := strings.Cut(string(r.Value), "/")
		counts[name]++
	}
	how := map[string]int{}
	for name, outcome := range b.outcome {
		n := counts[name]
		how[outcome]++
		switch {
		case outcome == "committed" && n == txnRecords, outcome == "aborted" && n == 0:
		case outcome == "unknown" && (n == 0 || n == txnRecords):
		default:
			t.Errorf("transaction %s is %s for its producer, %d of its %d records are read", name, outcome, n, txnRecords)
		}
	}
	t.Logf("transactions: %v", how)
}

// judgeKeys wants of each key what the last committed transaction wrote, and
// nothing of an aborted one, however much of the log is compacted.
func (b *txnLedger) judgeKeys(t *testing.T, l *load) {
	t.Helper()
	last, kept := map[string]int{}, 0
	for _, r := range l.readAll(t, "keyed-txn", kgo.ReadCommitted()) {
		name, _, _ := strings.Cut(string(r.Value), "/")
		if b.outcome[name] == "aborted" {
			t.Errorf("key %s, offset %d of partition %d: transaction %s was aborted", r.Key, r.Offset, r.Partition, name)
		}
		var n int
		fmt.Sscanf(name, "txn9.%d", &n)
		if before, ok := last[string(r.Key)]; ok && n <= before {
			t.Errorf("key %s: transaction %d comes after %d", r.Key, n, before)
		}
		last[string(r.Key)] = n
		kept++
	}
	want := 0
	for name, outcome := range b.outcome {
		var n int
		if fmt.Sscanf(name, "txn9.%d", &n); outcome == "committed" {
			want = max(want, n)
		}
	}
	for i := range txnRecords {
		got, ok := last[fmt.Sprint(i)]
		if !ok || got < want || got > want && b.outcome[fmt.Sprintf("txn9.%d", got)] != "unknown" {
			t.Errorf("key %d has the value of transaction %d (there: %v), the last committed one is %d", i, got, ok, want)
		}
	}
	if kept >= len(b.outcome)*txnRecords/2 {
		t.Errorf("%d records of %d transactions are there still: nothing was compacted", kept, len(b.outcome))
	}
	t.Logf("%d records are left of %d transactions on compacted keys", kept, len(b.outcome))
}

// compactedLedger keeps the last acknowledged value of each key.
type compactedLedger struct {
	mu   sync.Mutex
	last map[string]int
	n    int
}

func (l *load) update(b *compactedLedger, id int) {
	cl := l.client(kgo.ProducerLinger(0), kgo.StopProducerOnDataLossDetected(), kgo.MaxBufferedRecords(300))
	defer cl.Close()
	filler := strings.Repeat("y", 100)
	for n := 0; l.going(); n++ {
		key := fmt.Sprintf("key%d.%d", id, n%50)
		cl.Produce(context.Background(), &kgo.Record{Topic: "keyed", Partition: int32(n % 50 % killedPartitions), Key: []byte(key), Value: fmt.Appendf(nil, "%d %s", n, filler)}, func(_ *kgo.Record, err error) {
			if err != nil {
				l.t.Errorf("update: %v", err)
				return
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.last[key], b.n = n, b.n+1
		})
		if n%20 == 0 {
			pause(l.ctx, 5*time.Millisecond)
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		l.t.Errorf("flush: %v", err)
	}
}

func (b *compactedLedger) judge(t *testing.T, l *load) {
	t.Helper()
	last, kept := map[string]int{}, 0
	for _, r := range l.readAll(t, "keyed", kgo.ReadUncommitted()) {
		var n int
		fmt.Sscan(string(r.Value), &n)
		if before, ok := last[string(r.Key)]; ok && n <= before {
			t.Errorf("key %s: %d after %d", r.Key, n, before)
		}
		last[string(r.Key)] = n
		kept++
	}
	for key, n := range b.last {
		if last[key] != n {
			t.Errorf("key %s has %d at last, acknowledged was %d", key, last[key], n)
		}
	}
	if kept >= b.n {
		t.Errorf("all %d updates of %d keys are there still: nothing was compacted", kept, len(last))
	}
}

// groupLedger keeps what a group saw and the commits that were acknowledged.
type groupLedger struct {
	name  string
	mu    sync.Mutex
	seen  map[string]bool
	acked map[int32]int64
}

// consume reads as a member whose commits are synchronous, and is now and then
// followed by another.
func (l *load) consume(g *groupLedger, next848 bool) {
	for l.going() {
		opts := []kgo.Opt{kgo.ConsumerGroup(g.name), kgo.ConsumeTopics("plain"), kgo.DisableAutoCommit(), kgo.FetchMaxWait(100 * time.Millisecond),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(), shortSession, oftenHeartbeat}
		if next848 {
			opts = append(opts, kgo.ServerSideBalancer())
		}
		cl := l.client(opts...)
		for polls := 0; polls < 200 && l.going(); polls++ {
			fetches := cl.PollRecords(l.ctx, 1000)
			ends := map[int32]int64{}
			g.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				g.seen[string(r.Value)] = true
				ends[r.Partition] = r.Offset + 1
			})
			g.mu.Unlock()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			if err := cl.CommitRecords(ctx, fetches.Records()...); err == nil {
				g.mu.Lock()
				for p, end := range ends {
					g.acked[p] = max(g.acked[p], end)
				}
				g.mu.Unlock()
			}
			cancel()
			cl.AllowRebalance()
		}
		cl.CloseAllowingRebalance()
	}
}

// check compares the committed offsets with the acknowledged ones and the ends.
func (g *groupLedger) check(t *testing.T, adm *kadm.Client, kill int) {
	t.Helper()
	g.mu.Lock()
	acked := map[int32]int64{}
	for p, o := range g.acked {
		acked[p] = o
	}
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	committed, err := adm.FetchOffsets(ctx, g.name)
	if err != nil {
		t.Errorf("%s after kill %d: %v", g.name, kill, err)
		return
	}
	ends, err := adm.ListEndOffsets(ctx, "plain")
	if err != nil {
		t.Errorf("%s after kill %d: %v", g.name, kill, err)
		return
	}
	for p, at := range acked {
		c, _ := committed.Lookup("plain", p)
		end, _ := ends.Lookup("plain", p)
		if c.At < at || c.At > end.Offset {
			t.Errorf("%s, partition %d, after kill %d: offset %d is committed, %d was acknowledged, the end is %d", g.name, p, kill, c.At, at, end.Offset)
		}
	}
}

// relay copies plain to copy by transactions that hold the offsets.
func (l *load) relay() {
	for l.going() {
		session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(l.broker), kgo.TransactionalID("relay"), kgo.TransactionTimeout(3*time.Second), kgo.ConsumerGroup("relay"), kgo.ConsumeTopics("plain"),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
			shortSession, oftenHeartbeat, kgo.FetchMaxWait(100*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
		if err != nil {
			l.t.Error(err)
			return
		}
		for l.going() {
			if err := l.relayOnce(session); err != nil {
				break
			}
		}
		session.Close()
	}
}

func (l *load) relayOnce(session *kgo.GroupTransactSession) error {
	fetches := session.PollRecords(l.ctx, 300)
	if !l.going() || fetches.NumRecords() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := session.Begin(); err != nil {
		return err
	}
	var failed kgo.FirstErrPromise
	fetches.EachRecord(func(r *kgo.Record) {
		session.Produce(ctx, &kgo.Record{Topic: "copy", Partition: r.Partition, Value: fmt.Appendf(nil, "%d", r.Offset)}, failed.Promise())
	})
	_, err := session.End(ctx, kgo.TransactionEndTry(failed.Err() == nil))
	return err
}

// judgeRelay wants each offset of plain once in the copy, in order and without gaps.
func (l *load) judgeRelay(t *testing.T) {
	t.Helper()
	next, n := map[int32]int{}, 0
	for _, r := range l.readAll(t, "copy", kgo.ReadCommitted()) {
		var at int
		fmt.Sscan(string(r.Value), &at)
		if at != next[r.Partition] {
			t.Errorf("copy of partition %d: offset %d, want %d", r.Partition, at, next[r.Partition])
		}
		next[r.Partition] = at + 1
		n++
	}
	if n == 0 {
		t.Error("nothing was copied")
	}
	t.Logf("%d records copied exactly once", n)
}
