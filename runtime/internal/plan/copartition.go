package plan

import (
	"slices"

	"github.com/millstream-io/millstream/streams/topology"
)

// meeting is an operator at which records of several topics meet by key: the
// same key must have the same partition in all of them.
type meeting struct {
	operator topology.NodeID
	sources  []topology.NodeID // in the order of their definition; at least two
}

// copartitioned lists, per operator with a store and per join, the sources that
// reach it within the sub-topology.
func (c *Cut) copartitioned(s topology.SubTopology) (groups []meeting) {
	for _, id := range s.Nodes {
		n := c.topo.Nodes[id]
		if len(n.Stores) == 0 && !n.Join {
			continue
		}
		if g := c.reach(id, map[topology.NodeID]bool{}); len(g) > 1 {
			slices.Sort(g)
			groups = append(groups, meeting{id, g})
		}
	}
	return groups
}

func (c *Cut) reach(id topology.NodeID, seen map[topology.NodeID]bool) []topology.NodeID {
	if seen[id] {
		return nil
	}
	seen[id] = true
	n := c.topo.Nodes[id]
	if n.Kind == topology.Source {
		return []topology.NodeID{id}
	}
	var out []topology.NodeID
	for _, p := range n.Parents {
		out = append(out, c.reach(p, seen)...)
	}
	return out
}

// Copartitioned lists the groups of the user's topics that must have the same
// number of partitions: whoever makes one that is missing gives it the number of
// another in its group. A topic is in one group at most.
func (c *Cut) Copartitioned() (groups [][]string) {
	for _, s := range c.subs {
		for _, m := range c.copartitioned(s) {
			var topics []string
			for _, id := range m.sources {
				if n := c.topo.Nodes[id]; !n.Repartition {
					topics = append(topics, n.Topic)
				}
			}
			if len(topics) > 1 {
				groups = merge(groups, topics)
			}
		}
	}
	return groups
}

// merge adds a group, in one with those that share a topic with it.
func merge(groups [][]string, topics []string) (out [][]string) {
	for _, g := range groups {
		if slices.ContainsFunc(g, func(t string) bool { return slices.Contains(topics, t) }) {
			topics = append(topics, g...)
		} else {
			out = append(out, g)
		}
	}
	slices.Sort(topics)
	return append(out, slices.Compact(topics))
}
