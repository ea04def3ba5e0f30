package logclient

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Right is an operation on a resource that an access control list must allow, in the
// words of Kafka's tools.
type Right struct {
	Operation string // Read, Write, Create, Delete, Describe, IdempotentWrite
	Resource  string // topic, group, transactional-id, cluster
	Name      string // of the resource; of the cluster: empty
	Prefixed  bool   // on all whose names begin so
}

func (r Right) String() string {
	if r.Name == "" {
		return r.Operation + " on the " + r.Resource
	}
	kind := strings.ReplaceAll(r.Resource, "-", " ")
	if r.Prefixed {
		return r.Operation + " on the " + kind + "s that begin with " + r.Name
	}
	return r.Operation + " on the " + kind + " " + r.Name
}

// RightsError says that the cluster does not let this program's user do what it
// needs. Asking again does not help, so it is fatal.
type RightsError struct {
	User    string // "User:NAME"
	Servers string // HOST:PORT,...
	Missing []Right
	Err     error // the cluster's answer; nil if it was asked before anything was refused
}

// Error names what is missing, and how an administrator grants it.
func (e *RightsError) Error() string {
	var b strings.Builder
	if e.Err != nil {
		b.WriteString(e.Err.Error() + ": ")
	}
	for i, r := range e.Missing {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.String())
	}
	is := "is"
	if len(e.Missing) > 1 {
		is = "are"
	}
	fmt.Fprintf(&b, " %s missing for %s; an administrator grants it: ", is, e.User)
	for i, c := range e.commands() {
		if i > 0 {
			b.WriteString(" && ")
		}
		b.WriteString(c)
	}
	b.WriteString("; docs/cluster.md lists all that a program needs")
	return b.String()
}

func (e *RightsError) Unwrap() error { return e.Err }

// commands are those of Kafka's own tool, one for all resources of a kind that lack the same.
func (e *RightsError) commands() (all []string) {
	var order []Right // the first operation of each resource
	lacks := map[Right]string{}
	for _, r := range e.Missing {
		at := Right{Resource: r.Resource, Name: r.Name, Prefixed: r.Prefixed}
		if lacks[at] == "" {
			order = append(order, at)
		}
		lacks[at] += " --operation " + r.Operation
	}
	same := map[string]int{}
	for _, at := range order {
		kind := fmt.Sprint(at.Resource, at.Prefixed, lacks[at])
		i, is := same[kind]
		if !is {
			i = len(all)
			same[kind] = i
			c := "kafka-acls.sh --bootstrap-server " + e.Servers + " --add --allow-principal " + e.User + lacks[at]
			if at.Prefixed {
				c += " --resource-pattern-type prefixed"
			}
			all = append(all, c)
		}
		all[i] += " --" + at.Resource
		if at.Name != "" {
			all[i] += " '" + at.Name + "'"
		}
	}
	return all
}

// TopicUse is what a program does with a topic.
type TopicUse struct {
	Topic               string
	Read, Write, Delete bool // Delete: of records
}

// RightsChecker is a Log with access control.
type RightsChecker interface {
	// CheckRights asks whether this client may use topics so. What is missing of all
	// of them is one *RightsError. Of topics that do not exist nothing is known.
	CheckRights(ctx context.Context, uses []TopicUse) error
}

// SortRights orders rights by resource, so that an error says the same each time.
func SortRights(rights []Right) {
	slices.SortFunc(rights, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Operation, b.Operation))
	})
}
