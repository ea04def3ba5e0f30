package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/connectors/kafka"
	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// cluster is a real broker and a client of it that is not ours.
type cluster struct {
	t      *testing.T
	broker *peers.KafkaBroker
	client *kgo.Client
}

func newCluster(t *testing.T, b *peers.KafkaBroker) *cluster {
	c := &cluster{t: t, broker: b}
	c.client = c.newClient()
	return c
}

func (c *cluster) newClient(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	opts = append(opts, kgo.SeedBrokers(c.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50*time.Millisecond))
	client, err := kgo.NewClient(opts...)
	c.ok(err)
	c.t.Cleanup(client.Close)
	return client
}

func (c *cluster) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%v\nthe broker's log ends:\n%s", err, c.broker.LogTail(1000))
	}
}

func (c *cluster) connection() kafka.Connection {
	return kafka.Connection{Brokers: []string{c.broker.Addr()}}
}

func (c *cluster) topic(name string, partitions int32) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(c.t.Context(), c.client)
	c.ok(err)
	c.ok(kerr.ErrorForCode(res.Topics[0].ErrorCode))
}

// deleteBefore raises the start of partition 0.
func (c *cluster) deleteBefore(topic string, offset int64) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	res, err := req.RequestWith(c.t.Context(), c.client)
	c.ok(err)
	c.ok(kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode))
}

// produce writes records and waits for their acknowledgement.
func (c *cluster) produce(client *kgo.Client, topic string, partition int32, values ...string) {
	c.t.Helper()
	var rs []*kgo.Record
	for i, v := range values {
		r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte("key-" + v), Value: []byte(v), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("of " + v)}}}
		if v == "null" {
			r.Key, r.Value = nil, nil
		}
		rs = append(rs, r)
	}
	c.ok(client.ProduceSync(c.t.Context(), rs...).FirstErr())
}

// read waits for n records of a partition.
func (c *cluster) read(topic string, partition int32, n int) (out []*kgo.Record) {
	c.t.Helper()
	client := c.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	defer client.Close()
	for len(out) < n {
		fetches := client.PollFetches(c.t.Context())
		c.ok(fetches.Err0())
		out = append(out, fetches.Records()...)
	}
	return out
}

// values are what partition 0 holds now.
func (c *cluster) values(topic string) (out []string) {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Timestamp = -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{partition}}}
	res, err := req.RequestWith(c.t.Context(), c.client)
	c.ok(err)
	for _, r := range c.read(topic, 0, int(res.Topics[0].Partitions[0].Offset)) {
		out = append(out, string(r.Value))
	}
	return out
}

// open opens a source as the engine does.
func (c *cluster) open(s *kafka.Source, partitions int32, pos []byte) error {
	c.t.Cleanup(func() { s.Close() })
	for {
		err := s.Open(c.t.Context(), connectors.SourceContext{Name: "bridge", Topic: connectors.Topic{Name: "here"}, Partitions: partitions}, pos)
		if !connectors.IsTransient(err) {
			return err
		}
		c.ok(s.Close()) // a topic that was made just now has no leader yet
	}
}

// drain reads a bounded source to its end.
func (c *cluster) drain(s connectors.Source) (out []string) {
	c.t.Helper()
	for {
		var b connectors.Batch
		err := s.Read(c.t.Context(), &b)
		for _, o := range b.Records() {
			out = append(out, fmt.Sprintf("%d:%s=%s", o.Partition, o.Key, o.Value))
		}
		if err != nil {
			if err.Error() != "EOF" {
				c.t.Fatal(err)
			}
			return out
		}
	}
}

func TestIntegrationASourceKeepsEverythingAndLeavesAbortedOut(t *testing.T) {
	c := newCluster(t, peers.NeedKafkaBroker(t))
	c.topic("kept", 2)
	c.produce(c.client, "kept", 0, "a", "null")
	tx := c.newClient(kgo.TransactionalID("tx-kept"))
	c.ok(tx.BeginTransaction())
	c.produce(tx, "kept", 0, "aborted-1", "aborted-2")
	c.produce(tx, "kept", 1, "aborted-3")
	c.ok(tx.EndTransaction(t.Context(), kgo.TryAbort))
	c.produce(c.client, "kept", 0, "b")
	c.ok(tx.BeginTransaction())
	c.produce(tx, "kept", 1, "committed")
	c.ok(tx.EndTransaction(t.Context(), kgo.TryCommit))
	c.ok(tx.BeginTransaction())
	c.produce(tx, "kept", 1, "open") // nobody may see this, nor what follows
	c.produce(c.client, "kept", 1, "behind")

	s := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "kept", Bounded: true})
	c.ok(c.open(s, 2, nil))
	got := c.drain(s)
	slices.Sort(got)
	if want := []string{"0:=", "0:key-a=a", "0:key-b=b", "1:key-committed=committed"}; !slices.Equal(got, want) {
		t.Errorf("expected %q, found %q", want, got)
	}
	c.ok(tx.EndTransaction(t.Context(), kgo.TryCommit))
	again := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "kept", Bounded: true})
	c.ok(c.open(again, 2, s.Position()))
	if got, want := c.drain(again), []string{"1:key-open=open", "1:key-behind=behind"}; !slices.Equal(got, want) {
		t.Errorf("from its position: expected %q, found %q", want, got)
	}
	if m := again.Measures(); m.LagRecords != 0 || m.Dropped != 0 {
		t.Errorf("at the end: expected no lag and nothing dropped, found %+v", m)
	}
}

func TestIntegrationASourceRefusesWhatDoesNotFit(t *testing.T) {
	c := newCluster(t, peers.NeedKafkaBroker(t))
	c.topic("fits", 3)
	c.produce(c.client, "fits", 0, "a", "b")
	s := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "fits", Bounded: true})
	c.ok(c.open(s, 3, nil))
	c.drain(s)
	other := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "fits2"})
	c.topic("fits2", 3)
	for name, e := range map[string]struct {
		err  error
		want error
	}{
		"another number of partitions": {c.open(kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "fits"}), 4, nil), kafka.ErrPartitions},
		"a position of another topic":  {c.open(other, 3, s.Position()), kafka.ErrOtherCluster},
		"a topic that is not there":    {c.open(kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "none"}), 3, nil), kafka.ErrNoTopic},
	} {
		if !errors.Is(e.err, e.want) || connectors.IsTransient(e.err) {
			t.Errorf("%s: expected %v, found %v", name, e.want, e.err)
		}
	}
}

func TestIntegrationRecordsThatAreGoneAreToldOrPassedOver(t *testing.T) {
	c := newCluster(t, peers.NeedKafkaBroker(t))
	c.topic("gap", 1)
	c.produce(c.client, "gap", 0, "a")
	first := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "gap", Bounded: true})
	c.ok(c.open(first, 1, nil))
	c.drain(first)
	c.produce(c.client, "gap", 0, "b", "c", "d")
	c.deleteBefore("gap", 3)
	stops := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "gap", Bounded: true})
	c.ok(c.open(stops, 1, first.Position()))
	var b connectors.Batch
	err := stops.Read(t.Context(), &b)
	var gap *kafka.GapError
	if !errors.As(err, &gap) || gap.Next != 1 || gap.First != 3 || !connectors.IsPermanent(err) {
		t.Errorf("expected a permanent GapError from 1 to 3, found %v", err)
	}
	goesOn := kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "gap", Bounded: true, OnGap: kafka.GoOnFromOldest})
	c.ok(c.open(goesOn, 1, first.Position()))
	if got := c.drain(goesOn); !slices.Equal(got, []string{"0:key-d=d"}) || goesOn.Measures().Dropped != 2 {
		t.Errorf("expected d and 2 dropped, found %q and %d", got, goesOn.Measures().Dropped)
	}
}

// bridge runs a program that copies a topic of the cluster into the log and out
// of it into another one, until ctx is done.
func (c *cluster) bridge(ctx context.Context, dir, from, to string) error {
	b := streams.NewBuilder("bridge")
	b.From[string, string]("here").To("here-by-key") // beside the bridge, which keeps partitions
	topo, err := b.Build()
	if err != nil {
		return err
	}
	e, err := engine.New(topo, engine.Config{
		Log: "embedded:" + dir, Partitions: 2, Workers: 2, CommitInterval: 10 * time.Millisecond,
		Sources: []engine.Source{{Name: "in", Topic: "here", Source: kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: from, MaxWait: 50 * time.Millisecond})}},
		Sinks:   []engine.Sink{{Name: "out", Topic: "here", Sink: kafka.NewSink(kafka.SinkConfig{Connection: c.connection(), Topic: to, SamePartition: true, Coordinates: true})}},
	})
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Run(ctx)
}

func TestIntegrationThroughTheLogAndBackOverARestartOfTheBroker(t *testing.T) {
	broker := peers.StartKafkaBroker(t, "")
	c := newCluster(t, broker)
	c.topic("from", 2)
	c.topic("to", 2)
	dir := filepath.Join(t.TempDir(), "data")
	const each = 300
	values := func(first, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint(first+i))
		}
		return out
	}
	run := func(n int) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.bridge(ctx, dir, "from", "to") }()
		for p := range int32(2) {
			c.read("to", p, n)
		}
		cancel()
		c.ok(<-done)
	}
	for p := range int32(2) {
		c.produce(c.client, "from", p, values(0, each)...)
	}
	run(each)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.bridge(ctx, dir, "from", "to") }()
	c.ok(broker.Restart()) // under the running program
	for p := range int32(2) {
		c.produce(c.client, "from", p, values(each, each)...)
	}
	for p := range int32(2) {
		seen := map[string]bool{}
		last := -1
		for _, m := range c.read("to", p, 2*each) {
			var at string
			for _, h := range m.Headers {
				if h.Key == connectors.HeaderOffset {
					at = string(h.Value)
				}
			}
			var n int
			fmt.Sscan(string(m.Value), &n)
			if seen[at] || at == "" || n != last+1 || string(m.Key) != "key-"+string(m.Value) || !strings.HasPrefix(string(m.Headers[0].Value), "of ") {
				t.Fatalf("partition %d: found %s = %s from offset %q after %d: expected each once, in order, whole", p, m.Key, m.Value, at, last)
			}
			seen[at], last = true, n
		}
	}
	cancel()
	c.ok(<-done)
}

func TestIntegrationTheContractOfTheSink(t *testing.T) {
	c := newCluster(t, peers.NeedKafkaBroker(t))
	topics := 0
	connectortest.SinkSuite{
		Target: func(testing.TB) connectortest.SinkTarget {
			topics++
			name := fmt.Sprint("contract-", topics)
			c.topic(name, 1)
			return connectortest.SinkTarget{
				Sink: func(testing.TB) connectors.Sink {
					return kafka.NewSink(kafka.SinkConfig{Connection: c.connection(), Topic: name, MaxMessageBytes: 1000})
				},
				Written: func(testing.TB) []string { return c.values(name) },
			}
		},
		Record: func(n int) (connectors.Record, string) {
			name := fmt.Sprint("value-", n)
			return connectors.Record{View: record.View{Value: []byte(name), Timestamp: 1_700_000_000_000}, Topic: "out"}, name
		},
		Poison: func(int) connectors.Record {
			return connectors.Record{View: record.View{Value: make([]byte, 2000)}, Topic: "out"}
		},
	}.Run(t)
}

func TestIntegrationTheContractOfTheSource(t *testing.T) {
	c := newCluster(t, peers.NeedKafkaBroker(t))
	c.topic("source", 1)
	c.produce(c.client, "source", 0, "a", "b", "c")
	connectortest.SourceSuite{
		Source: func(testing.TB) connectors.Source {
			return kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "source", Repartition: true, MaxWait: 20 * time.Millisecond})
		},
		Want:          []string{"a", "b", "c"},
		Stays:         true,
		WrongPosition: []byte{9},
		Elsewhere: func(testing.TB) connectors.Source {
			return kafka.NewSource(kafka.SourceConfig{Connection: c.connection(), Topic: "nowhere"})
		},
	}.Run(t)
}
