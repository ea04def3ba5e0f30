package wire

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// TestAnAdministratorFindsAndEndsATransaction goes the way of kafka-transactions.sh:
// list, describe, describe the producers of a partition, and abort by a marker.
func TestAnAdministratorFindsAndEndsATransaction(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 2)
	ts.produce("t", 1, "before")
	p := ts.wireProducer(dialectFirst, "hangs")
	ts.wireProducer(dialectBumping, "idle")
	expectCode(t, "put", p.put(top, 1, "v"), codeNone)
	ts.produce("t", 1, "behind")
	ts.expectCommitted("t", 1, "before")
	c := ts.dial()

	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"hangs", "none", ""}
	states := c.do(describe).(*kmsg.DescribeTransactionsResponse).TransactionStates
	if s := states[0]; s.State != "Ongoing" || s.ProducerID != int64(p.who.ID) || s.TimeoutMillis != 60_000 || len(s.Topics) != 1 || s.Topics[0].Topic != "t" || !slices.Equal(s.Topics[0].Partitions, []int32{1}) {
		t.Errorf("described: %+v", s)
	}
	expectCode(t, "describe an unknown id", states[1].ErrorCode, codeTransactionalIDNotFound)
	expectCode(t, "describe an empty id", states[2].ErrorCode, codeInvalidRequest)

	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{1, 7}}}
	parts := c.do(producers).(*kmsg.DescribeProducersResponse).Topics[0].Partitions
	expectCode(t, "producers of an unknown partition", parts[1].ErrorCode, codeUnknownTopicOrPartition)
	if len(parts[0].ActiveProducers) != 1 {
		t.Fatalf("producers: %+v", parts[0])
	}
	found := parts[0].ActiveProducers[0]
	if found.ProducerID != int64(p.who.ID) || found.CurrentTxnStartOffset != 1 || found.LastSequence != 0 {
		t.Errorf("producer: %+v", found)
	}
	for v := int16(1); v <= 2; v++ {
		m := kmsg.NewPtrWriteTxnMarkersRequest()
		m.Version = v
		m.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
			ProducerID: found.ProducerID, ProducerEpoch: int16(found.ProducerEpoch), CoordinatorEpoch: max(found.CoordinatorEpoch, 0),
			Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{1}}, {Topic: "none", Partitions: []int32{0}}},
		}}
		topics := c.do(m).(*kmsg.WriteTxnMarkersResponse).Markers[0].Topics
		expectCode(t, fmt.Sprint("marker, version ", v), topics[0].Partitions[0].ErrorCode, codeNone)
		expectCode(t, "marker for an unknown topic", topics[1].Partitions[0].ErrorCode, codeUnknownTopicOrPartition)
	}
	ts.expectCommitted("t", 1, "before behind")
}

func TestListTransactionsFilters(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	ts := newTestServer(t, func(b *broker.Config, _ *Config) { b.Now = func() time.Time { return now } })
	top := ts.topic("t", 1)
	p := ts.wireProducer(dialectFirst, "app-1")
	ts.wireProducer(dialectFirst, "app-2")
	q := ts.wireProducer(dialectBumping, "other")
	expectCode(t, "put", p.put(top, 0, "v"), codeNone)
	expectCode(t, "put", q.put(top, 0, "v"), codeNone)
	expectCode(t, "commit", q.finish(true), codeNone)
	c := ts.dial()
	for _, tc := range []struct {
		name    string
		version int16
		ask     func(*kmsg.ListTransactionsRequest)
		want    []string
	}{
		{"all", 0, func(*kmsg.ListTransactionsRequest) {}, []string{"app-1 Ongoing", "app-2 Empty", "other CompleteCommit"}},
		{"by state", 0, func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing", "Odd"} }, []string{"app-1 Ongoing"}},
		{"by producer", 1, func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{int64(q.who.ID)} }, []string{"other CompleteCommit"}},
		{"of any duration", 1, func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = -1 }, []string{"app-1 Ongoing", "app-2 Empty", "other CompleteCommit"}},
		{"by pattern", 2, func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("app-.*") }, []string{"app-1 Ongoing", "app-2 Empty"}},
		{"by the whole of a pattern", 2, func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("pp") }, nil},
	} {
		req := kmsg.NewPtrListTransactionsRequest()
		req.Version = tc.version
		tc.ask(req)
		resp := c.do(req).(*kmsg.ListTransactionsResponse)
		var got []string
		for _, s := range resp.TransactionStates {
			got = append(got, s.TransactionalID+" "+s.TransactionState)
		}
		if resp.ErrorCode != codeNone || !slices.Equal(got, tc.want) {
			t.Errorf("%s: error %d, found %q, expected %q", tc.name, resp.ErrorCode, got, tc.want)
		}
		if odd := len(resp.UnknownStateFilters); (odd == 1) != (tc.name == "by state") {
			t.Errorf("%s: unknown states %v", tc.name, resp.UnknownStateFilters)
		}
	}
	req := kmsg.NewPtrListTransactionsRequest()
	req.Version, req.TransactionalIDPattern = 2, kmsg.StringPtr("(")
	expectCode(t, "a bad pattern", c.do(req).(*kmsg.ListTransactionsResponse).ErrorCode, codeInvalidRegularExpression)
}
