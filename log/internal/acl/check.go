package acl

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid: a binding that cannot be stored.
var ErrInvalid = errors.New("acl: invalid binding")

// Check says whether a binding can be stored: no Any or Unknown, a name, a
// principal of the form Type:Name, a host, the cluster by its one name.
func (b Binding) Check() error {
	var what string
	switch {
	case b.Type <= TypeAny || b.Type >= endOfTypes:
		what = fmt.Sprintf("resource type %d, expected one of topic, group, cluster, transactional id, delegation token, user", b.Type)
	case b.Pattern != PatternLiteral && b.Pattern != PatternPrefixed:
		what = fmt.Sprintf("pattern type %d, expected literal or prefixed", b.Pattern)
	case b.Op <= OpAny || b.Op >= endOfOperations:
		what = fmt.Sprintf("operation %d, expected one that can be granted", b.Op)
	case b.Permission != Deny && b.Permission != Allow:
		what = fmt.Sprintf("permission %d, expected allow or deny", b.Permission)
	case b.Name == "":
		what = "the resource name is empty"
	case b.Type == TypeCluster && b.Name != ClusterName:
		what = fmt.Sprintf("cluster %q, expected %s, the only one", b.Name, ClusterName)
	case !validPrincipal(b.Principal):
		what = fmt.Sprintf("principal %q, expected Type:Name such as User:alice", b.Principal)
	case b.Host == "":
		what = "the host is empty, expected an IP address or *"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, what)
}

func validPrincipal(p string) bool {
	kind, name, ok := strings.Cut(p, ":")
	return ok && kind != "" && name != ""
}

// Operations gives those that apply to a type of resource, as Kafka lists them
// for "authorized operations" (KIP-430).
func (t ResourceType) Operations() []Operation {
	if t <= TypeAny || t >= endOfTypes {
		return nil
	}
	return operationsOf[t]
}

var operationsOf = [endOfTypes][]Operation{
	TypeTopic:           {OpRead, OpWrite, OpCreate, OpDescribe, OpDelete, OpAlter, OpDescribeConfigs, OpAlterConfigs},
	TypeGroup:           {OpRead, OpDescribe, OpDelete, OpDescribeConfigs, OpAlterConfigs},
	TypeCluster:         {OpCreate, OpClusterAction, OpDescribeConfigs, OpAlterConfigs, OpIdempotentWrite, OpAlter, OpDescribe},
	TypeTransactionalID: {OpDescribe, OpWrite, OpTwoPhaseCommit},
	TypeDelegationToken: {OpDescribe},
	TypeUser:            {OpCreateTokens, OpDescribeTokens},
}
