package broker_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// readAll reads partition 0 of a topic of a Kafka-protocol broker up to offset
// end with a foreign client.
func readAll(t *testing.T, addr, topic string, end int64, level kgo.IsolationLevel) []dumpedRecord {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var got []dumpedRecord
	for next := int64(0); next < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s at %d of %d: %v", topic, next, end, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			next = r.Offset + 1
			if r.Attrs.IsControl() {
				continue
			}
			got = append(got, foreignRecord(r))
		}
	}
	return got
}

func foreignRecord(r *kgo.Record) dumpedRecord {
	d := dumpedRecord{offset: r.Offset, timestamp: r.Timestamp.UnixMilli(), keySize: -1, valSize: -1, key: string(r.Key), value: string(r.Value)}
	if r.Key != nil {
		d.keySize = len(r.Key)
	}
	if r.Value != nil {
		d.valSize = len(r.Value)
	}
	var names []string
	for _, h := range r.Headers {
		names = append(names, h.Key)
	}
	d.headers = strings.Join(names, ",")
	return d
}

// moveCase is a topic that goes to Kafka and back.
type moveCase struct {
	*written
	topic   string
	aborted map[int64]bool // offsets of records that were aborted
}

func (c *moveCase) committed() []dumpedRecord {
	return slices.DeleteFunc(slices.Clone(c.records), func(r dumpedRecord) bool { return c.aborted[r.offset] })
}

// read compares what a broker serves with what was written, at both levels.
func (c *moveCase) read(t *testing.T, addr string) {
	t.Helper()
	if got := readAll(t, addr, c.topic, c.next, kgo.ReadUncommitted()); !slices.Equal(got, c.records) {
		t.Errorf("%s uncommitted: %d records read, %d written; first difference: %s", c.topic, len(got), len(c.records), firstDifference(got, c.records))
	}
	want := c.committed()
	if got := readAll(t, addr, c.topic, c.next, kgo.ReadCommitted()); !slices.Equal(got, want) {
		t.Errorf("%s committed: %d records read, %d written; first difference: %s", c.topic, len(got), len(want), firstDifference(got, want))
	}
}

// moveTopics writes every codec over several segments and leader epochs, and
// committed and aborted transactions, and closes the broker.
func moveTopics(t *testing.T, dir string) []*moveCase {
	t.Helper()
	cfg := broker.Config{Dir: dir, MaintenanceInterval: -1}
	b, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	codecs := &moveCase{newWritten(t, b, "codecs", map[string]string{"segment.bytes": "16384", "index.interval.bytes": "1024"}), "codecs", nil}
	txns := &moveCase{newWritten(t, b, "transactions", nil), "transactions", map[int64]bool{}}
	for i := range 100 {
		codecs.batch(8, record.Codec(i%5), 300, nil)
	}
	b.Abandon() // the next start raises the leader epoch
	cfg.BootID = "another"
	if b, err = broker.Open(cfg); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*moveCase{codecs, txns} {
		c.b = b
		if c.p, err = b.Partition(record.TopicPartition{Topic: c.topic}); err != nil {
			t.Fatal(err)
		}
	}
	// What a cut without sync may have lost is written again.
	lost := int64(codecs.p.Offsets().End)
	codecs.records, codecs.next = codecs.records[:lost], lost
	for i := range 100 {
		codecs.batch(8, record.Codec(i%5), 300, nil)
	}
	for i := range 6 {
		before := txns.next
		txns.transaction(fmt.Sprintf("t-%d", i), []string{"COMMIT", "ABORT"}[i%2])
		for o := before; o < txns.next && i%2 == 1; o++ {
			txns.aborted[o] = true
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return []*moveCase{codecs, txns}
}

func verifyClean(t *testing.T, dir string) {
	t.Helper()
	if _, err := broker.Verify(vfs.OS(), dir, broker.VerifyOptions{}, func(f segment.Finding) { t.Errorf("verify of %s: %v", dir, f) }); err != nil {
		t.Fatal(err)
	}
}

// TestIntegrationMoveToKafkaAndBack: a real Kafka started on exported
// directories reads every record of all codecs and transactions and takes more,
// and what is imported again is whole.
func TestIntegrationMoveToKafkaAndBack(t *testing.T) {
	kafka := peers.StartKafkaBroker(t, "")
	dir := t.TempDir()
	cases := moveTopics(t, dir)
	ids := map[string][16]byte{}
	for _, c := range cases {
		ids[c.topic] = createInKafka(t, kafka.Addr(), c.topic)
	}
	if _, err := broker.Export(vfs.OS(), dir, kafka.DataDir(), broker.Move{Topic: "codecs", ID: ids["codecs"]}); !errors.Is(err, broker.ErrNotStopped) {
		t.Errorf("export into a running Kafka: %v, expected ErrNotStopped", err)
	}
	kafka.Stop()
	for _, c := range cases {
		moved, err := broker.Export(vfs.OS(), dir, kafka.DataDir(), broker.Move{Topic: c.topic, ID: ids[c.topic]})
		if err != nil {
			t.Fatal(err)
		}
		if len(moved) != 1 || int64(moved[0].End) != c.next {
			t.Errorf("%s: exported %+v, expected one partition that ends at %d", c.topic, moved, c.next)
		}
	}
	verifyClean(t, dir)
	if err := kafka.Start(); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		c.read(t, kafka.Addr())
		c.produce(t, kafka.Addr())
		c.read(t, kafka.Addr())
	}
	kafka.Stop()

	back := filepath.Join(t.TempDir(), "back")
	reopen(t, back)
	for _, c := range cases {
		if _, err := broker.Import(vfs.OS(), back, kafka.DataDir(), broker.Move{Topic: c.topic}); err != nil {
			t.Fatal(err)
		}
	}
	verifyClean(t, back)
	b, err := broker.Open(broker.Config{Dir: back, MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if topic, _ := b.Topic(c.topic); topic.ID != ids[c.topic] {
			t.Errorf("%s: id %x, expected Kafka's %x", c.topic, topic.ID, ids[c.topic])
		}
		c.readEmbedded(t, b)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	verifyClean(t, back)
}

func reopen(t *testing.T, dir string) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir, MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func createInKafka(t *testing.T, addr, topic string) [16]byte {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	r, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, topic)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// produce writes some records more, as an idempotent producer of Kafka's.
func (c *moveCase) produce(t *testing.T, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range 20 {
		r, err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: c.topic, Key: fmt.Appendf(nil, "more-%d", i), Value: []byte("more")}).First()
		if err != nil {
			t.Fatalf("%s: Kafka does not take more: %v", c.topic, err)
		}
		if r.Offset != c.next {
			t.Errorf("%s: Kafka appends at %d, expected %d", c.topic, r.Offset, c.next)
		}
		c.records = append(c.records, foreignRecord(r))
		c.next = r.Offset + 1
	}
}

// readEmbedded compares what the broker's own consumer of committed records gives.
func (c *moveCase) readEmbedded(t *testing.T, b *broker.Broker) {
	t.Helper()
	tp := record.TopicPartition{Topic: c.topic}
	co, err := b.NewConsumer(broker.ConsumerConfig{Partitions: []record.TopicPartition{tp}, Start: broker.FromStart()})
	if err != nil {
		t.Fatal(err)
	}
	defer co.Close()
	want, ctx := c.committed(), t.Context()
	var got []dumpedRecord
	for len(got) < len(want) {
		messages, err := co.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			r := &kgo.Record{Offset: int64(m.Offset), Timestamp: m.Time, Key: m.Key, Value: m.Value}
			for _, h := range m.Headers {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
			got = append(got, foreignRecord(r))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s imported: %d records read, %d written; first difference: %s", c.topic, len(got), len(want), firstDifference(got, want))
	}
}
