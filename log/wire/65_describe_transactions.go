package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeTransactions: version 0 (KIP-664).

func handleDescribeTransactions(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeTransactionsRequest)
	resp := r.response().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.TransactionalIDs {
		resp.TransactionStates = append(resp.TransactionStates, s.describeTransaction(r, id))
	}
	return resp, nil
}

func (s *Server) describeTransaction(r *request, id string) kmsg.DescribeTransactionsResponseTransactionState {
	out := kmsg.NewDescribeTransactionsResponseTransactionState()
	out.TransactionalID = id
	if !r.may(acl.OpDescribe, acl.TypeTransactionalID, id) {
		out.ErrorCode = forbidden(acl.TypeTransactionalID)
		return out
	}
	if id == "" {
		out.ErrorCode = codeInvalidRequest
		return out
	}
	t, ok := s.b.Transaction(id)
	if !ok {
		out.ErrorCode = codeTransactionalIDNotFound
		return out
	}
	out.State, out.TimeoutMillis, out.StartTimestamp = t.State, int32(t.Timeout.Milliseconds()), t.StartMS
	out.ProducerID, out.ProducerEpoch = int64(t.Producer.ID), int16(t.Producer.Epoch)
	for _, tp := range t.Partitions {
		if !r.may(acl.OpDescribe, acl.TypeTopic, tp.Topic) {
			continue
		}
		if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != tp.Topic {
			out.Topics = append(out.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: tp.Topic})
		}
		last := &out.Topics[len(out.Topics)-1]
		last.Partitions = append(last.Partitions, int32(tp.Partition))
	}
	return out
}
