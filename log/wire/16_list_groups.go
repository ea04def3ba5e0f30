package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// ListGroups: versions 0 to 5. v4 states (KIP-518), v5 types (KIP-848).

func handleListGroups(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ListGroupsRequest)
	resp := r.response().(*kmsg.ListGroupsResponse)
	all := r.mayCluster(acl.OpDescribe)
	for _, g := range s.b.ListGroups(req.StatesFilter, req.TypesFilter) {
		if all || r.may(acl.OpDescribe, acl.TypeGroup, g.Name) {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{Group: g.Name, ProtocolType: g.ProtocolType, GroupState: g.State.String(), GroupType: g.Type})
		}
	}
	return resp, nil
}
