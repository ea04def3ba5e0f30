package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DeleteGroups: versions 0 to 2.

func handleDeleteGroups(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DeleteGroupsRequest)
	resp := r.response().(*kmsg.DeleteGroupsResponse)
	for _, name := range req.Groups {
		g := kmsg.DeleteGroupsResponseGroup{Group: name}
		if r.may(acl.OpDelete, acl.TypeGroup, name) {
			g.ErrorCode = r.groupCode(s.b.DeleteGroup(name))
		} else {
			g.ErrorCode = forbidden(acl.TypeGroup)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}
