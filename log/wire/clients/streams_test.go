package clients

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

// streamsInput is what StreamsApp reads: users with their regions, and orders.
func streamsInput(orders int) (users, sold []record, want map[string]string) {
	const userCount, partitions, begin = 200, 4, 1_700_000_040_000
	rng := rand.New(rand.NewPCG(6, 2))
	want = map[string]string{}
	region := func(u int) string { return fmt.Sprintf("region-%d", u%7) }
	for u := range userCount {
		users = append(users, record{Time: begin - 1000, Key: fmt.Appendf(nil, "user-%d", u), Value: []byte(region(u))})
	}
	type total struct{ count, sum int64 }
	totals := map[string]total{}
	for i := range orders {
		u, amount, at := rng.IntN(userCount), rng.Int64N(1000), int64(begin+i*20)
		sold = append(sold, record{Partition: int32(i % partitions), Time: at, Key: fmt.Appendf(nil, "order-%d", i), Value: fmt.Appendf(nil, "user-%d,%d", u, amount)})
		key := fmt.Sprintf("%s@%d", region(u), at-at%60_000)
		t := totals[key]
		t = total{t.count + 1, t.sum + amount}
		totals[key] = t
	}
	for key, t := range totals {
		want[key] = fmt.Sprintf("%d,%d", t.count, t.sum)
	}
	return users, sold, want
}

// streamsTest is a run of StreamsApp over its input.
type streamsTest struct {
	t                     *testing.T
	broker                string
	orders, users, totals string
	n                     int
	rest                  []record          // orders that are not sent yet
	want                  map[string]string // the last total of each key
}

func newStreamsTest(t *testing.T, broker string, n int) *streamsTest {
	t.Helper()
	s := &streamsTest{t: t, broker: broker, n: n, orders: name(t, "orders"), users: name(t, "users"), totals: name(t, "totals")}
	f := startFranzGo(t, broker)
	for _, topic := range []string{s.orders, s.users, s.totals} {
		if err := f.admin("create", adminArgs{Topic: topic, Partitions: 4, Configs: map[string]*string{"retention.ms": ref("-1")}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	users, sold, want := streamsInput(n)
	s.want = want
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker)) // users go where Java's partitioner puts them: the join needs it
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, u := range users {
		cl.Produce(t.Context(), &kgo.Record{Topic: s.users, Key: u.Key, Value: u.Value, Timestamp: time.UnixMilli(u.Time)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("users: %v", err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.rest = sold
	return s
}

// sell sends the next n orders.
func (s *streamsTest) sell(n int) {
	s.t.Helper()
	n = min(n, len(s.rest))
	if _, err := startFranzGo(s.t, s.broker).produce(produceArgs{Topic: s.orders, Codec: "none", Acks: "all", Idempotent: true, Records: s.rest[:n]}); err != nil {
		s.t.Fatal(err)
	}
	s.rest = s.rest[n:]
}

// follow reads the committed outputs until there is one for each order, and
// calls progress with their number after each poll. Then it looks whether more
// come, and compares all with the fold.
func (s *streamsTest) follow(ctx context.Context, progress func(n int)) {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.broker), kgo.ConsumeTopics(s.totals), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	last, counts, n := map[string]string{}, map[string]int{}, 0
	for n < s.n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			s.t.Fatalf("%d of %d outputs in time", n, s.n)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			key, value := string(r.Key), string(r.Value)
			counts[key]++
			if !strings.HasPrefix(value, fmt.Sprintf("%d,", counts[key])) {
				s.t.Errorf("output %d of %s is %q (offset %d of partition %d): lost or counted twice", counts[key], key, value, r.Offset, r.Partition)
			}
			last[key] = value
		})
		if s.t.Failed() {
			s.t.FailNow()
		}
		progress(n)
	}
	if n != s.n || !maps.Equal(last, s.want) {
		s.t.Errorf("%d outputs with %d keys, want %d with %d: the last totals are not the fold", n, len(last), s.n, len(s.want))
	}
}

func TestIntegrationAStreamsApplicationIsExactlyOnce(t *testing.T) {
	peers.NeedKafka(t)
	s := newStreamsTest(t, target(t), 20_000)
	s.sell(s.n)
	app := peers.StartStreamsApp(t, s.broker, name(t, "app"), s.orders, s.users, s.totals)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.follow(ctx, func(int) {})
	app.Stop()
	got, err := startFranzGo(t, s.broker).read(readArgs{Topic: s.totals, Isolation: "read_committed"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != s.n {
		t.Errorf("%d outputs after the application's end, want %d", len(got), s.n)
	}
}

// killable is the broker under test when it is the test's own.
type killable interface {
	Addr() string
	Kill()
	Start() error
	Stop()
}

func TestTortureStreamsSurvivesKillsOfEitherSide(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	streamsKilled(t, 62_000, 30)
}

// streamsKilled ends the application or the broker, by SIGKILL or SIGTERM, so
// many times over a run, and compares the outputs with the fold.
func streamsKilled(t *testing.T, orders, kills int) {
	t.Helper()
	peers.NeedKafka(t)
	var broker killable
	if os.Getenv("CLIENTS_TARGET") == "kafka" {
		broker = peers.StartKafkaBroker(t, "")
	} else {
		broker = peers.StartServe(t)
	}
	s := newStreamsTest(t, broker.Addr(), orders)
	app := peers.StartStreamsApp(t, s.broker, name(t, "app"), s.orders, s.users, s.totals)
	rng := rand.New(rand.NewPCG(30, uint64(kills)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills+2)*time.Minute)
	defer cancel()
	done, slice := map[string]int{}, orders/(kills+1)
	s.sell(slice)
	s.follow(ctx, func(n int) {
		sent := orders - len(s.rest)
		if len(s.rest) == 0 || n < sent-slice/2 {
			return
		}
		s.sell(slice) // there is always something to do while one of them is away
		if len(s.rest) < slice {
			s.sell(slice)
		}
		how := []string{"application killed", "application stopped", "broker killed", "broker stopped"}[rng.IntN(4)]
		done[how]++
		switch how {
		case "application killed":
			app.Kill()
			app.Start()
		case "application stopped":
			app.Stop()
			app.Start()
		case "broker killed", "broker stopped":
			if how == "broker killed" {
				broker.Kill()
			} else {
				broker.Stop()
			}
			if err := broker.Start(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("%d orders through %v", orders, done)
	sum := 0
	for _, n := range done {
		sum += n
	}
	if sum != kills {
		t.Errorf("%d ends of either side, want %d", sum, kills)
	}
}
