package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// The zstd package makes its encoders at first use and keeps them: not in a bubble.
func TestMain(m *testing.M) {
	for _, codec := range []record.Codec{record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		must(recompress(must(recompress(batch(NoProducer, 0, false, 0, "v"), record.Compression{Codec: codec}, smallUnpacked)), record.Compression{}, smallUnpacked))
		must(record.CheckRecords(must(recompress(batch(NoProducer, 0, false, 0, "v"), record.Compression{Codec: codec}, 0)), 0))
	}
	m.Run()
}

// bubble runs f with a broker whose clock and timers are synctest's.
func bubble(t *testing.T, f func(t *testing.T, b *Broker)) {
	synctest.Test(t, func(t *testing.T) {
		b, err := Open(Config{Dir: "/data", FS: vfs.NewMem(), BootID: "b"})
		if err != nil {
			t.Fatal(err)
		}
		f(t, b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func create(t *testing.T, b *Broker, name string, n int32) {
	t.Helper()
	if _, err := b.CreateTopic(TopicSpec{Name: name, Partitions: n}); err != nil {
		t.Fatal(err)
	}
}

// poll collects values until n are there.
func poll(t *testing.T, c *Consumer, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var out []string
	for len(out) < n {
		ms, err := c.Poll(ctx)
		if err != nil {
			t.Fatalf("Poll after %d of %d: %v", len(out), n, err)
		}
		for _, m := range ms {
			out = append(out, string(m.Value))
		}
	}
	return out
}

func TestProducerKeepsOrderPerPartitionThroughManyBatchesOfEveryCodec(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		bubble(t, func(t *testing.T, b *Broker) {
			create(t, b, "a", 3)
			p := must(b.NewProducer(ProducerConfig{BatchBytes: 1000, BufferBytes: 5000, Compression: codec}))
			defer p.Close()
			ctx := context.Background()
			acked := 0
			for i := range 2000 {
				m := Message{Topic: "a", Partition: AnyPartition, Key: fmt.Append(nil, i%7), Value: fmt.Appendf(nil, "%d", i),
					Headers: []record.Header{{Key: "h", Value: []byte("v")}, {Key: "null"}}, Time: time.UnixMilli(int64(i))}
				if err := p.Send(ctx, m, func(_ Message, err error) {
					if err == nil {
						acked++
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(ctx); err != nil || acked != 2000 {
				t.Fatalf("expected 2000 acknowledged, found %d (%v)", acked, err)
			}
			c := must(b.NewConsumer(ConsumerConfig{Topics: []string{"a"}}))
			defer c.Close()
			last := map[string]int{}
			for n := 0; n < 2000; {
				for _, m := range must(c.Poll(ctx)) {
					n++
					var i int
					fmt.Sscan(string(m.Value), &i)
					if prev, ok := last[string(m.Key)]; ok && prev >= i {
						t.Fatalf("key %s: %d after %d", m.Key, i, prev)
					}
					last[string(m.Key)] = i
					if m.Time.UnixMilli() != int64(i) || len(m.Headers) != 2 || string(m.Headers[0].Value) != "v" || m.Headers[1].Value != nil {
						t.Fatalf("message %d came as %+v", i, m)
					}
					if m.Partition != record.PartitionForKey(m.Key, 3) {
						t.Fatalf("key %s is in partition %d", m.Key, m.Partition)
					}
				}
			}
		})
	}
}

func TestProducerBlocksAboveItsBufferUntilTheContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 1)
		p := must(b.NewProducer(ProducerConfig{Linger: time.Hour, BufferBytes: 100}))
		defer p.Close()
		m := Message{Topic: "a", Value: make([]byte, 60)}
		if err := p.Send(context.Background(), m, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Send(ctx, m, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("expected Send to wait for room, found %v", err)
		}
	})
}

func TestProducerWithItsOwnPartitionerAndWithoutKeys(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 4)
		own := must(b.NewProducer(ProducerConfig{Partitioner: func(m *Message, n int32) record.Partition { return record.Partition(n - 1) }}))
		defer own.Close()
		m := must(own.SendSync(context.Background(), Message{Topic: "a", Partition: AnyPartition, Key: []byte("k")}))
		if m.Partition != 3 || m.Offset != 0 {
			t.Fatalf("expected partition 3 offset 0, found %d %d", m.Partition, m.Offset)
		}
		sticky := must(b.NewProducer(ProducerConfig{}))
		defer sticky.Close()
		var seen []record.Partition
		for range 5 { // one batch each
			seen = append(seen, must(sticky.SendSync(context.Background(), Message{Topic: "a", Partition: AnyPartition})).Partition)
		}
		if !slices.Equal(seen, []record.Partition{0, 1, 2, 3, 0}) {
			t.Fatalf("expected keyless batches in turn, found %v", seen)
		}
	})
}

func TestConsumeTransformProduceIsExactlyOnceOverAbortsAndTakeovers(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "in", 1)
		create(t, b, "out", 2)
		ctx := context.Background()
		src := must(b.NewProducer(ProducerConfig{}))
		defer src.Close()
		for i := range 50 {
			must(src.SendSync(ctx, Message{Topic: "in", Value: fmt.Append(nil, i)}))
		}
		step := func(crash bool) bool {
			p := must(b.NewProducer(ProducerConfig{TransactionalID: "etl"})) // fences the one before
			c := must(b.NewConsumer(ConsumerConfig{Group: "etl", Partitions: []record.TopicPartition{tp("in", 0)}, MaxPollBytes: 1}))
			defer c.Close()
			if c.Positions()[tp("in", 0)].Offset == 50 {
				p.Close()
				return false
			}
			for _, m := range must(c.Poll(ctx)) {
				if err := p.Send(ctx, Message{Topic: "out", Partition: AnyPartition, Key: m.Value, Value: append(m.Value, '!')}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.SendOffsets(c.Member(), c.Positions()); err != nil {
				t.Fatal(err)
			}
			if crash {
				_ = p.Flush(ctx)
				return true // left open: the next producer of the id aborts it
			}
			if err := p.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			p.Close()
			return true
		}
		for i := 0; step(i%3 == 1); i++ {
		}
		c := must(b.NewConsumer(ConsumerConfig{Topics: []string{"out"}}))
		defer c.Close()
		got := poll(t, c, 50)
		slices.Sort(got)
		if len(got) != 50 || len(slices.Compact(slices.Clone(got))) != 50 {
			t.Fatalf("expected 50 different results, found %d: %q", len(got), got)
		}
	})
}

func TestConsumerStarts(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 1)
		ctx := context.Background()
		p := must(b.NewProducer(ProducerConfig{}))
		defer p.Close()
		base := time.Now()
		for i := range 5 {
			must(p.SendSync(ctx, Message{Topic: "a", Value: fmt.Append(nil, i), Time: base.Add(time.Duration(i) * time.Minute)}))
		}
		for name, s := range map[string]struct {
			start Start
			want  string
		}{
			"start":   {FromStart(), "0 1 2 3 4 5"},
			"end":     {FromEnd(), "5"},
			"time":    {FromTime(base.Add(150 * time.Second)), "3 4 5"},
			"offsets": {FromOffsets(map[record.TopicPartition]record.Offset{tp("a", 0): 2}), "2 3 4 5"},
		} {
			c := must(b.NewConsumer(ConsumerConfig{Topics: []string{"a"}, Start: s.start}))
			defer c.Close()
			defer func() {
				if got := strings.Join(poll(t, c, len(strings.Fields(s.want))), " "); got != s.want {
					t.Errorf("%s: expected %s, found %s", name, s.want, got)
				}
			}()
		}
		must(p.SendSync(ctx, Message{Topic: "a", Value: []byte("5"), Time: base.Add(time.Hour)}))
	})
}

func TestAPollThatWaitsIsWokenByAnAppendAndByTheStableOffset(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 1)
		ctx := context.Background()
		committed := must(b.NewConsumer(ConsumerConfig{Topics: []string{"a"}}))
		defer committed.Close()
		dirty := must(b.NewConsumer(ConsumerConfig{Topics: []string{"a"}, ReadUncommitted: true}))
		defer dirty.Close()
		var mu sync.Mutex
		var events []string
		note := func(s string) { mu.Lock(); events = append(events, s); mu.Unlock() }
		go func() { _, _ = dirty.Poll(ctx); note("dirty") }()
		go func() { _, _ = committed.Poll(ctx); note("committed") }()
		synctest.Wait()
		p := must(b.NewProducer(ProducerConfig{TransactionalID: "x", Linger: 1}))
		defer p.Close()
		before := time.Now()
		if err := p.Send(ctx, Message{Topic: "a", Value: []byte("v")}, nil); err != nil {
			t.Fatal(err)
		}
		_ = p.Flush(ctx)
		synctest.Wait()
		note("commit")
		if err := p.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := strings.Join(events, " "); got != "dirty commit committed" {
			t.Fatalf("expected dirty, commit, committed; found %s", got)
		}
		if d := time.Since(before); d > time.Millisecond {
			t.Fatalf("something polled: the clock went on by %v", d)
		}
	})
}

func TestMembersOfAGroupShareThePartitions(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 4)
		ctx, cancel := context.WithCancel(context.Background())
		p := must(b.NewProducer(ProducerConfig{}))
		defer p.Close()
		var mu sync.Mutex
		owners := map[string][]record.TopicPartition{}
		seen := map[string]int{}
		var wg sync.WaitGroup
		var consumers []*Consumer
		member := func(name string) *Consumer {
			c := must(b.NewConsumer(ConsumerConfig{Group: "g", Topics: []string{"a"}, Session: 10 * time.Second,
				Assigned: func(tps []record.TopicPartition) { mu.Lock(); owners[name] = tps; mu.Unlock() }}))
			consumers = append(consumers, c)
			wg.Go(func() {
				for {
					ms, err := c.Poll(ctx)
					if err != nil {
						return
					}
					mu.Lock()
					for _, m := range ms {
						seen[string(m.Value)]++
					}
					mu.Unlock()
					if err := c.Commit(); err != nil && !errors.Is(err, ErrRebalance) && !errors.Is(err, ErrIllegalGeneration) {
						t.Errorf("commit: %v", err)
					}
				}
			})
			return c
		}
		settle := func(want string) {
			t.Helper()
			<-time.After(30 * time.Second) // of the bubble's clock
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(owners); got != want {
				t.Fatalf("expected %s, found %s", want, got)
			}
		}
		send := func(from, to int) {
			for i := from; i < to; i++ {
				must(p.SendSync(ctx, Message{Topic: "a", Partition: record.Partition(i % 4), Value: fmt.Append(nil, i)}))
			}
		}
		one := member("one")
		settle("map[one:[{a 0} {a 1} {a 2} {a 3}]]")
		send(0, 20)
		member("two")
		<-time.After(30 * time.Second)
		mu.Lock()
		if len(owners["one"]) != 2 || len(owners["two"]) != 2 || owners["one"][0] == owners["two"][0] {
			t.Fatalf("expected two partitions each, found %v", owners)
		}
		delete(owners, "one")
		mu.Unlock()
		send(20, 40)
		<-time.After(time.Second)
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		settle("map[two:[{a 0} {a 1} {a 2} {a 3}]]")
		send(40, 60)
		<-time.After(time.Second)
		cancel()
		wg.Wait()
		for _, c := range consumers {
			c.Close()
		}
		for i := range 60 {
			if seen[fmt.Sprint(i)] != 1 {
				t.Fatalf("message %d was read %d times", i, seen[fmt.Sprint(i)])
			}
		}
		if info, ok := b.DescribeGroup("g"); !ok || len(info.Members) != 0 {
			t.Fatalf("expected an empty group, found %+v", info)
		}
	})
}

func TestAMemberThatIsNotHeardOfLosesItsPartitions(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 2)
		dead := must(b.NewConsumer(ConsumerConfig{Group: "g", Topics: []string{"a"}, Session: 10 * time.Second}))
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, _ = dead.Poll(ctx)
		cancel()
		dead.member.stop() // no heartbeats any more
		if len(dead.Assignment()) != 2 {
			t.Fatalf("expected both partitions, found %v", dead.Assignment())
		}
		heir := must(b.NewConsumer(ConsumerConfig{Group: "g", Topics: []string{"a"}, Session: 10 * time.Second, Rebalance: 10 * time.Second}))
		defer heir.Close()
		ctx, cancel = context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		_, _ = heir.Poll(ctx)
		if len(heir.Assignment()) != 2 {
			t.Fatalf("expected the heir to have both partitions, found %v", heir.Assignment())
		}
		if err := dead.Commit(); !errors.Is(err, ErrUnknownMember) {
			t.Fatalf("expected the dead member's commit to be refused, found %v", err)
		}
	})
}

func TestConsumerTellsOfAnOffsetThatRetentionRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, b *Broker) {
		create(t, b, "a", 1)
		ctx := context.Background()
		p := must(b.NewProducer(ProducerConfig{}))
		defer p.Close()
		for i := range 3 {
			must(p.SendSync(ctx, Message{Topic: "a", Value: fmt.Append(nil, i)}))
		}
		c := must(b.NewConsumer(ConsumerConfig{Topics: []string{"a"}}))
		defer c.Close()
		part := must(b.Partition(tp("a", 0)))
		if start := must(part.DeleteBefore(2)); start != 2 {
			t.Fatalf("expected the start 2, found %d", start)
		}
		_, err := c.Poll(ctx)
		var oor *segment.OffsetOutOfRangeError
		if !errors.As(err, &oor) || oor.Start != 2 || oor.End != 3 {
			t.Fatalf("expected out of range with 2 to 3, found %v", err)
		}
		if err := c.Seek(tp("a", 0), oor.Start); err != nil {
			t.Fatal(err)
		}
		if got := poll(t, c, 1); got[0] != "2" {
			t.Fatalf("expected 2, found %v", got)
		}
	})
}
