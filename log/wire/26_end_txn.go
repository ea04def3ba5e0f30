package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// EndTxn: versions 0 to 5. v2 PRODUCER_FENCED (KIP-588), v4 TRANSACTION_ABORTABLE,
// v5 is KIP-890's protocol: the answer carries the identity to go on with.

func handleEndTxn(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.EndTxnRequest)
	resp := r.response().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = int64(broker.NoProducer.ID), int16(broker.NoProducer.Epoch)
	switch {
	case !r.mayTransact(req.TransactionalID):
		resp.ErrorCode = forbidden(acl.TypeTransactionalID)
		return resp, nil
	case req.TransactionalID == "":
		resp.ErrorCode = codeInvalidRequest
		return resp, nil
	}
	end := s.b.EndTxn
	if req.Version >= 5 {
		end = s.b.EndTxnAndBump
	}
	id, err := end(req.TransactionalID, identityOf(req.ProducerID, req.ProducerEpoch), req.Commit)
	if resp.ErrorCode = r.coordinatorCode(err, 2); resp.ErrorCode == codeNone {
		resp.ProducerID, resp.ProducerEpoch = int64(id.ID), int16(id.Epoch)
	}
	return resp, nil
}
