package wire

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// fetchRequest asks for partitions 0.. of a topic, from the offsets given.
func fetchRequest(version int16, top broker.Topic, offsets ...int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes, req.MinBytes, req.SessionEpoch = version, -1, 1<<20, 0, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = top.Name, top.ID
	for i, o := range offsets {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), o, 1<<20
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func fetched(t *testing.T, resp kmsg.Response) kmsg.FetchResponseTopicPartition {
	t.Helper()
	r := resp.(*kmsg.FetchResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		t.Fatalf("answer has error %d and topics %+v, expected one partition", r.ErrorCode, r.Topics)
	}
	return r.Topics[0].Partitions[0]
}

func (ts *testServer) partition(topic string, n int) *broker.Partition {
	ts.t.Helper()
	p, err := ts.b.Partition(record.TopicPartition{Topic: topic, Partition: record.Partition(n)})
	if err != nil {
		ts.t.Fatal(err)
	}
	return p
}

func (ts *testServer) produce(topic string, n int, values ...string) {
	ts.t.Helper()
	if _, err := ts.partition(topic, n).Produce(batchOf(ts.t, values...), broker.AcksLeader); err != nil {
		ts.t.Fatal(err)
	}
}

// logBytes is what lies in a partition from an offset on.
func (ts *testServer) logBytes(topic string, n int, from record.Offset) []byte {
	ts.t.Helper()
	c, err := ts.partition(topic, n).Read(from, broker.ReadOptions{MaxBytes: 64 << 20})
	if err != nil {
		ts.t.Fatal(err)
	}
	defer c.Release()
	return bytes.Clone(c.Data)
}

func TestFetchReadsAtEveryVersion(t *testing.T) {
	for _, where := range []string{"memory", "disk"} {
		setups := []setup{}
		if where == "disk" {
			setups = append(setups, onDisk(t))
		}
		ts := newTestServer(t, setups...)
		top := ts.topic("t", 2)
		for i := range 50 { // the second partition is large enough to be sent by itself
			ts.produce("t", 0, fmt.Sprint(i))
			ts.produce("t", 1, strings.Repeat("x", 1000))
		}
		c := ts.dial()
		versions(t, keyFetch, func(t *testing.T, v int16) {
			resp := c.do(fetchRequest(v, top, 10, 0)).(*kmsg.FetchResponse)
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 2 {
				t.Fatalf("%s: version %d: topics %+v", where, v, resp.Topics)
			}
			for n, from := range []record.Offset{10, 0} {
				p := resp.Topics[0].Partitions[n]
				if p.ErrorCode != 0 || p.HighWatermark != 50 || p.LastStableOffset != 50 || v >= 5 && p.LogStartOffset != 0 || p.Partition != int32(n) {
					t.Errorf("%s: version %d: partition %d: %+v", where, v, n, p)
				}
				if want := ts.logBytes("t", n, from); !bytes.Equal(p.RecordBatches, want) {
					t.Errorf("%s: version %d: partition %d has %d bytes, expected the log's %d", where, v, n, len(p.RecordBatches), len(want))
				}
			}
		})
	}
}

func TestFetchErrorsAreThePartitionsOwn(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 2)
	ts.produce("t", 0, "a", "b")
	ts.produce("t", 1, "c")
	for _, c := range []struct {
		name    string
		change  func(*kmsg.FetchRequest)
		version int16
		want    int16
	}{
		{"after the end", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 3 }, 12, codeOffsetOutOfRange},
		{"negative offset", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = -1 }, 12, codeOffsetOutOfRange},
		{"unknown partition", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 9 }, 12, codeUnknownTopicOrPartition},
		{"epoch ahead", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 7 }, 9, codeUnknownLeaderEpoch},
		{"last epoch ahead", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 7 }, 12, codeOffsetOutOfRange},
	} {
		req := fetchRequest(c.version, top, 0, 0)
		req.MinBytes, req.MaxWaitMillis = 1<<20, 1<<30 // an error does not wait
		c.change(req)
		resp := ts.dial().do(req).(*kmsg.FetchResponse)
		if got := resp.Topics[0].Partitions[0]; got.ErrorCode != c.want || len(got.RecordBatches) != 0 {
			t.Errorf("%s: error %d with %d bytes, expected %d", c.name, got.ErrorCode, len(got.RecordBatches), c.want)
		}
		if got := resp.Topics[0].Partitions[1]; got.ErrorCode != 0 || len(got.RecordBatches) == 0 {
			t.Errorf("%s: the partition beside it: error %d, %d bytes", c.name, got.ErrorCode, len(got.RecordBatches))
		}
	}
	none := broker.Topic{Name: "none", ID: [16]byte{1}}
	if p := fetched(t, ts.dial().do(fetchRequest(12, none, 0))); p.ErrorCode != codeUnknownTopicOrPartition {
		t.Errorf("unknown topic: %d", p.ErrorCode)
	}
	if p := fetched(t, ts.dial().do(fetchRequest(13, none, 0))); p.ErrorCode != codeUnknownTopicID {
		t.Errorf("unknown topic id: %d", p.ErrorCode)
	}
}

func TestALongPollIsAnsweredByTheAppend(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	req := fetchRequest(12, top, 0)
	req.MinBytes, req.MaxWaitMillis = 200, 1<<30
	c.write(req)
	for range 4 { // one is not enough
		ts.produce("t", 0, "some value")
	}
	if p := fetched(t, c.read(req)); len(p.RecordBatches) < 200 {
		t.Errorf("answered with %d bytes, expected at least 200", len(p.RecordBatches))
	}
	// Time is over before enough came: what is there comes.
	req = fetchRequest(12, top, 3)
	req.MinBytes, req.MaxWaitMillis = 1<<20, 20
	began := time.Now()
	if p := fetched(t, c.do(req)); len(p.RecordBatches) == 0 || time.Since(began) < 20*time.Millisecond {
		t.Errorf("answered with %d bytes after %v, expected what is there after 20 ms", len(p.RecordBatches), time.Since(began))
	}
}

func TestALongPollEndsWithItsTopicAndItsServer(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	req := fetchRequest(13, top, 0)
	req.MinBytes, req.MaxWaitMillis = 1, 1<<30
	c.write(req)
	other := ts.topic("other", 1)
	d := ts.dial()
	last := fetchRequest(13, other, 0)
	last.MinBytes, last.MaxWaitMillis, last.SessionEpoch = 1, 1<<30, 0
	d.write(last)
	waitFor(t, "the fetch is handled", ts.hasSession)
	if err := ts.b.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if p := fetched(t, c.read(req)); p.ErrorCode != codeUnknownTopicID {
		t.Errorf("the topic's end: error %d", p.ErrorCode)
	}
	ts.stop()
	if p := fetched(t, d.read(last)); p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
		t.Errorf("the server's end: error %d with %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
}

func TestFetchBounds(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 3)
	for n := range 3 {
		for range 20 {
			ts.produce("t", n, strings.Repeat("x", 900))
		}
	}
	sizes := func(req *kmsg.FetchRequest) (out []int) {
		for _, p := range ts.dial().do(req).(*kmsg.FetchResponse).Topics[0].Partitions {
			out = append(out, len(p.RecordBatches))
		}
		return out
	}
	one := len(ts.logBytes("t", 0, 19))
	req := fetchRequest(12, top, 0, 0, 0)
	req.MaxBytes = int32(2*one + one/2)
	if got := sizes(req); got[0] != 2*one || got[1] != 0 || got[2] != 0 {
		t.Errorf("max bytes for 2.5 batches: %v, expected 2 batches of %d", got, one)
	}
	req.MaxBytes = 10
	if got := sizes(req); got[0] != one || got[1] != 0 {
		t.Errorf("max bytes below a batch: %v, expected the first batch of %d alone", got, one)
	}
	req = fetchRequest(12, top, 0, 0, 0)
	for i := range req.Topics[0].Partitions {
		req.Topics[0].Partitions[i].PartitionMaxBytes = int32(3 * one)
	}
	if got := sizes(req); got[0] != 3*one || got[1] != 3*one || got[2] != 3*one {
		t.Errorf("partition max bytes: %v, expected %d each", got, 3*one)
	}
}

func TestKgoConsumesWhatItProduced(t *testing.T) {
	ts := newTestServer(t, onDisk(t))
	ts.topic("t", 3)
	cl := ts.kgo(kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableIdempotentWrite())
	const n = 5000
	sum := 0
	for i := range n {
		cl.Produce(context.Background(), kgo.StringRecord(fmt.Sprint(i)), nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < n; {
		fs := cl.PollFetches(context.Background())
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			var i int
			fmt.Sscan(string(r.Value), &i)
			sum += i
			got++
		})
	}
	if want := n * (n - 1) / 2; sum != want {
		t.Errorf("sum of the records is %d, expected %d", sum, want)
	}
}
