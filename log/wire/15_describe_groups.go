package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
)

// DescribeGroups: versions 0 to 6. v3 authorized operations (KIP-430), v4
// instance ids, v6 an error for a group that does not exist. Consumer groups are
// ConsumerGroupDescribe's.

// stateDead is the state of a group that does not exist.
const stateDead = "Dead"

func handleDescribeGroups(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeGroupsRequest)
	resp := r.response().(*kmsg.DescribeGroupsResponse)
	for _, name := range once(req.Groups, func(name string) string { return name }) {
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group = name
		if !r.may(acl.OpDescribe, acl.TypeGroup, name) {
			g.ErrorCode = forbidden(acl.TypeGroup)
			resp.Groups = append(resp.Groups, g)
			continue
		}
		if req.Version >= 3 && req.IncludeAuthorizedOperations {
			g.AuthorizedOperations = r.authorizedOperations(acl.TypeGroup, name)
		}
		info, ok := s.b.DescribeGroup(name)
		err := s.b.GroupErr(name)
		switch {
		case err != nil:
			g.ErrorCode = r.groupCode(err)
		case ok && info.Type == group.TypeClassic:
			describeClassic(&g, info)
		case req.Version >= 6:
			g.State, g.ErrorCode = stateDead, codeGroupIDNotFound
			g.ErrorMessage = kmsg.StringPtr("Group " + name + " not found.")
			if ok {
				g.ErrorMessage = kmsg.StringPtr("Group " + name + " is not a classic group.")
			}
		default:
			g.State = stateDead
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}

func describeClassic(g *kmsg.DescribeGroupsResponseGroup, info group.Info) {
	g.State, g.ProtocolType = info.State.String(), info.ProtocolType
	stable := info.State == group.Stable
	if stable {
		g.Protocol = info.Protocol
	}
	for _, m := range info.Members {
		d := kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.ID, InstanceID: orNil(m.Instance), ClientID: m.ClientID, ClientHost: m.ClientHost,
			ProtocolMetadata: []byte{}, MemberAssignment: m.Assignment,
		}
		if stable {
			d.ProtocolMetadata = m.Metadata
		}
		g.Members = append(g.Members, d)
	}
}
