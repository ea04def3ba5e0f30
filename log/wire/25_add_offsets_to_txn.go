package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// AddOffsetsToTxn: versions 0 to 4. v2 PRODUCER_FENCED (KIP-588), v4 TRANSACTION_ABORTABLE.

func handleAddOffsetsToTxn(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AddOffsetsToTxnRequest)
	resp := r.response().(*kmsg.AddOffsetsToTxnResponse)
	switch {
	case !r.mayTransact(req.TransactionalID):
		resp.ErrorCode = forbidden(acl.TypeTransactionalID)
	case !r.may(acl.OpRead, acl.TypeGroup, req.Group):
		resp.ErrorCode = forbidden(acl.TypeGroup)
	case req.TransactionalID == "":
		resp.ErrorCode = codeInvalidRequest
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroupID
	default:
		err := s.b.AddOffsetsToTxn(req.TransactionalID, identityOf(req.ProducerID, req.ProducerEpoch), req.Group)
		if resp.ErrorCode = r.coordinatorCode(err, 2); unavailable(err) {
			resp.ErrorCode = codeCoordinatorNotAvailable
		}
	}
	return resp, nil
}
