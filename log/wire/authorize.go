package wire

import (
	"github.com/millstream-io/millstream/log/internal/acl"
)

// Authorization turns access control lists on (Kafka's StandardAuthorizer). The
// bindings themselves are the broker's, made by CreateAcls.
type Authorization struct {
	// SuperUsers may do everything (super.users): "User:admin".
	SuperUsers []string
	// AllowIfNoACL lets everybody do everything with a resource that no binding
	// covers (allow.everyone.if.no.acl.found).
	AllowIfNoACL bool
}

// authorizer answers for all requests of a server; nil allows everything.
type authorizer struct {
	rules    acl.Rules
	bindings func() *acl.Set
}

// may says whether the principal of the request's connection may do op on the
// resource; true where no authorizer is configured. It allocates nothing. The
// name of TypeCluster is acl.ClusterName; mayCluster is the short form.
//
// A handler calls it before it looks whether the resource exists, so that who
// may not know learns nothing, and answers forbidden(typ).
func (r *request) may(op acl.Operation, typ acl.ResourceType, name string) bool {
	a := r.conn.srv.authorizer
	if a == nil {
		return true
	}
	return a.rules.Allows(a.bindings(), r.conn.principal, r.conn.host, op, typ, name)
}

// mayCluster is may for the cluster.
func (r *request) mayCluster(op acl.Operation) bool {
	return r.may(op, acl.TypeCluster, acl.ClusterName)
}

// maySome says whether there can be a resource of the type on which the
// principal may do op (KIP-679; idempotent producers need Write on some topic).
func (r *request) maySome(op acl.Operation, typ acl.ResourceType) bool {
	a := r.conn.srv.authorizer
	if a == nil {
		return true
	}
	return a.rules.AllowsSome(a.bindings(), r.conn.principal, r.conn.host, op, typ)
}

// authorizedOperations is the bit field of what the principal may do with a
// resource (KIP-430): bit n stands for operation n.
func (r *request) authorizedOperations(typ acl.ResourceType, name string) int32 {
	var bits int32
	for _, op := range typ.Operations() {
		if r.may(op, typ, name) {
			bits |= 1 << op
		}
	}
	return bits
}

// forbidden is the code for a resource on which the principal may not do what it asks.
func forbidden(typ acl.ResourceType) int16 {
	switch typ {
	case acl.TypeTopic:
		return codeTopicAuthorizationFailed
	case acl.TypeGroup:
		return codeGroupAuthorizationFailed
	case acl.TypeTransactionalID:
		return codeTransactionalIDAuthorizationFailed
	}
	return codeClusterAuthorizationFailed
}
