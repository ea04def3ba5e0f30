package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// ListPartitionReassignments (KIP-455): version 0. There are none, ever.

func handleListPartitionReassignments(_ context.Context, _ *Server, r *request) (kmsg.Response, error) {
	resp := r.response().(*kmsg.ListPartitionReassignmentsResponse)
	resp.Topics = []kmsg.ListPartitionReassignmentsResponseTopic{}
	if !r.mayCluster(acl.OpDescribe) {
		resp.ErrorCode, resp.ErrorMessage = r.denied(acl.TypeCluster)
	}
	return resp, nil
}
