package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// Heartbeat: versions 0 to 4. v3 static members (KIP-345).

func handleHeartbeat(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.HeartbeatRequest)
	resp := r.response().(*kmsg.HeartbeatResponse)
	if resp.ErrorCode = r.groupRefused(acl.OpRead, req.Group); resp.ErrorCode != codeNone {
		return resp, nil
	}
	resp.ErrorCode = r.groupCode(s.b.Heartbeat(broker.GroupMember{Group: req.Group, Generation: req.Generation, Member: req.MemberID, Instance: orEmpty(req.InstanceID)}))
	return resp, nil
}
