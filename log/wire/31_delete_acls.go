package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DeleteAcls (KIP-140, KIP-290): versions 1 to 3. Each filter has its own
// answer, with the bindings that it removed.

func handleDeleteACLs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DeleteACLsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	code, err := r.mayACLs(acl.OpAlter)
	var filters []acl.Filter
	var at []int // results of filters
	for i, f := range req.Filters {
		res := kmsg.NewDeleteACLsResponseResult()
		filter, bad := filterOf(int8(f.ResourceType), f.ResourceName, int8(f.ResourcePatternType), f.Principal, f.Host, int8(f.Operation), int8(f.PermissionType))
		switch {
		case err != nil:
			res.ErrorCode, res.ErrorMessage = code, kmsg.StringPtr(err.Error())
			r.errors++
		case bad != nil:
			res.ErrorCode, res.ErrorMessage = codeInvalidRequest, kmsg.StringPtr(bad.Error())
			r.errors++
		default:
			filters, at = append(filters, filter), append(at, i)
		}
		resp.Results = append(resp.Results, res)
	}
	if len(filters) == 0 {
		return resp, nil
	}
	removed, err := s.b.DeleteACLs(filters)
	for n, i := range at {
		res := &resp.Results[i]
		if err != nil {
			res.ErrorCode, res.ErrorMessage = r.fail(err), kmsg.StringPtr(err.Error())
			continue
		}
		for _, b := range removed[n] {
			res.MatchingACLs = append(res.MatchingACLs, matchingACL(b))
			s.cfg.Logger.Info("access control list: removed", "binding", b.String(), "by", r.conn.principal)
		}
	}
	return resp, nil
}

func matchingACL(b acl.Binding) kmsg.DeleteACLsResponseResultMatchingACL {
	m := kmsg.NewDeleteACLsResponseResultMatchingACL()
	m.ResourceType, m.ResourceName, m.ResourcePatternType = kmsg.ACLResourceType(b.Type), b.Name, kmsg.ACLResourcePatternType(b.Pattern)
	m.Principal, m.Host, m.Operation, m.PermissionType = b.Principal, b.Host, kmsg.ACLOperation(b.Op), kmsg.ACLPermissionType(b.Permission)
	return m
}
