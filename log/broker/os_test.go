package broker

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
)

// TestASecondProcessIsRefused runs this test binary again on the same directory.
func TestASecondProcessIsRefused(t *testing.T) {
	if dir := os.Getenv("MILLSTREAM_TEST_SECOND"); dir != "" {
		_, err := Open(Config{Dir: dir})
		if err == nil {
			t.Fatal("opened")
		}
		t.Log(err)
		return
	}
	dir := t.TempDir()
	b := must(Open(Config{Dir: dir, TickInterval: -1, MaintenanceInterval: -1}))
	defer b.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestASecondProcessIsRefused$", "-test.v")
	cmd.Env = append(os.Environ(), "MILLSTREAM_TEST_SECOND="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "is locked by pid ") {
		t.Fatalf("expected a refusal that names the owner, found %v:\n%s", err, out)
	}
}

func TestOnARealDisk(t *testing.T) {
	cfg := Config{Dir: t.TempDir() + "/a/b", TickInterval: -1, MaintenanceInterval: -1}
	b := must(Open(cfg))
	create(t, b, "a", 2)
	ctx := context.Background()
	p := must(b.NewProducer(ProducerConfig{TransactionalID: "x"}))
	for range 3 {
		for range 100 {
			if err := p.Send(ctx, Message{Topic: "a", Partition: AnyPartition, Value: []byte("v")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	b.Abandon()
	for i := range 3 {
		b = must(Open(cfg))
		c := must(b.NewConsumer(ConsumerConfig{Topics: []string{"a"}}))
		if got := poll(t, c, 300); len(got) != 300 {
			t.Fatalf("start %d: expected 300, found %d", i, len(got))
		}
		c.Close()
		p = must(b.NewProducer(ProducerConfig{TransactionalID: "x"})) // its id goes on
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoBatchSlipsBehindItsMarker appends while the transaction ends: a batch is
// in it or refused.
func TestNoBatchSlipsBehindItsMarker(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	for round := range 200 {
		h.ok(h.AddPartitionsToTxn("x", x.who, []record.TopicPartition{tp("a", 0)}))
		var wg sync.WaitGroup
		seq := x.seq[tp("a", 0)]
		started := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				if i == 1 {
					close(started)
				}
				if _, err := h.part("a", 0).Produce(batch(x.who, seq, true, 0, "v"), AcksLeader); err != nil {
					if i < 1 {
						close(started)
					}
					return
				}
				seq++
			}
		})
		<-started
		h.ok(x.end(round%2 == 0))
		wg.Wait()
		x.seq[tp("a", 0)] = seq
		if o := h.part("a", 0).Offsets(); o.Stable != o.End {
			t.Fatalf("round %d: a batch came after its marker: %+v", round, o)
		}
	}
}

func benchBroker(b *testing.B, partitions int32) *Broker {
	br, err := Open(Config{Dir: b.TempDir(), TickInterval: -1, MaintenanceInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = br.Close() })
	if _, err := br.CreateTopic(TopicSpec{Name: "a", Partitions: partitions, Configs: map[string]string{"retention.bytes": "268435456", "segment.bytes": "67108864"}}); err != nil {
		b.Fatal(err)
	}
	return br
}

func benchBatch(records int) []byte {
	values := make([]string, records)
	for i := range values {
		values[i] = strings.Repeat("x", 100)
	}
	return batch(NoProducer, 0, false, time.Now().UnixMilli(), values...)
}

func BenchmarkProduce64K(b *testing.B) {
	br := benchBroker(b, 1)
	p := must(br.Partition(tp("a", 0)))
	raw := benchBatch(590)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Produce(raw, AcksLeader); err != nil {
			b.Fatal(err)
		}
		if p.Bytes() > 512<<20 {
			b.StopTimer()
			must(0, br.RunRetention())
			b.StartTimer()
		}
	}
}

func BenchmarkProduceAcksAll4K(b *testing.B) {
	br := benchBroker(b, 1)
	p := must(br.Partition(tp("a", 0)))
	raw := benchBatch(36)
	for b.Loop() {
		must(p.Produce(raw, AcksAll))
	}
}

func BenchmarkRead256K(b *testing.B) {
	br := benchBroker(b, 1)
	p := must(br.Partition(tp("a", 0)))
	raw := benchBatch(590)
	for range 400 {
		must(p.Produce(raw, AcksLeader))
	}
	at, end := record.Offset(0), p.Offsets().End
	b.SetBytes(256 << 10)
	b.ReportAllocs()
	for b.Loop() {
		c := must(p.Read(at, ReadOptions{Committed: true}))
		if at = c.Next; at >= end {
			at = 0
		}
		c.Release()
	}
}

// BenchmarkCommit is a worker's commit: six outputs, a changelog batch in six
// more, and the offsets of six inputs.
func BenchmarkCommit(b *testing.B) {
	br := benchBroker(b, 18)
	id := must(br.InitProducerID("x", 0, NoProducer))
	var tps []record.TopicPartition
	offsets := map[record.TopicPartition]CommittedOffset{}
	seq := int32(0)
	for i := range 12 {
		tps = append(tps, tp("a", i))
	}
	for i := 12; i < 18; i++ {
		offsets[tp("a", i)] = CommittedOffset{}
	}
	for b.Loop() {
		must(0, br.AddPartitionsToTxn("x", id, tps))
		for _, t := range tps {
			must(must(br.Partition(t)).Produce(batch(id, seq, true, 0, "v"), AcksLeader))
		}
		seq++
		must(0, br.AddOffsetsToTxn("x", id, "g"))
		must(0, br.TxnOffsetCommit("x", id, GroupMember{Group: "g", Generation: -1}, offsets))
		must(br.EndTxn("x", id, true))
	}
}
