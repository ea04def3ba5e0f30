package wire

import (
	"errors"
	"net"
	"testing"

	"github.com/segmentio/kafka-go"
)

// TestKafkaGoTransactions: kafka-go has the requests of a transaction one by one,
// but no producer whose batches belong to one; so it moves a group's position.
func TestKafkaGoTransactions(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("in", 1)
	ts.produce("in", 0, "1", "2", "3")
	ctx := patience(t)
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	addr, err := net.ResolveTCPAddr("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	cl := &kafka.Client{Addr: addr, Transport: transport}
	check := func(what string, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	id, err := cl.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: "x", TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1})
	check("InitProducerID", err)
	check("InitProducerID", id.Error)
	pid, epoch := id.Producer.ProducerID, id.Producer.ProducerEpoch
	end := func(commit bool) {
		t.Helper()
		e, err := cl.EndTxn(ctx, &kafka.EndTxnRequest{TransactionalID: "x", ProducerID: pid, ProducerEpoch: epoch, Committed: commit})
		check("EndTxn", err)
		check("EndTxn", e.Error)
	}
	move := func(offset int64) {
		t.Helper()
		added, err := cl.AddOffsetsToTxn(ctx, &kafka.AddOffsetsToTxnRequest{TransactionalID: "x", ProducerID: pid, ProducerEpoch: epoch, GroupID: "g"})
		check("AddOffsetsToTxn", err)
		check("AddOffsetsToTxn", added.Error)
		done, err := cl.TxnOffsetCommit(ctx, &kafka.TxnOffsetCommitRequest{
			TransactionalID: "x", GroupID: "g", ProducerID: pid, ProducerEpoch: epoch, GenerationID: -1,
			Topics: map[string][]kafka.TxnOffsetCommit{"in": {{Partition: 0, Offset: offset}}},
		})
		check("TxnOffsetCommit", err)
		check("TxnOffsetCommit", done.Topics["in"][0].Error)
	}
	parts, err := cl.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{
		TransactionalID: "x", ProducerID: pid, ProducerEpoch: epoch, Topics: map[string][]kafka.AddPartitionToTxn{"in": {{Partition: 0}}},
	})
	check("AddPartitionsToTxn", err)
	check("AddPartitionsToTxn", parts.Topics["in"][0].Error)
	move(2)
	end(true)
	move(3)
	end(false)
	if o := ts.groupOffset("g", topicPartition("in", 0)); o != 2 {
		t.Errorf("the group is at %d, expected 2: what was aborted does not count", o)
	}
}
