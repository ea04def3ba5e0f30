package topology

import (
	"fmt"
	"strings"
)

// Describe is the graph as text, a line per operator in the order of their
// definition:
//
//	Topology alerts
//	  From-1: From topic syslog [string, bytes] -> Filter-1
//	  Filter-1: Filter -> hosts
//	  hosts: Count store hosts [string, int64] (tumbling 1m0s, emit on close)
func (t *Topology) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Topology %s\n", t.Name)
	next := t.nextNames()
	for _, n := range t.Nodes {
		fmt.Fprintf(&b, "  %s: %s", n.Name, t.line(&n))
		if len(next[n.ID]) > 0 {
			fmt.Fprintf(&b, " -> %s", strings.Join(next[n.ID], ", "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// line is what a node does, without its name and edges.
func (t *Topology) line(n *Node) string {
	s := n.Verb
	if n.Topic != "" {
		s += " topic " + n.Topic
		if n.Repartition && n.Partitions > 0 {
			s += fmt.Sprintf(" (%d partitions)", n.Partitions)
		}
	}
	if len(n.Stores) > 0 {
		s += " store " + strings.Join(t.storeNames(n.Stores), ", ")
	}
	if n.KeySerde != "" || n.ValSerde != "" {
		s += fmt.Sprintf(" [%s, %s]", n.KeySerde, n.ValSerde)
	}
	if n.Detail != "" {
		s += " (" + n.Detail + ")"
	}
	return s
}

// storeNames are what the program calls its stores, and where they are kept under
// another name.
func (t *Topology) storeNames(kept []string) (names []string) {
	for _, name := range kept {
		for _, s := range t.Stores {
			if s.Name == name && s.Alias != "" {
				name = s.Alias + " (kept as " + name + ", its FormerName)"
			}
		}
		names = append(names, name)
	}
	return names
}

// nextNames are the names of each node's children; a repartition's sink leads to
// its source.
func (t *Topology) nextNames() map[NodeID][]string {
	next := map[NodeID][]string{}
	for _, e := range t.edges() {
		next[e.from] = append(next[e.from], t.Nodes[e.to].Name)
	}
	return next
}

type edge struct {
	from, to NodeID
	topic    bool // through a repartition topic
}

func (t *Topology) edges() (out []edge) {
	for _, n := range t.Nodes {
		for _, p := range n.Parents {
			out = append(out, edge{from: p, to: n.ID})
		}
		if n.Kind != Source || !n.Repartition {
			continue
		}
		for _, s := range t.Nodes {
			if s.Kind == Sink && s.Repartition && s.Topic == n.Topic {
				out = append(out, edge{from: s.ID, to: n.ID, topic: true})
			}
		}
	}
	return out
}

// Mermaid is the graph as a Mermaid flowchart. Edges through repartition topics
// are dotted.
func (t *Topology) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, n := range t.Nodes {
		left, right := "[", "]"
		switch {
		case n.Kind != Operator:
			left, right = "([", "])"
		case len(n.Stores) > 0:
			left, right = "[(", ")]"
		}
		fmt.Fprintf(&b, "  n%d%s\"%s\"%s\n", n.ID, left, mermaidText(n.Name+"\n"+t.line(&n)), right)
	}
	for _, e := range t.edges() {
		arrow := "-->"
		if e.topic {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "  n%d %s n%d\n", e.from, arrow, e.to)
	}
	return b.String()
}

var mermaidText = strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", "<br/>").Replace

// DOT is the graph in Graphviz's language.
func (t *Topology) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n", t.Name)
	for _, n := range t.Nodes {
		shape := "box"
		switch {
		case n.Kind != Operator:
			shape = "oval"
		case len(n.Stores) > 0:
			shape = "cylinder"
		}
		fmt.Fprintf(&b, "  n%d [shape=%s, label=%q];\n", n.ID, shape, n.Name+"\n"+t.line(&n))
	}
	for _, e := range t.edges() {
		style := ""
		if e.topic {
			style = " [style=dotted]"
		}
		fmt.Fprintf(&b, "  n%d -> n%d%s;\n", e.from, e.to, style)
	}
	b.WriteString("}\n")
	return b.String()
}

// Node finds a node by name.
func (t *Topology) Node(name string) (Node, bool) {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}
