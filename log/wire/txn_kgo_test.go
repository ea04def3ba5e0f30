package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millstream-io/millstream/log/broker"
)

// ticking lets the broker's timers run.
func ticking(b *broker.Config, _ *Config) { b.TickInterval = 50 * time.Millisecond }

// franz-go by each protocol: held to the versions of Kafka 3.7 it speaks the first.
var kgoProtocols = map[string][]kgo.Opt{
	"first":   {kgo.MaxVersions(kversion.V3_7_0())},
	"bumping": nil,
}

func eachKgo(t *testing.T, f func(t *testing.T, ts *testServer, opts []kgo.Opt)) {
	for _, name := range slices.Sorted(maps.Keys(kgoProtocols)) {
		t.Run(name, func(t *testing.T) { f(t, newTestServer(t, ticking), kgoProtocols[name]) })
	}
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestKgoTransactions(t *testing.T) {
	eachKgo(t, func(t *testing.T, ts *testServer, opts []kgo.Opt) {
		ts.topic("t", 3)
		ctx := patience(t)
		cl := ts.kgo(append(opts, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))...)
		var want []string
		for i := range 12 {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for j := range 7 {
				v := fmt.Sprintf("%d.%d", i, j)
				cl.Produce(ctx, kgo.StringRecord(v), func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("produce %s: %v", v, err)
					}
				})
				if i%3 != 1 {
					want = append(want, v)
				}
			}
			if err := cl.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(i%3 != 1)); err != nil {
				t.Fatalf("end of transaction %d: %v", i, err)
			}
		}
		info, _ := ts.b.Transaction("x")
		if bumped := info.Producer.Epoch >= 12; bumped != (opts == nil) {
			t.Errorf("the producer is at %v after 12 transactions", info.Producer)
		}
		consumer := ts.kgo(append(opts, kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		var got []string
		for len(got) < len(want) {
			fs := consumer.PollFetches(ctx)
			if err := fs.Err(); err != nil {
				t.Fatalf("after %d of %d records: %v", len(got), len(want), err)
			}
			fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("found %v, expected %v", got, want)
		}
	})
}

func TestKgoFencesItsPredecessor(t *testing.T) {
	eachKgo(t, func(t *testing.T, ts *testServer, opts []kgo.Opt) {
		ts.topic("t", 1)
		ctx := patience(t)
		opts = append(opts, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
		put := func(cl *kgo.Client, v string) error { return cl.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr() }
		old, now := ts.kgo(opts...), ts.kgo(opts...)
		for _, cl := range []*kgo.Client{old, now} {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := put(cl, fmt.Sprint("by the newer: ", cl == now)); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(old, "zombie"); err == nil {
			t.Error("who was fenced has produced")
		}
		if err := old.EndTransaction(ctx, kgo.TryCommit); err == nil {
			t.Error("who was fenced has committed")
		}
		if err := now.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Errorf("the newer one: %v", err)
		}
		ts.expectCommitted("t", 0, "by the newer: true")
	})
}

// TestKgoConsumesTransformsAndProducesOnce: members of a group come and go, some
// transactions are aborted, and each record arrives once.
func TestKgoConsumesTransformsAndProducesOnce(t *testing.T) {
	eachKgo(t, func(t *testing.T, ts *testServer, opts []kgo.Opt) {
		const records = 600
		ts.topic("in", 4)
		ts.topic("out", 4)
		for i := range records {
			ts.produce("in", i%4, strconv.Itoa(i))
		}
		ctx, done := context.WithCancel(patience(t))
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				for n := range 3 { // each ends twice in the midst of its work
					if !ts.transform(ctx, t, opts, fmt.Sprintf("tx-%d-%d", i, n), n < 2) {
						return
					}
				}
			})
		}
		seen := map[string]int{}
		consumer := ts.kgo(append(opts, kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		for len(seen) < records {
			fs := consumer.PollFetches(ctx)
			if err := fs.Err0(); err != nil {
				t.Fatalf("after %d of %d records: %v", len(seen), records, err)
			}
			fs.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
		}
		done()
		wg.Wait()
		for v, n := range seen {
			if n != 1 {
				t.Errorf("%s arrived %d times", v, n)
			}
		}
	})
}

// transform moves records from in to out until ctx ends or, if it quits, after
// a few transactions. It aborts some.
func (ts *testServer) transform(ctx context.Context, t *testing.T, opts []kgo.Opt, id string, quits bool) bool {
	s, err := kgo.NewGroupTransactSession(append(slices.Clone(opts), kgo.SeedBrokers(ts.addr), kgo.TransactionalID(id), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
		kgo.DefaultProduceTopic("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(1200))...)
	if err != nil {
		t.Error(err)
		return false
	}
	defer s.Close()
	for n := 0; !quits || n < 4; n++ {
		fs := s.PollRecords(ctx, 25)
		if ctx.Err() != nil {
			return false
		}
		if err := fs.Err0(); err != nil {
			t.Errorf("%s: poll: %v", id, err)
			return false
		}
		if err := s.Begin(); err != nil {
			t.Errorf("%s: begin: %v", id, err)
			return false
		}
		fs.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Value: r.Value}, func(_ *kgo.Record, err error) {
				if err != nil && !errors.Is(err, kgo.ErrAborting) && ctx.Err() == nil {
					t.Errorf("%s: produce: %v", id, err)
				}
			})
		})
		if _, err := s.End(context.Background(), kgo.TransactionEndTry(n%3 != 2)); err != nil {
			t.Errorf("%s: end: %v", id, err)
			return false
		}
	}
	return true
}
