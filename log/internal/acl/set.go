package acl

import (
	"cmp"
	"net/netip"
	"slices"
)

// Set is an immutable set of bindings, indexed for decisions. The nil Set is
// empty. Any number of goroutines may use it.
//
// Invariant: all is sorted and holds no binding twice; byType is made of all.
type Set struct {
	all    []Binding
	byType [endOfTypes]index
}

// index finds the bindings that cover a resource's name without looking at others.
type index struct {
	literal  map[string][]Binding // Wildcard covers every name
	prefixed map[string][]Binding
	lengths  []int // of the prefixes, each once, ascending
}

// NewSet makes a set; bindings that occur more than once are kept once.
// The caller has checked them (Binding.Check).
func NewSet(bindings ...Binding) *Set {
	s := &Set{all: slices.Clone(bindings)}
	slices.SortFunc(s.all, compare)
	s.all = slices.Compact(s.all)
	for _, b := range s.all {
		if b.Type > 0 && b.Type < endOfTypes {
			s.byType[b.Type].add(b)
		}
	}
	return s
}

func compare(a, b Binding) int {
	return cmp.Or(
		cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Pattern, b.Pattern),
		cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host),
		cmp.Compare(a.Op, b.Op), cmp.Compare(a.Permission, b.Permission),
	)
}

func (x *index) add(b Binding) {
	if x.literal == nil {
		x.literal, x.prefixed = map[string][]Binding{}, map[string][]Binding{}
	}
	b.Host = CanonicalHost(b.Host)
	if b.Pattern == PatternPrefixed {
		x.prefixed[b.Name] = append(x.prefixed[b.Name], b)
		if at, found := slices.BinarySearch(x.lengths, len(b.Name)); !found {
			x.lengths = slices.Insert(x.lengths, at, len(b.Name))
		}
		return
	}
	x.literal[b.Name] = append(x.literal[b.Name], b)
}

// CanonicalHost is the one spelling of an IP address that a Set compares:
// "0:0:0:0:0:0:0:1" and "::1" are one host, "::ffff:10.0.0.1" is 10.0.0.1.
// What is no address stays as it is.
func CanonicalHost(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	return addr.Unmap().WithZone("").String()
}

// All is every binding, in a stable order. The caller must not change it.
func (s *Set) All() []Binding {
	if s == nil {
		return nil
	}
	return s.all
}

// With is the set with more bindings.
func (s *Set) With(more ...Binding) *Set { return NewSet(slices.Concat(s.All(), more)...) }

// Without is the set without the bindings for which drop is true.
func (s *Set) Without(drop func(Binding) bool) *Set {
	return NewSet(slices.DeleteFunc(slices.Clone(s.All()), drop)...)
}

// Matching gives the bindings that a filter selects.
func (s *Set) Matching(f Filter) []Binding {
	var found []Binding
	for _, b := range s.All() {
		if f.Matches(b) {
			found = append(found, b)
		}
	}
	return found
}
