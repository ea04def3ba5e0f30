package acl

// Operation is what a principal wants to do, numbered as in Kafka's protocol.
type Operation int8

// The operations. OpAny occurs in filters only; OpAll in bindings stands for
// every operation.
const (
	OpUnknown Operation = iota
	OpAny
	OpAll
	OpRead
	OpWrite
	OpCreate
	OpDelete
	OpAlter
	OpDescribe
	OpClusterAction
	OpDescribeConfigs
	OpAlterConfigs
	OpIdempotentWrite
	OpCreateTokens
	OpDescribeTokens
	OpTwoPhaseCommit
	endOfOperations
)

// ResourceType is the kind of thing a binding protects, numbered as in Kafka's
// protocol.
type ResourceType int8

// The resource types. TypeAny occurs in filters only.
const (
	TypeUnknown ResourceType = iota
	TypeAny
	TypeTopic
	TypeGroup
	TypeCluster
	TypeTransactionalID
	TypeDelegationToken
	TypeUser
	endOfTypes
)

// ClusterName is the name of the only resource of TypeCluster.
const ClusterName = "kafka-cluster"

// Wildcard is the literal name that stands for every resource of its type, and
// the host that stands for every host.
const Wildcard = "*"

// WildcardPrincipal stands for every principal in a binding.
const WildcardPrincipal = "User:*"

// Anonymous is the principal of a connection that was not authenticated.
const Anonymous = "User:ANONYMOUS"

// PatternType says how a binding's name is compared with a resource's,
// numbered as in Kafka's protocol.
type PatternType int8

// The pattern types. PatternAny and PatternMatch occur in filters only: the
// first matches bindings with exactly the filter's name whatever their type,
// the second every binding that would apply to a resource of that name.
const (
	PatternUnknown PatternType = iota
	PatternAny
	PatternMatch
	PatternLiteral
	PatternPrefixed
	endOfPatterns
)

// Permission says whether a binding allows or denies, numbered as in Kafka's
// protocol.
type Permission int8

// The permissions. PermissionAny occurs in filters only.
const (
	PermissionUnknown Permission = iota
	PermissionAny
	Deny
	Allow
	endOfPermissions
)

// Binding is one rule: Principal, coming from Host, is allowed or denied Op on
// the resources that (Type, Pattern, Name) covers.
type Binding struct {
	Type       ResourceType `json:"type"`
	Name       string       `json:"name"`
	Pattern    PatternType  `json:"pattern"`   // literal or prefixed
	Principal  string       `json:"principal"` // "User:alice"; "User:*" is every principal
	Host       string       `json:"host"`      // an IP address; "*" is every host
	Op         Operation    `json:"operation"`
	Permission Permission   `json:"permission"`
}

func (b Binding) String() string {
	return b.Permission.String() + " " + b.Principal + " from " + b.Host + " to " + b.Op.String() +
		" " + b.Type.String() + " " + b.Pattern.String() + " " + b.Name
}
