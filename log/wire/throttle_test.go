package wire

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// handClock is a clock that a test moves.
type handClock struct{ ns atomic.Int64 }

func newHandClock() *handClock {
	c := new(handClock)
	c.ns.Store(time.Unix(1_700_000_000, 0).UnixNano())
	return c
}

func (c *handClock) Now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *handClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// withClock makes throttling and sessions go by a clock in the test's hand.
func withClock(c *handClock) setup {
	return func(_ *broker.Config, w *Config) { w.Now = c.Now }
}

// setQuota sets a quota of a client id, or of an address; "*" is the default.
func (ts *testServer) setQuota(entityType, name, key string, value float64) {
	ts.t.Helper()
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Version = 1
	e := kmsg.NewAlterClientQuotasRequestEntry()
	p := kmsg.NewAlterClientQuotasRequestEntryEntity()
	p.Type = entityType
	if name != "*" {
		p.Name = &name
	}
	op := kmsg.NewAlterClientQuotasRequestEntryOp()
	op.Key, op.Value = key, value
	e.Entity, e.Ops = append(e.Entity, p), append(e.Ops, op)
	req.Entries = append(req.Entries, e)
	resp := ts.dial().do(req).(*kmsg.AlterClientQuotasResponse)
	if got := resp.Entries[0]; got.ErrorCode != 0 {
		ts.t.Fatalf("quota %s of %s %s: code %d %s", key, entityType, name, got.ErrorCode, *got.ErrorMessage)
	}
}

func quotaProduce(topic string, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 12, 1, 5000
	t, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	p.Records, t.Topic = batch, topic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func quotaFetch(topic string, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes, req.SessionEpoch = 12, 50<<20, 1, -1
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	t.Topic, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = topic, offset, 1<<20, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func TestAProducerOverItsQuotaIsAnsweredAndThenNotRead(t *testing.T) {
	clock := newHandClock()
	ts := newTestServer(t, withClock(clock))
	ts.topic("t", 1)
	ts.setQuota("client-id", "raw", "producer_byte_rate", 100) // the burst is 1000 bytes
	c := ts.dial()
	req := quotaProduce("t", batchOf(t, string(make([]byte, 1500))))
	resp := c.do(req).(*kmsg.ProduceResponse)
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatalf("produce: code %d", code)
	}
	if resp.ThrottleMillis < 5000 || resp.ThrottleMillis > 10_000 {
		t.Errorf("1500 bytes at 100 a second, 1000 of them at once: throttled %d ms", resp.ThrottleMillis)
	}
	// The next request lies in the socket until the hand clock says so.
	next := c.write(kmsg.NewPtrApiVersionsRequest())
	other := ts.dial()
	other.do(kmsg.NewPtrApiVersionsRequest()) // somebody else is served meanwhile
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.tryRead(kmsg.NewPtrApiVersionsRequest()); err == nil {
		t.Errorf("request %d of a throttled connection was answered", next)
	}
}

func TestAThrottledConnectionIsReadAgain(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	ts.setQuota("client-id", "*", "producer_byte_rate", 10_000)
	c := ts.dial()
	batch := batchOf(t, string(make([]byte, 100_000)))
	if ms := c.do(quotaProduce("t", batch)).(*kmsg.ProduceResponse).ThrottleMillis; ms <= 0 || ms > 100 {
		t.Errorf("some bytes above the burst of 100,000: throttled %d ms", ms)
	}
	c.do(kmsg.NewPtrApiVersionsRequest()) // and not forever
}

func TestAConsumerOverItsQuotaGetsNoRecords(t *testing.T) {
	clock := newHandClock()
	ts := newTestServer(t, withClock(clock))
	ts.topic("t", 1)
	for range 4 {
		ts.dial().do(quotaProduce("t", batchOf(t, string(make([]byte, 900)))))
	}
	ts.setQuota("user", "ANONYMOUS", "consumer_byte_rate", 100)
	first := ts.dial().do(quotaFetch("t", 0)).(*kmsg.FetchResponse)
	if n := len(first.Topics[0].Partitions[0].RecordBatches); n == 0 || n > 1000 || first.ThrottleMillis != 0 {
		t.Errorf("the first fetch: %d bytes, throttled %d ms, expected up to the burst of 1000 at once", n, first.ThrottleMillis)
	}
	second := ts.dial().do(quotaFetch("t", 1)).(*kmsg.FetchResponse)
	if second.ThrottleMillis == 0 {
		t.Errorf("the second fetch is not throttled")
	}
	third := ts.dial().do(quotaFetch("t", 2)).(*kmsg.FetchResponse) // another connection of the same user
	if len(third.Topics) != 0 || third.ThrottleMillis == 0 || third.ErrorCode != 0 {
		t.Errorf("who owes got %d topics, throttled %d ms, code %d", len(third.Topics), third.ThrottleMillis, third.ErrorCode)
	}
	clock.advance(time.Minute)
	if fourth := ts.dial().do(quotaFetch("t", 2)).(*kmsg.FetchResponse); len(fourth.Topics) != 1 || fourth.ThrottleMillis != 0 {
		t.Errorf("a minute later: %d topics, throttled %d ms", len(fourth.Topics), fourth.ThrottleMillis)
	}
}

func TestMutationsAboveTheQuotaAreRefusedOrThrottledByVersion(t *testing.T) {
	clock := newHandClock()
	ts := newTestServer(t, withClock(clock))
	ts.setQuota("client-id", "raw", "controller_mutation_rate", 1) // the burst is 11 partitions
	create := func(version int16, name string, partitions int32) *kmsg.CreateTopicsResponse {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = version
		top := kmsg.NewCreateTopicsRequestTopic()
		top.Topic, top.NumPartitions, top.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, top)
		return ts.dial().do(req).(*kmsg.CreateTopicsResponse)
	}
	if resp := create(7, "a", 15); resp.Topics[0].ErrorCode != 0 || resp.ThrottleMillis != 0 {
		t.Errorf("within the quota: code %d, throttled %d ms", resp.Topics[0].ErrorCode, resp.ThrottleMillis)
	}
	if resp := create(7, "b", 1); resp.Topics[0].ErrorCode != codeThrottlingQuotaExceeded || resp.ThrottleMillis != 4000 {
		t.Errorf("version 7 above it: code %d, throttled %d ms, expected THROTTLING_QUOTA_EXCEEDED and 4000", resp.Topics[0].ErrorCode, resp.ThrottleMillis)
	}
	if _, ok := ts.b.TopicView("b"); ok {
		t.Error("the refused topic was made")
	}
	if resp := create(5, "c", 1); resp.Topics[0].ErrorCode != 0 || resp.ThrottleMillis != 5000 {
		t.Errorf("version 5 above it: code %d, throttled %d ms, expected 0 and 5000", resp.Topics[0].ErrorCode, resp.ThrottleMillis)
	}
	clock.advance(5 * time.Second)
	if resp := create(7, "d", 1); resp.Topics[0].ErrorCode != 0 {
		t.Errorf("when the debt is paid: code %d", resp.Topics[0].ErrorCode)
	}
}

func TestRequestTimeIsChargedWithoutTheWaiting(t *testing.T) {
	clock := newHandClock()
	ts := newTestServer(t, withClock(clock))
	r := &request{conn: &conn{srv: ts.srv, principal: anonymous}, clientID: "raw", api: ts.srv.api(keyApiVersions), arrived: clock.Now()}
	ts.setQuota("client-id", "raw", "request_percentage", 50) // the burst is 5 s
	func() {
		defer r.waiting()()
		clock.advance(time.Hour)
	}()
	r.charge()
	if r.throttle != 0 {
		t.Errorf("an hour of waiting is throttled %v", r.throttle)
	}
	clock.advance(5500 * time.Millisecond)
	r.charge()
	if r.throttle != time.Second {
		t.Errorf("5.5 s of work at 50 %%: throttled %v, expected 1 s: 2.5 s were saved, and no more than that is asked at once", r.throttle)
	}
}

func TestConnectionsAboveTheQuotaOfTheirAddressAreRefused(t *testing.T) {
	clock := newHandClock()
	ts := newTestServer(t, withClock(clock))
	ts.setQuota("ip", "127.0.0.1", "connection_creation_rate", 1) // the burst is 10
	served := 0
	for range 15 {
		c := ts.dial()
		c.write(kmsg.NewPtrApiVersionsRequest())
		if _, _, err := c.tryRead(kmsg.NewPtrApiVersionsRequest()); err == nil {
			served++
		}
	}
	if served < 10 || served > 11 {
		t.Errorf("%d of 15 connections were served, expected 10 or 11", served)
	}
	clock.advance(5 * time.Second)
	ts.dial().do(kmsg.NewPtrApiVersionsRequest())
}

func TestFranzGoObeysAThrottledProducer(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	ts.setQuota("client-id", "*", "producer_byte_rate", 50_000)
	var throttled atomic.Int64
	cl := ts.kgo(kgo.DefaultProduceTopic("t"), kgo.WithHooks(throttleHook{&throttled}), kgo.ProducerBatchMaxBytes(100_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 6 {
		if err := cl.ProduceSync(context.Background(), kgo.SliceRecord(make([]byte, 90_000))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if throttled.Load() == 0 {
		t.Error("540,000 bytes at 50,000 a second, 500,000 of them at once, were never throttled")
	}
}

type throttleHook struct{ n *atomic.Int64 }

func (h throttleHook) OnBrokerThrottle(kgo.BrokerMetadata, time.Duration, bool) { h.n.Add(1) }
