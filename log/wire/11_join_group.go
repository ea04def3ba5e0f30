package wire

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
)

// JoinGroup: versions 0 to 9. v1 rebalance time-out, v4 the member id comes
// first (KIP-394), v5 static members (KIP-345), v7 protocol type (KIP-559), v8
// reason (KIP-800), v9 a leader may skip the assignment (KIP-814). The answer
// comes when the members are gathered.

func handleJoinGroup(ctx context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.JoinGroupRequest)
	resp := r.response().(*kmsg.JoinGroupResponse)
	resp.Generation, resp.MemberID = -1, req.MemberID
	if resp.ErrorCode = r.groupRefused(acl.OpRead, req.Group); resp.ErrorCode != codeNone {
		return resp, nil
	}
	defer r.waiting()()
	join := group.JoinRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID), ClientID: r.clientID, ClientHost: r.clientHost(),
		SessionMS: int64(req.SessionTimeoutMillis), RebalanceMS: int64(req.RebalanceTimeoutMillis), ProtocolType: req.ProtocolType,
		NeedKnownID: req.Version >= 4, SkipAssignment: req.Version >= 9, Reason: orEmpty(req.Reason),
	}
	if req.Version < 1 {
		join.RebalanceMS = join.SessionMS
	}
	for _, p := range req.Protocols {
		join.Protocols = append(join.Protocols, group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	result, err := s.b.JoinGroup(ctx, join)
	resp.ErrorCode = r.groupCode(err)
	if result == nil {
		return resp, nil
	}
	resp.MemberID = result.MemberID
	if err != nil {
		return resp, nil
	}
	resp.Generation, resp.LeaderID, resp.SkipAssignment = result.Generation, result.Leader, result.SkipAssignment
	resp.ProtocolType, resp.Protocol = &result.ProtocolType, &result.Protocol
	for _, m := range result.Members {
		resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{MemberID: m.ID, InstanceID: orNil(m.Instance), ProtocolMetadata: m.Metadata})
	}
	return resp, nil
}
