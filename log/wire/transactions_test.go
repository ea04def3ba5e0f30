package wire

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// txnProducer is a transactional producer of the first protocol.
type txnProducer struct {
	ts  *testServer
	id  string
	who broker.ProducerIdentity
	seq int32
}

func (ts *testServer) txnProducer(id string) *txnProducer {
	ts.t.Helper()
	who, err := ts.b.InitProducerID(id, time.Minute, broker.NoProducer)
	if err != nil {
		ts.t.Fatal(err)
	}
	return &txnProducer{ts: ts, id: id, who: who}
}

// write appends one record to partition 0 of a topic, in the transaction.
func (p *txnProducer) write(topic string) {
	t := p.ts.t
	t.Helper()
	if err := p.ts.b.AddPartitionsToTxn(p.id, p.who, []record.TopicPartition{{Topic: topic}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ts.partition(topic, 0).Produce(txnBatch(t, p.who, p.seq), broker.AcksLeader); err != nil {
		t.Fatal(err)
	}
	p.seq++
}

func (p *txnProducer) end(commit bool) {
	p.ts.t.Helper()
	if _, err := p.ts.b.EndTxn(p.id, p.who, commit); err != nil {
		p.ts.t.Fatal(err)
	}
}

func txnBatch(t testing.TB, who broker.ProducerIdentity, seq int32) []byte {
	t.Helper()
	b := record.NewBuilder()
	b.SetProducer(who.ID, who.Epoch, seq)
	b.SetTransactional(true)
	b.Append(&record.View{Value: []byte("v"), Timestamp: time.Now().UnixMilli()})
	raw, err := b.Finish(record.None)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// openTransaction leaves a transaction open whose first record is at offset.
func (ts *testServer) openTransaction(topic string, offset record.Offset) {
	ts.t.Helper()
	p := ts.txnProducer("open")
	p.write(topic)
	if got := ts.partition(topic, 0).Offsets().Stable; got != offset {
		ts.t.Fatalf("last stable offset %d, expected %d", got, offset)
	}
}

func TestReadCommittedEndsAtTheLastStableOffsetAndListsWhatWasAborted(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	var ps []*txnProducer
	for _, id := range []string{"a", "b", "c", "d"} {
		ps = append(ps, ts.txnProducer(id))
	}
	for _, p := range ps { // offsets 0, 1, 2, 3
		p.write("t")
	}
	ps[2].end(false) // their markers are not in the order of their first records
	ps[0].end(false)
	ps[1].end(true)
	c := ts.dial()
	versions(t, keyFetch, func(t *testing.T, v int16) {
		req := fetchRequest(v, top, 0)
		req.IsolationLevel = readCommitted
		p := fetched(t, c.do(req))
		if p.LastStableOffset != 3 || p.HighWatermark != 7 {
			t.Errorf("version %d: last stable offset %d and high watermark %d, expected 3 and 7", v, p.LastStableOffset, p.HighWatermark)
		}
		var firsts []int64
		for _, a := range p.AbortedTransactions {
			firsts = append(firsts, a.FirstOffset)
		}
		if !slices.Equal(firsts, []int64{0, 2}) {
			t.Errorf("version %d: aborted transactions begin at %v, expected [0 2], sorted", v, firsts)
		}
		if last := lastOffset(t, p.RecordBatches); last != 2 {
			t.Errorf("version %d: the last record sent has offset %d, expected 2: below the open transaction", v, last)
		}
		req.IsolationLevel = 0
		if p = fetched(t, c.do(req)); p.AbortedTransactions != nil || lastOffset(t, p.RecordBatches) != 6 {
			t.Errorf("version %d, read_uncommitted: aborted %v, last offset %d", v, p.AbortedTransactions, lastOffset(t, p.RecordBatches))
		}
		req.IsolationLevel = readCommitted
		req.Topics[0].Partitions[0].FetchOffset = 3
		if p = fetched(t, c.do(req)); len(p.RecordBatches) != 0 || p.AbortedTransactions == nil {
			t.Errorf("version %d: at the last stable offset: %d bytes, aborted %v", v, len(p.RecordBatches), p.AbortedTransactions)
		}
	})
}

func lastOffset(t *testing.T, b []byte) (last record.Offset) {
	t.Helper()
	for len(b) > 0 {
		h, err := record.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		last = h.LastOffset()
		b = b[h.Size():]
	}
	return last
}

func TestACommittedReaderIsWokenByTheMarker(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	p := ts.txnProducer("a")
	p.write("t")
	c := ts.dial()
	req := fetchRequest(12, top, 0)
	req.IsolationLevel, req.MinBytes, req.MaxWaitMillis = readCommitted, 100, 1<<30
	c.write(req)
	p.write("t") // no reason to answer
	p.end(true)
	if got := fetched(t, c.read(req)); got.LastStableOffset != 3 || len(got.RecordBatches) == 0 {
		t.Errorf("answered with last stable offset %d and %d bytes", got.LastStableOffset, len(got.RecordBatches))
	}
}

func TestTransactionalProducesByVersion(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	send := func(v int16, p *txnProducer) int16 {
		req := produceRequest(v, top, 0, -1, txnBatch(t, p.who, p.seq))
		req.TransactionID = kmsg.StringPtr(p.id)
		return produced(t, c.do(req)).ErrorCode
	}
	// Partitions that were not added: by the first protocol an error, in the words of the version.
	for v, want := range map[int16]int16{9: codeInvalidTxnState, 10: codeInvalidTxnState, 11: codeTransactionAbortable} {
		if got := send(v, ts.txnProducer("first")); got != want {
			t.Errorf("version %d outside a transaction: error %d, expected %d", v, got, want)
		}
	}
	// From version 12 on they join by being written to.
	for _, v := range []int16{12, 13} {
		p := ts.txnProducer("second")
		if got := send(v, p); got != 0 {
			t.Errorf("version %d joins the transaction: error %d", v, got)
		}
		stale := *p
		stale.who.Epoch--
		if got := send(v, &stale); got != codeInvalidProducerEpoch {
			t.Errorf("version %d with an older epoch: error %d, expected %d", v, got, codeInvalidProducerEpoch)
		}
	}
}

func TestIdempotentProducers(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	who, err := ts.b.InitProducerID("", 0, broker.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	send := func(seq int32) kmsg.ProduceResponseTopicPartition {
		b := record.NewBuilder()
		b.SetProducer(who.ID, who.Epoch, seq)
		b.Append(&record.View{Value: []byte("v"), Timestamp: time.Now().UnixMilli()})
		raw, err := b.Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		return produced(t, c.do(produceRequest(9, top, 0, -1, raw)))
	}
	for seq := range int32(3) {
		if p := send(seq); p.ErrorCode != 0 || p.BaseOffset != int64(seq) {
			t.Fatalf("sequence %d: error %d at %d", seq, p.ErrorCode, p.BaseOffset)
		}
	}
	if p := send(1); p.ErrorCode != 0 || p.BaseOffset != 1 {
		t.Errorf("a batch sent again: error %d at %d, expected its first place 1", p.ErrorCode, p.BaseOffset)
	}
	if p := send(7); p.ErrorCode != codeOutOfOrderSequenceNumber {
		t.Errorf("a gap: error %d, expected %d", p.ErrorCode, codeOutOfOrderSequenceNumber)
	}
}

// A transactional id is what the right to write into a transaction hangs on.
func TestATransactionalBatchComesWithItsTransactionalID(t *testing.T) {
	for _, acls := range []bool{false, true} {
		var setups []setup
		if acls {
			setups = append(setups, withACLs)
		}
		ts := newTestServer(t, setups...)
		top := ts.topic(secret, 1)
		dial := ts.dial
		if acls { // alice may write to the topic and as "hers", not as "mine"
			ts.grant(topicRight(acl.OpWrite), right{acl.OpWrite, acl.TypeTransactionalID, "hers"})
			dial = func() *rawConn { return ts.login("alice") }
		}
		mine, hers := ts.txnProducer("mine"), ts.txnProducer("hers")
		mine.write(secret)
		c := dial()
		versions(t, keyProduce, func(t *testing.T, v int16) {
			if v < 3 {
				return
			}
			send := func(id *string, p *txnProducer) int16 {
				req := produceRequest(v, top, 0, acksAll, txnBatch(t, p.who, p.seq))
				req.TransactionID = id
				return produced(t, c.do(req)).ErrorCode
			}
			what := fmt.Sprintf("version %d, access control %v: ", v, acls)
			expectCode(t, what+"without an id", send(nil, mine), codeTransactionalIDAuthorizationFailed)
			expectCode(t, what+"another's producer id", send(&hers.id, mine), codeInvalidProducerIDMapping)
			if acls {
				expectCode(t, what+"another's id", send(&mine.id, mine), codeTransactionalIDAuthorizationFailed)
			}
		})
		mine.end(true)
		if end := ts.partition(secret, 0).Offsets().End; end != 2 {
			t.Errorf("the partition ends at %d, expected the producer's own record and its marker", end)
		}
	}
}
