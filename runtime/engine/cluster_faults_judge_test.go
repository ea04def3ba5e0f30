package engine_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/log/record"
)

// The input of the fault tests on clusters, written while the faults happen, and
// the judge of their output: franz-go on both ends, nothing of ours.

func faultsPartition(key string) int {
	return int(record.PartitionForKey([]byte(key), kill9Partitions))
}

// region is the part of a user's record that never changes.
func region(key string) string { return "region-" + key[len(key)-1:] }

// endKey is a key of a partition, for the record after which no other comes.
func endKey(partition int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("end-%d", i); faultsPartition(key) == partition {
			return key
		}
	}
}

// inflow writes record after record of kill9Input, with its number behind the
// group, into in and orders, and now and then the users, until it is told to end.
type inflow struct {
	prefix string
	cl     *kgo.Client
	end    context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	next  int            // number of the next record
	acked map[string]int // records by topic and partition
	users map[string]string
	err   error
}

func tpKey(topic string, partition int32) string { return fmt.Sprintf("%s-%d", topic, partition) }

func newInflow(t *testing.T, seeds []string, prefix string) *inflow {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &inflow{prefix: prefix, cl: cl, acked: map[string]int{}, users: map[string]string{}, ended: make(chan struct{})}
}

func (f *inflow) send(ctx context.Context, topic, key, value string, ms int64) {
	r := &kgo.Record{Topic: f.prefix + topic, Partition: int32(faultsPartition(key)), Key: []byte(key), Value: []byte(value), Timestamp: time.UnixMilli(ms)}
	f.cl.Produce(ctx, r, func(r *kgo.Record, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			f.err = fmt.Errorf("write to %s: %w", r.Topic, err)
			return
		}
		f.acked[tpKey(strings.TrimPrefix(r.Topic, f.prefix), r.Partition)]++
	})
}

// loadUsers writes the first value of every user.
func (f *inflow) loadUsers(t *testing.T) (records int) {
	t.Helper()
	keys := map[string]bool{}
	for i := range 1000 {
		key, _, _ := kill9Input(i)
		keys[key] = true
	}
	for p := range kill9Partitions {
		keys[endKey(p)] = true
	}
	_, _, ms := kill9Input(0)
	for key := range keys {
		f.user(t.Context(), key, 0, ms-1)
	}
	if err := f.cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

func (f *inflow) user(ctx context.Context, key string, version int, ms int64) {
	value := fmt.Sprintf("%s %d", region(key), version)
	f.users[key] = value
	f.send(ctx, "users", key, value, ms)
}

// feed writes some records every few milliseconds.
func (f *inflow) feed(perTick int) {
	ctx, cancel := context.WithCancel(context.Background())
	f.end = cancel
	go func() {
		defer close(f.ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; {
			for range perTick {
				key, group, ms := kill9Input(i)
				value := fmt.Sprintf("%s %d%s", group, i, padding)
				f.send(context.Background(), "in", key, value, ms)
				f.send(context.Background(), "orders", key, value, ms)
				if i%10 == 0 {
					f.user(context.Background(), key, i, ms)
				}
				i++
			}
			f.mu.Lock()
			f.next = i
			f.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// finish ends the input: in each partition a record whose time closes all windows
// before it. It returns how many records there were without these.
func (f *inflow) finish(t *testing.T) (n int) {
	t.Helper()
	f.end()
	<-f.ended
	_, _, ms := kill9Input(f.next)
	for p := range kill9Partitions {
		key := endKey(p)
		f.user(t.Context(), key, f.next, ms+10_000)
		value := fmt.Sprintf("end %d%s", f.next, padding)
		f.send(t.Context(), "in", key, value, ms+10_000)
		f.send(t.Context(), "orders", key, value, ms+10_000)
	}
	if err := f.cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.next
}

// written is how many records each partition of in and orders has for sure.
func (f *inflow) written() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.acked)
}

// judge follows the outputs and checks each record as it comes. Its fields but mu
// and what it guards are for the test's goroutine.
type judge struct {
	prefix string

	mu       sync.Mutex
	seen     map[string]int   // records by topic and partition
	expected map[string]int   // the next number by topic and partition, of plain and joined
	updates  map[string]int64 // by key
	closed   map[string]int64 // by "group@start"
	problems []string
}

func newJudge(t *testing.T, seeds []string, prefix string) *judge {
	t.Helper()
	j := &judge{prefix: prefix, seen: map[string]int{}, expected: map[string]int{}, updates: map[string]int64{}, closed: map[string]int64{}}
	from := map[string]map[int32]kgo.Offset{}
	for _, topic := range []string{"plain", "joined", "updates", "closed"} {
		from[prefix+topic] = map[int32]kgo.Offset{}
		for p := range kill9Partitions {
			from[prefix+topic][int32(p)] = kgo.NewOffset().AtStart()
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(j.take)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended; cl.Close() })
	return j
}

func (j *judge) problem(format string, args ...any) {
	if len(j.problems) < 10 {
		j.problems = append(j.problems, fmt.Sprintf(format, args...))
	}
}

func (j *judge) take(r *kgo.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	topic := strings.TrimPrefix(r.Topic, j.prefix)
	at := tpKey(topic, r.Partition)
	j.seen[at]++
	key := string(r.Key)
	switch topic {
	case "plain", "joined":
		i := j.expected[at]
		for strings.HasPrefix(key, "key-") && faultsPartition(fmt.Sprintf("key-%d", i%97)) != int(r.Partition) {
			i++ // kill9Input's key
		}
		var got int
		var where string
		fmt.Sscan(string(r.Value), &got, &where)
		if strings.HasPrefix(key, "end-") {
			i = got // finish says whether nothing is missing before
		}
		if got != i {
			j.problem("%s, offset %d: got number %d, expected %d", at, r.Offset, got, i)
		}
		if topic == "joined" && where != region(key) {
			j.problem("%s, offset %d: joined with %q, expected %q", at, r.Offset, where, region(key))
		}
		j.expected[at] = got + 1
	case "updates":
		j.updates[key]++
		if n := int64(binary.BigEndian.Uint64(r.Value)); n != j.updates[key] {
			j.problem("%s, offset %d: update %d of %s says %d", at, r.Offset, j.updates[key], key, n)
		}
	case "closed":
		k := r.Key
		window := fmt.Sprintf("%s@%d", k[:len(k)-8], int64(binary.BigEndian.Uint64(k[len(k)-8:])))
		if _, twice := j.closed[window]; twice {
			j.problem("%s, offset %d: window %s came out twice", at, r.Offset, window)
		}
		j.closed[window] = int64(binary.BigEndian.Uint64(r.Value))
	}
}

// behind names a partition of plain or joined that has not what was written into
// its input; "" if there is none.
func (j *judge) behind(written map[string]int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for in, out := range map[string]string{"in": "plain", "orders": "joined"} {
		for p := range kill9Partitions {
			if have, want := j.seen[tpKey(out, int32(p))], written[tpKey(in, int32(p))]; have < want {
				return fmt.Sprintf("%s-%d has %d of %d records", out, p, have, want)
			}
		}
	}
	return ""
}

func (j *judge) found() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.problems
}

// complete says whether everything has come out, and what has not.
func (j *judge) complete(written map[string]int, n int) string {
	if what := j.behind(written); what != "" {
		return what
	}
	windows, keys := faultsWant(n)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.closed) < len(windows)-1 { // that of the end is not closed
		return fmt.Sprintf("closed has %d of %d windows", len(j.closed), len(windows)-1)
	}
	for key, want := range keys {
		if j.updates[key] < want {
			return fmt.Sprintf("updates has %d of %d of key %s", j.updates[key], want, key)
		}
	}
	return ""
}

// faultsWant is the fold over the first n records of the input and those of the end.
func faultsWant(n int) (windows, keys map[string]int64) {
	windows, keys = kill9Want(n, faultsPartition)
	_, _, ms := kill9Input(n)
	ms += 10_000
	for p := range kill9Partitions {
		keys[endKey(p)]++
		windows[fmt.Sprintf("end@%d", ms-ms%1000)]++
	}
	return windows, keys
}

// verdict compares everything that came out with the fold over the input.
func (j *judge) verdict(written map[string]int, n int) []string {
	windows, keys := faultsWant(n)
	maps.DeleteFunc(windows, func(window string, _ int64) bool { return strings.HasPrefix(window, "end@") })
	j.mu.Lock()
	defer j.mu.Unlock()
	for in, out := range map[string]string{"in": "plain", "orders": "joined"} {
		for p := range kill9Partitions {
			if have, want := j.seen[tpKey(out, int32(p))], written[tpKey(in, int32(p))]; have != want {
				j.problem("%s-%d has %d records, expected %d", out, p, have, want)
			}
		}
	}
	compareMaps(j.closed, windows, "result of window", j.problem)
	compareMaps(j.updates, keys, "updates of", j.problem)
	return j.problems
}

// stateProblems compares what a child has left in dir/state.json with the fold.
func stateProblems(dir string, n int, users map[string]string) (problems []string) {
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	var s faultsState
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return []string{err.Error()}
	}
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	windows, keys := faultsWant(n)
	compareMaps(s.Windows, windows, "stored window", problem)
	compareMaps(s.Keys, keys, "stored count of", problem)
	if !maps.Equal(s.Users, users) {
		problem("the table has %d users, expected %d, or other values", len(s.Users), len(users))
	}
	return problems
}
