package wire

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeAcls (KIP-140, KIP-290): versions 1 to 3.

// errNoAuthorizer is what the calls about access control lists say without one.
//
//lint:ignore ST1005 Kafka's own words
var errNoAuthorizer = errors.New("No Authorizer is configured on the broker")

// mayACLs says whether the calls about access control lists may be used: 0, or the code.
func (r *request) mayACLs(op acl.Operation) (code int16, err error) {
	switch {
	case !r.mayCluster(op):
		return codeClusterAuthorizationFailed, errForbidden
	case r.conn.srv.authorizer == nil:
		return codeSecurityDisabled, errNoAuthorizer
	}
	return codeNone, nil
}

func handleDescribeACLs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeACLsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
	filter, err := filterOf(int8(req.ResourceType), req.ResourceName, int8(req.ResourcePatternType), req.Principal, req.Host, int8(req.Operation), int8(req.PermissionType))
	code := codeInvalidRequest
	if err == nil {
		code, err = r.mayACLs(acl.OpDescribe)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = code, kmsg.StringPtr(err.Error())
		r.errors++
		return resp, nil
	}
	// All sorts by resource first, so those of one resource are neighbours.
	for _, b := range s.b.ACLs().Matching(filter) {
		n := len(resp.Resources)
		if n == 0 || !sameResource(&resp.Resources[n-1], b) {
			res := kmsg.NewDescribeACLsResponseResource()
			res.ResourceType, res.ResourceName, res.ResourcePatternType = kmsg.ACLResourceType(b.Type), b.Name, kmsg.ACLResourcePatternType(b.Pattern)
			resp.Resources = append(resp.Resources, res)
			n++
		}
		e := kmsg.NewDescribeACLsResponseResourceACL()
		e.Principal, e.Host, e.Operation, e.PermissionType = b.Principal, b.Host, kmsg.ACLOperation(b.Op), kmsg.ACLPermissionType(b.Permission)
		resp.Resources[n-1].ACLs = append(resp.Resources[n-1].ACLs, e)
	}
	return resp, nil
}

func sameResource(r *kmsg.DescribeACLsResponseResource, b acl.Binding) bool {
	return int8(r.ResourceType) == int8(b.Type) && r.ResourceName == b.Name && int8(r.ResourcePatternType) == int8(b.Pattern)
}

// filterOf checks what a request says about the bindings that it means.
func filterOf(typ int8, name *string, pattern int8, principal, host *string, op, permission int8) (acl.Filter, error) {
	f := acl.Filter{
		Type: acl.ResourceType(typ), Name: name, Pattern: acl.PatternType(pattern),
		Principal: principal, Host: host, Op: acl.Operation(op), Permission: acl.Permission(permission),
	}
	if !f.Type.Known() || !f.Pattern.Known() || !f.Op.Known() || !f.Permission.Known() {
		return f, errors.New("the filter has a resource type, pattern type, operation or permission that is unknown")
	}
	return f, nil
}
