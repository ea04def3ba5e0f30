package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Cut is a topology taken apart, before partitions are known.
type Cut struct {
	topo *topology.Topology
	subs []topology.SubTopology
	deps [][]int // by sub-topology: those that must be drained before it
}

// TopicUse is one external topic and how the program uses it.
type TopicUse struct {
	Topic         string
	Read, Written bool
}

// NewCut takes a topology apart. It reports every problem at once: stores that
// nobody declares, repartition topics without a writer or a reader, cycles.
func NewCut(topo *topology.Topology) (*Cut, error) {
	groups := components(topo)
	subs := make([]topology.SubTopology, len(groups))
	for i, g := range groups {
		subs[i] = describe(topo, g)
	}
	var errs []error
	errs = append(errs, checkStores(topo)...)
	errs = append(errs, checkRepartitions(topo)...)
	order, deps, err := sortSubs(topo, subs)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c := &Cut{topo: topo}
	place := make([]int, len(subs)) // of an old index in the new order
	for i, old := range order {
		place[old] = i
	}
	for i, old := range order {
		s := subs[old]
		s.ID = i
		c.subs = append(c.subs, s)
		var after []int
		for _, d := range deps[old] {
			after = append(after, place[d])
		}
		slices.Sort(after)
		c.deps = append(c.deps, after)
	}
	return c, nil
}

// External lists the user's topics by name.
func (c *Cut) External() []TopicUse {
	at := map[string]int{}
	var uses []TopicUse
	for _, n := range c.topo.Nodes {
		if n.Repartition || n.Topic == "" || n.Kind == topology.Operator {
			continue
		}
		i, ok := at[n.Topic]
		if !ok {
			i = len(uses)
			at[n.Topic] = i
			uses = append(uses, TopicUse{Topic: n.Topic})
		}
		uses[i].Read = uses[i].Read || n.Kind == topology.Source
		uses[i].Written = uses[i].Written || n.Kind == topology.Sink
	}
	slices.SortFunc(uses, func(a, b TopicUse) int {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	})
	return uses
}

// components groups node ids that are joined by an edge, a store, or a topic
// that both read: a group has one committed offset per partition, so one task
// must read it. A source reads from the log, so no edge leads into it.
func components(topo *topology.Topology) [][]topology.NodeID {
	parent := make([]int, len(topo.Nodes))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	join := func(a, b int) {
		a, b = find(a), find(b)
		parent[max(a, b)] = min(a, b)
	}
	owner, reader := map[string]int{}, map[string]int{}
	for i, n := range topo.Nodes {
		if n.Kind == topology.Source {
			key := countKey(n)
			if r, ok := reader[key]; ok {
				join(i, r)
			} else {
				reader[key] = i
			}
		} else {
			for _, p := range n.Parents {
				join(i, int(p))
			}
		}
		for _, s := range n.Stores {
			if o, ok := owner[s]; ok {
				join(i, o)
			} else {
				owner[s] = i
			}
		}
	}
	index := map[int]int{}
	var groups [][]topology.NodeID
	for i := range topo.Nodes {
		root := find(i)
		g, ok := index[root]
		if !ok {
			g = len(groups)
			index[root] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], topology.NodeID(i))
	}
	return groups
}

func describe(topo *topology.Topology, ids []topology.NodeID) topology.SubTopology {
	s := topology.SubTopology{Nodes: ids}
	for _, id := range ids {
		n := topo.Nodes[id]
		switch n.Kind {
		case topology.Source:
			s.Sources = append(s.Sources, id)
		case topology.Sink:
			s.Sinks = append(s.Sinks, id)
		}
		for _, st := range n.Stores {
			if !slices.Contains(s.Stores, st) {
				s.Stores = append(s.Stores, st)
			}
		}
	}
	return s
}

func checkStores(topo *topology.Topology) (errs []error) {
	for _, n := range topo.Nodes {
		for _, s := range n.Stores {
			if !slices.ContainsFunc(topo.Stores, func(spec state.Spec) bool { return spec.Name == s }) {
				errs = append(errs, fmt.Errorf("operator %q uses store %q, which the topology does not declare", n.Name, s))
			}
		}
	}
	return errs
}

func checkRepartitions(topo *topology.Topology) (errs []error) {
	read, written := map[string]bool{}, map[string]bool{}
	for _, n := range topo.Nodes {
		if n.Repartition {
			read[n.Topic] = read[n.Topic] || n.Kind == topology.Source
			written[n.Topic] = written[n.Topic] || n.Kind == topology.Sink
		}
	}
	for _, n := range topo.Nodes {
		if n.Repartition && n.Kind == topology.Source && !written[n.Topic] {
			errs = append(errs, fmt.Errorf("operator %q reads repartition topic %q, which nothing writes", n.Name, n.Topic))
		}
		if n.Repartition && n.Kind == topology.Sink && !read[n.Topic] {
			errs = append(errs, fmt.Errorf("operator %q writes repartition topic %q, which nothing reads", n.Name, n.Topic))
		}
	}
	return errs
}

// sortSubs orders sub-topologies so that writers of a topic come before its
// readers; among those that are free to go, the one defined first comes first.
func sortSubs(topo *topology.Topology, subs []topology.SubTopology) (order []int, deps [][]int, err error) {
	type topic struct {
		name     string
		internal bool
	}
	writers := map[topic][]int{}
	for i, s := range subs {
		for _, id := range s.Sinks {
			n := topo.Nodes[id]
			k := topic{n.Topic, n.Repartition}
			writers[k] = append(writers[k], i)
		}
	}
	deps = make([][]int, len(subs))
	for i, s := range subs {
		for _, id := range s.Sources {
			n := topo.Nodes[id]
			for _, w := range writers[topic{n.Topic, n.Repartition}] {
				if !slices.Contains(deps[i], w) {
					deps[i] = append(deps[i], w)
				}
			}
		}
	}
	done := make([]bool, len(subs))
	for len(order) < len(subs) {
		next := -1
		for i := range subs {
			if !done[i] && !slices.ContainsFunc(deps[i], func(d int) bool { return !done[d] }) {
				next = i
				break
			}
		}
		if next < 0 {
			return nil, nil, cycleError(topo, subs, done)
		}
		done[next] = true
		order = append(order, next)
	}
	return order, deps, nil
}

func cycleError(topo *topology.Topology, subs []topology.SubTopology, done []bool) error {
	var topics []string
	for i, s := range subs {
		if done[i] {
			continue
		}
		for _, id := range s.Sources {
			topics = append(topics, topo.Nodes[id].Topic)
		}
	}
	return fmt.Errorf("the topology writes what it reads, through the topics %q: a program cannot wait for itself; where a stream was to be merged with what is made of it, write both to one topic with To instead of Merge, else use two programs", topics)
}
