package acl

import (
	"fmt"
	"strings"
)

// The names as Kafka's tools print them, by number.
var (
	operationNames = [endOfOperations]string{
		"UNKNOWN", "ANY", "ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION",
		"DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE", "CREATE_TOKENS", "DESCRIBE_TOKENS", "TWO_PHASE_COMMIT",
	}
	typeNames       = [endOfTypes]string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"}
	patternNames    = [endOfPatterns]string{"UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"}
	permissionNames = [endOfPermissions]string{"UNKNOWN", "ANY", "DENY", "ALLOW"}
)

func (o Operation) String() string    { return nameOf(operationNames[:], int(o)) }
func (t ResourceType) String() string { return nameOf(typeNames[:], int(t)) }
func (p PatternType) String() string  { return nameOf(patternNames[:], int(p)) }
func (p Permission) String() string   { return nameOf(permissionNames[:], int(p)) }

func nameOf(names []string, n int) string {
	if n < 0 || n >= len(names) {
		return fmt.Sprintf("UNKNOWN(%d)", n)
	}
	return names[n]
}

// Known are the values that are in Kafka's protocol, UNKNOWN (0) excepted.
func (o Operation) Known() bool    { return o > 0 && o < endOfOperations }
func (t ResourceType) Known() bool { return t > 0 && t < endOfTypes }
func (p PatternType) Known() bool  { return p > 0 && p < endOfPatterns }
func (p Permission) Known() bool   { return p > 0 && p < endOfPermissions }

// MarshalText and UnmarshalText write the names into files.

func (o Operation) MarshalText() ([]byte, error)    { return []byte(o.String()), nil }
func (t ResourceType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
func (p PatternType) MarshalText() ([]byte, error)  { return []byte(p.String()), nil }
func (p Permission) MarshalText() ([]byte, error)   { return []byte(p.String()), nil }

func (o *Operation) UnmarshalText(b []byte) error { return parse(o, operationNames[:], "operation", b) }
func (t *ResourceType) UnmarshalText(b []byte) error {
	return parse(t, typeNames[:], "resource type", b)
}
func (p *PatternType) UnmarshalText(b []byte) error {
	return parse(p, patternNames[:], "pattern type", b)
}
func (p *Permission) UnmarshalText(b []byte) error {
	return parse(p, permissionNames[:], "permission", b)
}

func parse[T ~int8](v *T, names []string, what string, b []byte) error {
	for i, name := range names {
		if name == string(b) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("acl: %s %q: expected one of %s", what, b, strings.Join(names[1:], ", "))
}
