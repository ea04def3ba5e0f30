package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// eachDialect runs a test in the words of each kind of client.
func eachDialect(t *testing.T, f func(t *testing.T, ts *testServer, d txnDialect)) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) { f(t, newTestServer(t), d) })
	}
}

func expectCode(t *testing.T, what string, got, want int16) {
	t.Helper()
	if got != want {
		t.Errorf("%s: error %d, expected %d", what, got, want)
	}
}

func (ts *testServer) expectCommitted(topic string, partition int, want string) {
	ts.t.Helper()
	if got := ts.committed(topic, partition); got != want {
		ts.t.Errorf("%s-%d shows %q to read_committed, expected %q", topic, partition, got, want)
	}
}

// groupOffset is the offset that the group has committed, -1 if none.
func (ts *testServer) groupOffset(group string, tp record.TopicPartition) int64 {
	ts.t.Helper()
	offs, err := ts.b.FetchOffsets(ts.t.Context(), group, nil, false)
	if err != nil {
		ts.t.Fatal(err)
	}
	if o, ok := offs[tp]; ok {
		return int64(o.Offset)
	}
	return -1
}

func TestTransactionsInTheWordsOfEachClient(t *testing.T) {
	eachDialect(t, func(t *testing.T, ts *testServer, d txnDialect) {
		in, out := ts.topic("in", 1), ts.topic("out", 2)
		ts.produce("in", 0, "1", "2", "3")
		from := topicPartition(in.Name, 0)
		p := ts.wireProducer(d, "x")
		expectCode(t, "put", p.put(out, 0, "a", "b"), codeNone)
		expectCode(t, "put", p.put(out, 1, "c"), codeNone)
		expectCode(t, "offsets", p.commitOffset("g", from, 2), codeNone)
		ts.expectCommitted("out", 0, "")
		if o := ts.groupOffset("g", from); o != -1 {
			t.Errorf("the group is at %d before the commit", o)
		}
		expectCode(t, "commit", p.finish(true), codeNone)
		expectCode(t, "put", p.put(out, 0, "dropped"), codeNone)
		expectCode(t, "offsets", p.commitOffset("g", from, 3), codeNone)
		expectCode(t, "abort", p.finish(false), codeNone)
		expectCode(t, "put", p.put(out, 0, "d"), codeNone)
		expectCode(t, "commit", p.finish(true), codeNone)
		ts.expectCommitted("out", 0, "a b d")
		ts.expectCommitted("out", 1, "c")
		if o := ts.groupOffset("g", from); o != 2 {
			t.Errorf("the group is at %d, expected 2", o)
		}
	})
}

func TestAFencedProducerWritesNothing(t *testing.T) {
	eachDialect(t, func(t *testing.T, ts *testServer, d txnDialect) {
		top := ts.topic("t", 2)
		old := ts.wireProducer(d, "x")
		expectCode(t, "put", old.put(top, 0, "old"), codeNone)
		now := ts.wireProducer(d, "x")
		fenced := codeProducerFenced
		if d.end < 2 {
			fenced = codeInvalidProducerEpoch
		}
		expectCode(t, "AddPartitionsToTxn by who was fenced", old.addPartition(topicPartition("t", 1)), fenced)
		c, _ := producedCode(old.conn.do(old.produceRequest(top, 0, "zombie")))
		expectCode(t, "Produce by who was fenced", c, codeInvalidProducerEpoch)
		expectCode(t, "AddOffsetsToTxn by who was fenced", old.conn.do(old.addOffsetsRequest("g")).(*kmsg.AddOffsetsToTxnResponse).ErrorCode, fenced)
		expectCode(t, "TxnOffsetCommit by who was fenced", offsetsCode(old.conn.do(old.offsetsRequest("g", topicPartition("t", 0), 1))), codeInvalidProducerEpoch)
		expectCode(t, "EndTxn by who was fenced", old.finish(true), fenced)
		expectCode(t, "InitProducerId by who was fenced", old.init(), codeProducerFenced)
		expectCode(t, "put", now.put(top, 0, "now"), codeNone)
		expectCode(t, "EndTxn by who was fenced", old.finish(false), fenced)
		expectCode(t, "commit", now.finish(true), codeNone)
		ts.expectCommitted("t", 0, "now")
	})
}

func TestCodesOfFencingByVersion(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	old := ts.wireProducer(dialectFirst, "x")
	ts.wireProducer(dialectFirst, "x")
	fencedFrom := func(since int16) func(int16) int16 {
		return func(v int16) int16 {
			if v < since {
				return codeInvalidProducerEpoch
			}
			return codeProducerFenced
		}
	}
	versions(t, 22, func(t *testing.T, v int16) {
		if v < 3 {
			return // it cannot say who it was, and is a newcomer
		}
		old.initID = v
		expectCode(t, fmt.Sprint("InitProducerId version ", v), old.init(), fencedFrom(4)(v))
	})
	versions(t, 24, func(t *testing.T, v int16) {
		if v < 4 {
			old.add = v
			expectCode(t, fmt.Sprint("AddPartitionsToTxn version ", v), old.addPartition(topicPartition("t", 0)), fencedFrom(2)(v))
		}
	})
	versions(t, 25, func(t *testing.T, v int16) {
		old.addOffsets = v
		expectCode(t, fmt.Sprint("AddOffsetsToTxn version ", v), old.conn.do(old.addOffsetsRequest("g")).(*kmsg.AddOffsetsToTxnResponse).ErrorCode, fencedFrom(2)(v))
	})
	versions(t, 26, func(t *testing.T, v int16) {
		old.txnDialect.end = v
		expectCode(t, fmt.Sprint("EndTxn version ", v), old.finish(true), fencedFrom(2)(v))
	})
	// An offset commit without a transaction, in the words of the version.
	now := ts.wireProducer(dialectFirst, "x")
	versions(t, 28, func(t *testing.T, v int16) {
		now.commitOffs = v
		want := codeInvalidTxnState
		switch {
		case v >= 5:
			want = codeNone // joins by itself
		case v == 4:
			want = codeTransactionAbortable
		}
		expectCode(t, fmt.Sprint("TxnOffsetCommit version ", v), offsetsCode(now.conn.do(now.offsetsRequest("g", topicPartition("t", 0), 1))), want)
	})
}

func TestEndTxnAskedAgainIsAnsweredAsBefore(t *testing.T) {
	eachDialect(t, func(t *testing.T, ts *testServer, d txnDialect) {
		top := ts.topic("t", 1)
		p := ts.wireProducer(d, "x")
		for _, commit := range []bool{true, false} {
			expectCode(t, "put", p.put(top, 0, "v"), codeNone)
			again := p.endRequest(commit)
			expectCode(t, "end", p.finish(commit), codeNone)
			resp := p.conn.do(again).(*kmsg.EndTxnResponse)
			expectCode(t, "end again", resp.ErrorCode, codeNone)
			if d.implicit() && identityOf(resp.ProducerID, resp.ProducerEpoch) != p.who {
				t.Errorf("asked again, it is told to go on as %d/%d, before as %v", resp.ProducerID, resp.ProducerEpoch, p.who)
			}
			again.Commit = !commit
			expectCode(t, "the opposite", p.conn.do(again).(*kmsg.EndTxnResponse).ErrorCode, codeInvalidTxnState)
		}
		ts.expectCommitted("t", 0, "v")
	})
}

func TestInitProducerIDGoesOnAfterAnError(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	p := ts.wireProducer(dialectFirst, "x")
	expectCode(t, "put", p.put(top, 0, "aborted"), codeNone)
	before := *p
	expectCode(t, "init", p.init(), codeNone)
	if p.who.ID != before.who.ID || p.who.Epoch <= before.who.Epoch {
		t.Errorf("expected a higher epoch than %v, found %v", before.who, p.who)
	}
	who := p.who
	expectCode(t, "init again, the answer was lost", before.init(), codeNone)
	if before.who != who {
		t.Errorf("asked again, it gives %v, before %v", before.who, who)
	}
	expectCode(t, "put", p.put(top, 0, "v"), codeNone)
	expectCode(t, "commit", p.finish(true), codeNone)
	ts.expectCommitted("t", 0, "v")
}

func TestInitProducerIDRefusesNonsense(t *testing.T) {
	ts := newTestServer(t)
	c := ts.dial()
	ask := func(v int16, f func(*kmsg.InitProducerIDRequest)) int16 {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionTimeoutMillis, req.TransactionalID = v, 60_000, kmsg.StringPtr("x")
		f(req)
		resp := c.do(req).(*kmsg.InitProducerIDResponse)
		if resp.ErrorCode != codeNone && (resp.ProducerID != -1 || resp.ProducerEpoch != -1) {
			t.Errorf("an error with producer %d/%d", resp.ProducerID, resp.ProducerEpoch)
		}
		return resp.ErrorCode
	}
	versions(t, 22, func(t *testing.T, v int16) {
		expectCode(t, "empty id", ask(v, func(r *kmsg.InitProducerIDRequest) { *r.TransactionalID = "" }), codeInvalidRequest)
		expectCode(t, "no timeout", ask(v, func(r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = 0 }), codeInvalidTransactionTimeout)
		expectCode(t, "timeout above the bound", ask(v, func(r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = 1 << 30 }), codeInvalidTransactionTimeout)
		expectCode(t, "none", ask(v, func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = nil }), codeNone)
		if v >= 3 {
			expectCode(t, "id without epoch", ask(v, func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 7 }), codeInvalidRequest)
			expectCode(t, "epoch without id", ask(v, func(r *kmsg.InitProducerIDRequest) { r.ProducerEpoch = 7 }), codeInvalidRequest)
		}
	})
}

func TestAddPartitionsIsForAllOrNone(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 2)
	p := ts.wireProducer(dialectFirst, "x")
	req := p.addRequest(topicPartition("t", 0))
	req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: "none", Partitions: []int32{0}}, kmsg.AddPartitionsToTxnRequestTopic{Topic: "t", Partitions: []int32{1, 2}})
	versions(t, 24, func(t *testing.T, v int16) {
		if v >= 4 {
			return
		}
		req.Version = v
		var got []int16
		for _, topic := range p.conn.do(req).(*kmsg.AddPartitionsToTxnResponse).Topics {
			for _, part := range topic.Partitions {
				got = append(got, part.ErrorCode)
			}
		}
		if want := []int16{codeOperationNotAttempted, codeUnknownTopicOrPartition, codeOperationNotAttempted, codeUnknownTopicOrPartition}; !slices.Equal(got, want) {
			t.Errorf("version %d: codes %v, expected %v", v, got, want)
		}
	})
	if info, _ := ts.b.Transaction("x"); info.State != "Empty" {
		t.Errorf("state %s, expected none of the partitions to be added", info.State)
	}
	// Unknown ids.
	p.id = "nobody"
	expectCode(t, "add for an unknown id", p.addPartition(topicPartition("t", 0)), codeInvalidProducerIDMapping)
	expectCode(t, "end of an unknown id", p.finish(true), codeInvalidProducerIDMapping)
	p.id = ""
	expectCode(t, "add for an empty id", p.addPartition(topicPartition("t", 0)), codeInvalidRequest)
	expectCode(t, "end of an empty id", p.finish(true), codeInvalidRequest)
}

func TestAddPartitionsBetweenBrokers(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 3)
	p, q := ts.wireProducer(dialectFirst, "x"), ts.wireProducer(dialectBumping, "y")
	expectCode(t, "put", p.put(top, 1, "v"), codeNone)
	for v := int16(4); v <= 5; v++ {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.Version = v
		for _, x := range []*wireProducer{p, q} {
			req.Transactions = append(req.Transactions, kmsg.AddPartitionsToTxnRequestTransaction{
				TransactionalID: x.id, ProducerID: int64(x.who.ID), ProducerEpoch: int16(x.who.Epoch), VerifyOnly: x == p,
				Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "t", Partitions: []int32{0, 1, 2}}},
			})
		}
		var got []string
		for _, tr := range p.conn.do(req).(*kmsg.AddPartitionsToTxnResponse).Transactions {
			for _, part := range tr.Topics[0].Partitions {
				got = append(got, fmt.Sprintf("%s-%d:%d", tr.TransactionalID, part.Partition, part.ErrorCode))
			}
		}
		if want := "x-0:120 x-1:0 x-2:120 y-0:0 y-1:0 y-2:0"; strings.Join(got, " ") != want {
			t.Errorf("version %d: found %v, expected %s", v, got, want)
		}
	}
	if info, _ := ts.b.Transaction("x"); len(info.Partitions) != 1 {
		t.Errorf("verifying added partitions: %v", info.Partitions)
	}
}

func TestFiveProducesInFlight(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = 4
	who := c.do(req).(*kmsg.InitProducerIDResponse)
	batch := func(seq int32) *kmsg.ProduceRequest {
		b := record.NewBuilder()
		b.SetProducer(record.ProducerID(who.ProducerID), record.ProducerEpoch(who.ProducerEpoch), seq)
		b.Append(&record.View{Value: fmt.Append(nil, seq), Timestamp: 1_700_000_000_000})
		raw, err := b.Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		return produceRequest(9, top, 0, acksAll, raw)
	}
	send := func(want string, seqs ...int32) {
		t.Helper()
		var reqs []*kmsg.ProduceRequest
		for _, s := range seqs {
			reqs = append(reqs, batch(s))
			c.write(reqs[len(reqs)-1])
		}
		var got []string
		for _, r := range reqs {
			code, offset := producedCode(c.read(r))
			got = append(got, fmt.Sprintf("%d@%d", code, offset))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("sequences %v are answered %v, expected %s", seqs, got, want)
		}
	}
	send("0@0 0@1 0@2 0@3 0@4", 0, 1, 2, 3, 4)
	send("0@0 0@1 0@2 0@3 0@4", 0, 1, 2, 3, 4) // the answers were lost
	send("0@5 45@-1 45@-1 45@-1 0@5", 5, 7, 8, 9, 5)
	send("0@6 0@7 0@8 0@9 0@10", 6, 7, 8, 9, 10)
	// Those before the last five are forgotten. 46 would be a success to clients.
	send("45@-1 45@-1 0@6", 0, 5, 6)
	ts.expectCommitted("t", 0, "0 1 2 3 4 5 6 7 8 9 10")
}

// A batch that was refused, and comes again after the one behind it was taken, is
// no duplicate: it is nowhere, and its client must not take it for written.
func TestABatchBeforeAProducersFirstIsNotTakenForWritten(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	for _, step := range []struct {
		seq  int32
		want int16
	}{{5, codeNone}, {0, codeOutOfOrderSequenceNumber}, {4, codeOutOfOrderSequenceNumber}, {5, codeNone}, {6, codeNone}} {
		b := record.NewBuilder()
		b.SetProducer(4711, 0, step.seq)
		b.Append(&record.View{Value: fmt.Append(nil, step.seq), Timestamp: 1_700_000_000_000})
		raw, err := b.Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		code, _ := producedCode(c.do(produceRequest(9, top, 0, acksAll, raw)))
		expectCode(t, fmt.Sprint("sequence ", step.seq), code, step.want)
	}
	ts.expectCommitted("t", 0, "5 6")
}

func TestTimedOutTransactionsOverTheWire(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			ts := newTestServer(t, func(b *broker.Config, _ *Config) { b.Now = func() time.Time { return now } })
			top := ts.topic("t", 1)
			p := ts.wireProducer(d, "x")
			expectCode(t, "put", p.put(top, 0, "late"), codeNone)
			now = now.Add(61 * time.Second)
			if err := ts.b.Tick(); err != nil {
				t.Fatal(err)
			}
			c, _ := producedCode(p.conn.do(p.produceRequest(top, 0, "later")))
			expectCode(t, "Produce", c, codeInvalidProducerEpoch)
			want := map[string]int16{"librdkafka": codeInvalidProducerEpoch, "first": codeProducerFenced, "bumping": codeInvalidTxnState}[d.name]
			expectCode(t, "commit", p.finish(true), want)
			if d.implicit() {
				expectCode(t, "abort", p.finish(false), codeNone)
			} else {
				expectCode(t, "init", p.init(), codeNone)
			}
			expectCode(t, "put", p.put(top, 0, "v"), codeNone)
			expectCode(t, "commit", p.finish(true), codeNone)
			ts.expectCommitted("t", 0, "v")
		})
	}
}
