package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// FindCoordinator: versions 0 to 6. v1 transactions, v4 several keys (KIP-699),
// v5 TRANSACTION_ABORTABLE, v6 share groups, which are not served. There is one
// node, so it coordinates everything.

// Types of coordinators.
const (
	coordinatorOfGroup = 0
	coordinatorOfTxn   = 1
)

func handleFindCoordinator(_ context.Context, _ *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.FindCoordinatorRequest)
	resp := r.response().(*kmsg.FindCoordinatorResponse)
	if req.Version < 4 {
		c := r.coordinator(req.CoordinatorType, req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
		return resp, nil
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, r.coordinator(req.CoordinatorType, key))
	}
	return resp, nil
}

func (r *request) coordinator(typ int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.FindCoordinatorResponseCoordinator{Key: key, NodeID: -1, Port: -1}
	switch {
	case typ == coordinatorOfGroup && !r.may(acl.OpDescribe, acl.TypeGroup, key):
		c.ErrorCode = forbidden(acl.TypeGroup)
	case typ == coordinatorOfTxn && !r.may(acl.OpDescribe, acl.TypeTransactionalID, key):
		c.ErrorCode = forbidden(acl.TypeTransactionalID)
	case typ != coordinatorOfGroup && typ != coordinatorOfTxn:
		c.ErrorCode = codeInvalidRequest
		c.ErrorMessage = kmsg.StringPtr("only coordinators of groups (0) and of transactions (1) are served")
	default:
		c.NodeID = r.conn.srv.b.NodeID()
		c.Host, c.Port = r.conn.advertised()
	}
	return c
}
