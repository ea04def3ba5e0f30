package acl

import "strings"

// Rules are what holds beside the bindings.
type Rules struct {
	// SuperUsers may do everything, whatever a binding denies: "User:admin".
	SuperUsers map[string]bool
	// AllowIfNoneFound: where no binding at all covers a resource, everybody may
	// do everything with it (allow.everyone.if.no.acl.found).
	AllowIfNoneFound bool
}

// Allows says whether principal, coming from host (as CanonicalHost spells it),
// may do op on the resource. A binding that denies wins over all that allow;
// one that allows Read, Write, Delete or Alter allows Describe as well, and
// AlterConfigs DescribeConfigs, but denying them denies nothing else.
func (r Rules) Allows(s *Set, principal, host string, op Operation, typ ResourceType, name string) bool {
	if r.SuperUsers[principal] {
		return true
	}
	if s == nil || typ <= TypeAny || typ >= endOfTypes {
		return r.AllowIfNoneFound
	}
	x := &s.byType[typ]
	v := verdict{principal: principal, host: host, op: op}
	v.look(x.literal[name])
	if name != Wildcard {
		v.look(x.literal[Wildcard])
	}
	for _, n := range x.lengths {
		if n > len(name) || v.denied {
			break
		}
		v.look(x.prefixed[name[:n]])
	}
	switch {
	case v.denied:
		return false
	case v.allowed:
		return true
	}
	return !v.covered && r.AllowIfNoneFound
}

// verdict is what the bindings looked at so far say.
type verdict struct {
	principal, host string
	op              Operation

	covered bool // some binding, of whomever, covers the resource
	allowed bool
	denied  bool
}

func (v *verdict) look(covering []Binding) {
	for i := range covering {
		b := &covering[i]
		v.covered = true
		if !b.isFor(v.principal, v.host) || !b.speaksOf(v.op) {
			continue
		}
		if b.Permission == Deny {
			v.denied = true
			return
		}
		v.allowed = true
	}
}

func (b *Binding) isFor(principal, host string) bool {
	return (b.Principal == principal || b.Principal == WildcardPrincipal) && (b.Host == Wildcard || b.Host == host)
}

// speaksOf tells whether the binding decides about op; allowing implies, denying does not.
func (b *Binding) speaksOf(op Operation) bool {
	if b.Op == op || b.Op == OpAll {
		return true
	}
	if b.Permission != Allow {
		return false
	}
	switch op {
	case OpDescribe:
		return b.Op == OpRead || b.Op == OpWrite || b.Op == OpDelete || b.Op == OpAlter
	case OpDescribeConfigs:
		return b.Op == OpAlterConfigs
	}
	return false
}

// AllowsSome says whether there can be a resource of the type on which the
// principal may do op (KIP-679): what it is allowed is not wholly denied again.
func (r Rules) AllowsSome(s *Set, principal, host string, op Operation, typ ResourceType) bool {
	// A name that no binding is about: super users, wildcards, and what holds
	// where nothing is found.
	if r.Allows(s, principal, host, op, typ, "hardcode") {
		return true
	}
	if s == nil || typ <= TypeAny || typ >= endOfTypes {
		return false
	}
	x := &s.byType[typ]
	if about(x.literal[Wildcard], principal, host, op, Deny) {
		return false
	}
	if about(x.literal[Wildcard], principal, host, op, Allow) {
		return true
	}
	for name, bs := range x.literal {
		if about(bs, principal, host, op, Allow) && !about(bs, principal, host, op, Deny) && !x.prefixDenied(name, principal, host, op) {
			return true
		}
	}
	for name, bs := range x.prefixed {
		if about(bs, principal, host, op, Allow) && !x.prefixDenied(name, principal, host, op) {
			return true
		}
	}
	return false
}

// about: one of the bindings is for this principal, of this operation or all, with this permission.
func about(bs []Binding, principal, host string, op Operation, p Permission) bool {
	for i := range bs {
		b := &bs[i]
		if b.Permission == p && (b.Op == op || b.Op == OpAll) && b.isFor(principal, host) {
			return true
		}
	}
	return false
}

// prefixDenied: a prefix of name, or name as a prefix, is denied.
func (x *index) prefixDenied(name, principal, host string, op Operation) bool {
	for _, n := range x.lengths {
		if n > len(name) {
			return false
		}
		if about(x.prefixed[name[:n]], principal, host, op, Deny) {
			return true
		}
	}
	return false
}

// Filter selects bindings, for describing and deleting them. Empty pointers and
// the Any values select everything.
type Filter struct {
	Type       ResourceType
	Name       *string
	Pattern    PatternType
	Principal  *string
	Host       *string
	Op         Operation
	Permission Permission
}

// Matches says whether the filter selects b.
func (f Filter) Matches(b Binding) bool {
	switch {
	case f.Type != TypeAny && f.Type != b.Type,
		f.Principal != nil && *f.Principal != b.Principal,
		f.Host != nil && *f.Host != b.Host,
		f.Op != OpAny && f.Op != b.Op,
		f.Permission != PermissionAny && f.Permission != b.Permission:
		return false
	}
	return f.matchesName(b)
}

func (f Filter) matchesName(b Binding) bool {
	if f.Pattern != PatternAny && f.Pattern != PatternMatch && f.Pattern != b.Pattern {
		return false
	}
	if f.Name == nil {
		return true
	}
	if f.Pattern != PatternMatch {
		return *f.Name == b.Name
	}
	if b.Pattern == PatternPrefixed {
		return strings.HasPrefix(*f.Name, b.Name)
	}
	return *f.Name == b.Name || b.Name == Wildcard
}

// Exact is true for a filter that can select at most one binding.
func (f Filter) Exact() bool {
	return f.Type > TypeAny && f.Name != nil && (f.Pattern == PatternLiteral || f.Pattern == PatternPrefixed) &&
		f.Principal != nil && f.Host != nil && f.Op > OpAny && f.Permission > PermissionAny
}
