package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// CreateAcls (KIP-140, KIP-290): versions 1 to 3. Each binding has its own
// answer; those that are there already are fine.

func handleCreateACLs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.CreateACLsRequest)
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	code, err := r.mayACLs(acl.OpAlter)
	var valid []acl.Binding
	for _, c := range req.Creations {
		b := acl.Binding{
			Type: acl.ResourceType(c.ResourceType), Name: c.ResourceName, Pattern: acl.PatternType(c.ResourcePatternType),
			Principal: c.Principal, Host: c.Host, Op: acl.Operation(c.Operation), Permission: acl.Permission(c.PermissionType),
		}
		res := kmsg.NewCreateACLsResponseResult()
		if err != nil {
			res.ErrorCode, res.ErrorMessage = code, kmsg.StringPtr(err.Error())
		} else if bad := b.Check(); bad != nil {
			res.ErrorCode, res.ErrorMessage = codeInvalidRequest, kmsg.StringPtr(bad.Error())
		} else {
			valid = append(valid, b)
		}
		if res.ErrorCode != codeNone {
			r.errors++
		}
		resp.Results = append(resp.Results, res)
	}
	if len(valid) == 0 {
		return resp, nil
	}
	if err := s.b.CreateACLs(valid); err != nil {
		for i := range resp.Results {
			if res := &resp.Results[i]; res.ErrorCode == codeNone {
				res.ErrorCode, res.ErrorMessage = r.fail(err), kmsg.StringPtr(err.Error())
			}
		}
		return resp, nil
	}
	for _, b := range valid {
		s.cfg.Logger.Info("access control list: created", "binding", b.String(), "by", r.conn.principal)
	}
	return resp, nil
}
