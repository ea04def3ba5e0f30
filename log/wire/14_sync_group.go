package wire

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
)

// SyncGroup: versions 0 to 5. v3 static members (KIP-345), v5 protocol type and
// name, which must be there (KIP-559). The answer comes when the leader has synced.

func handleSyncGroup(ctx context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.SyncGroupRequest)
	resp := r.response().(*kmsg.SyncGroupResponse)
	resp.MemberAssignment = []byte{}
	if resp.ErrorCode = r.groupRefused(acl.OpRead, req.Group); resp.ErrorCode != codeNone {
		return resp, nil
	}
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		resp.ErrorCode = codeInconsistentGroupProtocol
		return resp, nil
	}
	defer r.waiting()()
	sync := group.SyncRequest{
		Group: req.Group, Generation: req.Generation, MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID),
		ProtocolType: orEmpty(req.ProtocolType), Protocol: orEmpty(req.Protocol), Assignments: make(map[string][]byte, len(req.GroupAssignment)),
	}
	for _, a := range req.GroupAssignment {
		sync.Assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
	}
	result, err := s.b.SyncGroup(ctx, sync)
	if err != nil {
		resp.ErrorCode = r.groupCode(err)
		return resp, nil
	}
	resp.ProtocolType, resp.Protocol = &result.ProtocolType, &result.Protocol
	if result.Assignment != nil {
		resp.MemberAssignment = result.Assignment
	}
	return resp, nil
}
