package wire

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Produce: versions 3 to 13, shown to clients from 0. v7 zstd, v8 errors of
// records (KIP-467), v10 hints of the leader (KIP-951), v11
// TRANSACTION_ABORTABLE (KIP-890), v12 partitions join the transaction by being
// written to, v13 topic ids (KIP-516).
//
// The bytes of the frame are the bytes of the log: a batch is not copied on its
// way. With acks=all the next request of the connection is handled, and its
// batches are appended, while this one waits for its group commit.

const (
	acksNone   = 0
	acksLeader = 1
	acksAll    = -1
)

// produceAnswer is one request while it is handled.
type produceAnswer struct {
	s    *Server
	r    *request
	req  *kmsg.ProduceRequest
	resp *kmsg.ProduceResponse
	// waits[i] belongs to the partition to which at[i] points.
	waits []broker.Unsynced
	at    []*kmsg.ProduceResponseTopicPartition
	// joining is the partition that joins the transaction.
	joining [1]record.TopicPartition
}

func handleProduce(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ProduceRequest)
	a := &produceAnswer{s: s, r: r, req: req, resp: req.ResponseKind().(*kmsg.ProduceResponse)}
	refused := a.refused()
	a.resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	for i := range req.Topics {
		a.topic(&req.Topics[i], &a.resp.Topics[i], refused)
	}
	if req.Acks == acksNone {
		if r.errors > 0 {
			// The producer hears of it by the end of its connection, as with Kafka.
			return nil, r.conn.fail(ClosedProduce, a.firstError())
		}
		return nil, nil
	}
	for i := range a.waits {
		if !a.waits[i].Done() {
			r.frame.release() // the batches are in the log; their memory need not wait for the disk
			r.later(a.wait)
			return nil, nil
		}
	}
	return a.resp, nil
}

// refused is the code that the whole request gets; 0 if it is not refused.
func (a *produceAnswer) refused() int16 {
	switch {
	case a.req.Acks < acksAll || a.req.Acks > acksLeader:
		return codeInvalidRequiredAcks
	case a.req.TransactionID != nil && !a.r.may(acl.OpWrite, acl.TypeTransactionalID, *a.req.TransactionID):
		return forbidden(acl.TypeTransactionalID)
	}
	return codeNone
}

// topic appends what the request has for one topic.
func (a *produceAnswer) topic(t *kmsg.ProduceRequestTopic, out *kmsg.ProduceResponseTopic, refused int16) {
	out.TopicID = t.TopicID
	out.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
	view, missing := a.find(t)
	if out.Topic = view.Name; out.Topic != t.Topic { // nothing of the answer lies in the frame
		out.Topic = strings.Clone(t.Topic)
	}
	if refused == codeNone {
		refused = missing
	}
	for i := range t.Partitions {
		p := &out.Partitions[i]
		p.Default()
		p.Partition, p.BaseOffset, p.LogAppendTime, p.LogStartOffset = t.Partitions[i].Partition, -1, record.NoTimestamp, -1
		if refused != codeNone {
			a.refuse(p, refused, nil)
			continue
		}
		a.partition(&view, &t.Partitions[i], p)
	}
}

// find is the topic, or the code that says why not.
func (a *produceAnswer) find(t *kmsg.ProduceRequestTopic) (broker.TopicView, int16) {
	var view broker.TopicView
	var ok bool
	unknown := codeUnknownTopicOrPartition
	if a.req.Version >= 13 {
		if view, ok = a.s.b.TopicViewByID(t.TopicID); !ok {
			return view, codeUnknownTopicID
		}
		t.Topic = view.Name
	} else {
		view, ok = a.s.b.TopicView(t.Topic)
	}
	switch {
	case !a.r.may(acl.OpWrite, acl.TypeTopic, t.Topic):
		return view, forbidden(acl.TypeTopic)
	case !ok:
		return view, unknown
	case view.Internal:
		return view, codeInvalidTopicException
	}
	return view, codeNone
}

// partition appends one partition's batch.
func (a *produceAnswer) partition(view *broker.TopicView, in *kmsg.ProduceRequestTopicPartition, out *kmsg.ProduceResponseTopicPartition) {
	p, err := view.Partition(record.Partition(in.Partition))
	var h record.BatchHeader
	if err == nil {
		h, err = oneBatch(in.Records)
	}
	switch {
	case err != nil:
	case h.Transactional() && a.req.TransactionID == nil:
		a.refuse(out, forbidden(acl.TypeTransactionalID), nil) // nobody could be asked for the right to it
		return
	case h.Codec() == record.Zstd && a.req.Version < 7:
		a.refuse(out, codeUnsupportedCompressionType, nil)
		return
	case h.Transactional() && a.req.TransactionID != nil && a.req.Version >= 12:
		a.joining[0] = record.TopicPartition{Topic: view.Name, Partition: record.Partition(in.Partition)}
		err = a.s.b.JoinTxn(*a.req.TransactionID, broker.ProducerIdentity{ID: h.ProducerID, Epoch: h.ProducerEpoch}, a.joining[:])
	case h.Transactional():
		err = a.s.b.CheckProducer(*a.req.TransactionID, h.ProducerID)
	}
	var res broker.ProduceResult
	var wait broker.Unsynced
	if err == nil {
		res, wait, err = p.AppendChecked(in.Records)
	}
	if err != nil {
		a.refuse(out, a.code(err), err)
		if p != nil {
			a.hint(p, out)
		}
		return
	}
	out.BaseOffset, out.LogAppendTime, out.LogStartOffset = int64(res.BaseOffset), res.LogAppendTime, int64(res.LogStart)
	if a.req.Acks == acksAll {
		a.waits, a.at = append(a.waits, wait), append(a.at, out)
	}
}

// oneBatch checks what the protocol asks beyond a batch's own format: there is
// exactly one, of version 2.
func oneBatch(records []byte) (record.BatchHeader, error) {
	if len(records) == 0 {
		return record.BatchHeader{}, errNoBatch
	}
	h, err := record.ParseHeader(records)
	if err == nil && h.Size() < len(records) {
		err = errTwoBatches
	}
	return h, err
}

// code is the code of an error, in the words that producers of this version know.
// Before KIP-890 they knew nothing of a transaction that is still being completed,
// and try again at NOT_ENOUGH_REPLICAS without asking for the leader anew.
func (a *produceAnswer) code(err error) int16 {
	return writeCode(err, a.req.Version >= 11, a.req.Version >= 12, codeNotEnoughReplicas)
}

// refuse puts an error into a partition's answer; err, if there is one, says more.
func (a *produceAnswer) refuse(p *kmsg.ProduceResponseTopicPartition, code int16, err error) {
	p.ErrorCode = code
	a.r.errors++
	if err == nil || a.req.Version < 8 {
		return
	}
	text := err.Error()
	p.ErrorMessage = &text
	var bad *broker.RecordError
	if errors.As(err, &bad) {
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		why := bad.Err.Error()
		e.RelativeOffset, e.ErrorMessage = int32(bad.Record), &why
		p.ErrorRecords = append(p.ErrorRecords, e)
	}
}

// hint tells a producer that was sent away where the leader is (KIP-951).
func (a *produceAnswer) hint(p *broker.Partition, out *kmsg.ProduceResponseTopicPartition) {
	if out.ErrorCode != codeNotLeaderForPartition || a.req.Version < 10 {
		return
	}
	out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = a.s.b.NodeID(), int32(p.Epoch())
	if len(a.resp.Brokers) == 0 {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID = a.s.b.NodeID()
		b.Host, b.Port = a.r.conn.advertised()
		a.resp.Brokers = append(a.resp.Brokers, b)
	}
}

// wait lets the disk catch up; it runs beside the connection's next requests.
func (a *produceAnswer) wait() kmsg.Response {
	errs := make([]error, len(a.waits))
	a.s.b.WaitAll(a.waits, errs)
	for i, err := range errs {
		if err != nil {
			p := a.at[i]
			p.BaseOffset, p.LogAppendTime, p.LogStartOffset = -1, record.NoTimestamp, -1
			a.refuse(p, a.code(err), err)
		}
	}
	return a.resp
}

// errors of requests that are not batches' own.
var (
	errNoBatch    = &recordsError{"at least one record batch for each partition"}
	errTwoBatches = &recordsError{"exactly one record batch for each partition"}
)

// recordsError is INVALID_RECORD with what was expected.
type recordsError struct{ expected string }

func (e *recordsError) Error() string { return "a produce request must have " + e.expected }
func (e *recordsError) Unwrap() error { return segment.ErrInvalidBatch }

// firstError describes the first partition that failed, for acks=0.
func (a *produceAnswer) firstError() error {
	for i := range a.resp.Topics {
		t := &a.resp.Topics[i]
		for j := range t.Partitions {
			if p := &t.Partitions[j]; p.ErrorCode != codeNone {
				return &produceError{topic: strings.Clone(a.req.Topics[i].Topic), partition: p.Partition, code: p.ErrorCode}
			}
		}
	}
	return nil
}
