package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
)

// LeaveGroup: versions 0 to 5. v3 several members, also by instance id
// (KIP-345), v5 reasons (KIP-800).

func handleLeaveGroup(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.LeaveGroupRequest)
	resp := r.response().(*kmsg.LeaveGroupResponse)
	if resp.ErrorCode = r.groupRefused(acl.OpRead, req.Group); resp.ErrorCode != codeNone {
		return resp, nil
	}
	leavers := []group.Leaver{{MemberID: req.MemberID}}
	if req.Version >= 3 {
		leavers = leavers[:0]
		for _, m := range req.Members {
			leavers = append(leavers, group.Leaver{MemberID: m.MemberID, InstanceID: orEmpty(m.InstanceID), Reason: orEmpty(m.Reason)})
		}
	}
	errs, err := s.b.LeaveGroup(req.Group, leavers)
	switch {
	case err != nil:
		resp.ErrorCode = r.groupCode(err)
	case req.Version < 3:
		resp.ErrorCode = r.groupCode(errs[0])
	default:
		for i, m := range req.Members {
			resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{MemberID: m.MemberID, InstanceID: m.InstanceID, ErrorCode: r.groupCode(errs[i])})
		}
	}
	return resp, nil
}
