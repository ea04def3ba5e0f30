package clients

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// target is the address of the broker under test, which all tests share.
func target(t testing.TB) string {
	t.Helper()
	if os.Getenv("CLIENTS_TARGET") == "kafka" {
		return peers.NeedKafkaBroker(t).Addr()
	}
	// Members of KIP-848 groups hear of their partitions with a heartbeat: every 5 s by default.
	return peers.NeedServe(t, "--property", "group.consumer.min.heartbeat.interval.ms=100", "--property", "group.consumer.heartbeat.interval.ms=300").Addr()
}

// record is a record as each client sends and shows it; nil is null.
type record struct {
	Partition int32    `json:"p"`
	Offset    int64    `json:"o"`
	Time      int64    `json:"t"` // milliseconds
	Key       []byte   `json:"k"`
	Value     []byte   `json:"v"`
	Headers   []header `json:"h"`
}

type header struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

type produceArgs struct {
	Topic      string   `json:"topic"`
	Codec      string   `json:"codec"`
	Acks       string   `json:"acks"` // 0, 1, all
	Idempotent bool     `json:"idempotent"`
	Records    []record `json:"records"`
}

type readArgs struct {
	Topic     string `json:"topic"`
	Isolation string `json:"isolation"`
}

type joinArgs struct {
	Member   string   `json:"member"` // any name of ours
	Group    string   `json:"group"`
	Protocol string   `json:"protocol"` // eager, cooperative, consumer (KIP-848)
	Instance string   `json:"instance"` // of a static member
	Topics   []string `json:"topics"`
}

type memberState struct {
	Assigned []string `json:"assigned"` // topic-partition, in order
	Seen     int      `json:"seen"`     // records, which are committed as well
	Revoked  int      `json:"revoked"`  // partitions taken away, ever
	Fault    string   `json:"fault"`
}

type transactArgs struct {
	TxID  string `json:"txid"`
	Topic string `json:"topic"`
	Steps []step `json:"steps"`
}

type step struct {
	Records []record `json:"records"`
	Commit  bool     `json:"commit"`
}

type relayArgs struct {
	TxID       string `json:"txid"`
	Group      string `json:"group"`
	From       string `json:"from"`
	To         string `json:"to"`
	Batch      int    `json:"batch"`      // records of a transaction, about
	AbortEvery int    `json:"abortEvery"` // each so manieth transaction is aborted and done again
	Until      int    `json:"until"`      // records to copy
}

type relayed struct{ Copied, Aborted int }

type adminArgs struct {
	Topic      string             `json:"topic"`
	Group      string             `json:"group"`
	Partitions int32              `json:"partitions"`
	Partition  int32              `json:"partition"`
	Offset     int64              `json:"offset"`
	At         int64              `json:"at"` // a time in ms; -1 is the end, -2 the start, -3 the latest time
	Configs    map[string]*string `json:"configs"`
}

// client is what a client library does when it is asked.
type client interface {
	produce(produceArgs) ([]int64, error) // the records' offsets
	read(readArgs) ([]record, error)      // all of a topic, each partition in its order
	join(joinArgs) error
	members() (map[string]memberState, error)
	leave(member string) ([]record, error) // all that it has seen
	transact(transactArgs) ([]int64, error)
	fence(transactArgs) (string, error) // what the older of two producers with one id hears
	relay(relayArgs) (relayed, error)
	admin(op string, a adminArgs, result any) error
}

// library is a client library and what it has.
type library struct {
	name       string
	start      func(t testing.TB, broker string) client
	codecs     []string
	idempotent bool
	protocols  []string // of groups
	static     []string // of them those with static members
	txn        bool
	adminLacks []string // operations
	// nullIsEmpty: it shows a null key, value or header value as an empty one.
	nullIsEmpty bool
}

var allProtocols = []string{"eager", "cooperative", "consumer"}

var allCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

var libraries = []library{
	{name: "franz-go", start: startFranzGo, codecs: allCodecs, idempotent: true, protocols: allProtocols,
		static: []string{"eager", "cooperative"}, txn: true}, // its static members of KIP-848 do not say that they go
	{name: "kafka-go", start: startKafkaGo, codecs: allCodecs, protocols: []string{"eager"}, adminLacks: []string{"trim", "reset"}, nullIsEmpty: true},
	{name: "sarama", start: driven(peers.StartSaramaDriver), codecs: allCodecs, idempotent: true, protocols: []string{"eager"}, static: []string{"eager"}, txn: true,
		adminLacks: []string{"reset"}},
	{name: "java", start: driven(peers.StartJavaDriver), codecs: allCodecs, idempotent: true, protocols: allProtocols, static: allProtocols, txn: true},
	{name: "librdkafka", start: driven(peers.StartPythonDriver), codecs: allCodecs, idempotent: true, protocols: allProtocols, static: allProtocols, txn: true},
}

// each runs a claim for each library that fits, side by side: most of a
// rebalance is waiting.
func each(t *testing.T, fits func(library) bool, claim func(t *testing.T, l library, c client)) {
	t.Helper()
	peers.NeedIntegration(t)
	broker := target(t)
	for _, l := range libraries {
		if !fits(l) {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			claim(t, l, l.start(t, broker))
		})
	}
}

// remote is a client in a program of its own.
type remote struct{ *peers.Driver }

func driven(start func(testing.TB, string) *peers.Driver) func(testing.TB, string) client {
	return func(t testing.TB, broker string) client {
		t.Helper()
		return remote{start(t, broker)}
	}
}

func (r remote) produce(a produceArgs) (offsets []int64, err error) {
	return offsets, r.Do("produce", a, &offsets)
}
func (r remote) read(a readArgs) (all []record, err error) { return all, r.Do("read", a, &all) }
func (r remote) join(a joinArgs) error                     { return r.Do("join", a, nil) }
func (r remote) members() (all map[string]memberState, err error) {
	return all, r.Do("members", struct{}{}, &all)
}

func (r remote) leave(member string) (seen []record, err error) {
	return seen, r.Do("leave", map[string]string{"member": member}, &seen)
}

func (r remote) transact(a transactArgs) (offsets []int64, err error) {
	return offsets, r.Do("transact", a, &offsets)
}
func (r remote) fence(a transactArgs) (heard string, err error) {
	return heard, r.Do("fence", a, &heard)
}
func (r remote) relay(a relayArgs) (d relayed, err error) { return d, r.Do("relay", a, &d) }
func (r remote) admin(op string, a adminArgs, result any) error {
	if a.Configs == nil {
		a.Configs = map[string]*string{}
	}
	return r.Do(op, a, result)
}

var named atomic.Int64

// name is a name of a topic, group or transactional id that no other test has.
func name(t testing.TB, kind string) string {
	return fmt.Sprintf("%s-%d-%d", kind, os.Getpid(), named.Add(1))
}

// inOrder sorts records by partition and offset.
func inOrder(records []record) []record {
	slices.SortFunc(records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return records
}

// until asks for a condition until it holds; what it says at last is the failure.
func until(t testing.TB, what string, holds func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := holds()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not after %v: %s", what, patience, state)
		}
	}
}

// patience bounds every wait; only a broken broker makes a test need it.
const patience = 90 * time.Second
