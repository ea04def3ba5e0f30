package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Beginnings of the keys of Facts; a name in quotes follows.
const (
	FactStore       = "store "
	FactRepartition = "repartition topic "
	FactPartitions  = "partitions of topic "
	factState       = "state "
	factSource      = "source topic "
	factSink        = "sink topic "
	factSub         = "sub-topology "
	factProcess     = "function of operator "
)

// Facts lists what must be the same for a later version of the program to go on
// with the state that this one leaves, by keys that stay the same when a fact
// changes. They are about what is kept, and where:
//
//	store N              its kind, serdes and windows: what its bytes mean
//	state N              its place in the local database, the operator that fills it and the
//	                     topics that reach it: what its keys are
//	repartition topic T  the serdes and the partitioner of what is on its way
//	partitions of T      of the topics that are read, and of changelogs
//	source topic T       serdes and event time
//	sink topic T         serdes and partitioner: what its readers have met so far
//	sub-topology I       the topics that it reads, who writes them, and its operators that
//	                     work by stream time, in their order: what position records,
//	                     watermarks and emit frontiers are about
//	function of O        of Process without state: its Detail
//
// Operators that keep nothing are not among them, nor are functions: these have no
// identity. See [Plan.Operators].
func (p *Plan) Facts(topo *topology.Topology) map[string]string {
	f := facts{p: p, topo: topo, of: map[string]string{}}
	for _, s := range topo.Stores {
		f.of[FactStore+quoted(s.Name)] = fmt.Sprintf("kind %d changelog %v serdes %s size %dms advance %dms grace %dms retention %dms",
			s.Kind, s.Changelog, s.SerdeName, s.SizeMS, s.AdvanceMS, s.GraceMS, s.RetentionMS)
	}
	for i := range topo.Nodes {
		f.node(&topo.Nodes[i])
	}
	read := map[string]bool{}
	for i := range p.Subs {
		f.sub(&p.Subs[i])
		for _, in := range p.Subs[i].Inputs {
			read[in.Topic] = true
		}
	}
	for _, t := range p.Topics {
		if read[t.Name] || t.Kind == Changelog {
			f.of[FactPartitions+quoted(t.Name)] = fmt.Sprint(t.Partitions)
		}
	}
	return f.of
}

// Refuses reports whether a program does not fit old state where the fact of this
// key is only there before or only now: stores and what is on its way to them,
// and settings. If another fact matters, one of those, or one that is there in
// both, differs too.
func Refuses(key string) bool {
	for _, harmless := range []string{factState, FactPartitions, factSource, factSink, factSub, factProcess} {
		if strings.HasPrefix(key, harmless) {
			return false
		}
	}
	return true
}

// Outlives reports whether a fact of an earlier version goes on to count when its
// subject is gone: positions in the log are kept for whoever comes back to them.
func Outlives(key string) bool {
	return strings.HasPrefix(key, FactPartitions) || strings.HasPrefix(key, factSource) || strings.HasPrefix(key, factSub)
}

func quoted(name string) string { return fmt.Sprintf("%q", name) }

type facts struct {
	p    *Plan
	topo *topology.Topology
	of   map[string]string
}

// add adds to a fact that several operators share.
func (f *facts) add(key, fact string) {
	if was, ok := f.of[key]; ok && !slices.Contains(strings.Split(was, "; "), fact) {
		parts := append(strings.Split(was, "; "), fact)
		slices.Sort(parts)
		fact = strings.Join(parts, "; ")
	}
	f.of[key] = fact
}

func (f *facts) node(n *topology.Node) {
	serdes := fmt.Sprintf("serdes %s,%s", n.KeySerde, n.ValSerde)
	if n.Detail != "" {
		serdes += ": " + n.Detail
	}
	if n.Table && !n.Repartition {
		serdes += ", first at equal times"
	}
	switch {
	case n.Repartition:
		f.add(FactRepartition+quoted(n.Topic), serdes)
	case n.Kind == topology.Source:
		f.add(factSource+quoted(n.Topic), serdes)
	case n.Kind == topology.Sink:
		f.add(factSink+quoted(n.Topic), serdes)
	case len(n.Stores) > 0:
		f.state(n)
	case n.Detail != "" && strings.HasPrefix(n.Verb, "Process"):
		f.of[factProcess+quoted(n.Name)] = n.Verb + ": " + n.Detail
	}
}

// state is about the stores of an operator.
func (f *facts) state(n *topology.Node) {
	c := Cut{topo: f.topo}
	var from []string
	for _, id := range c.reach(n.ID, map[topology.NodeID]bool{}) {
		from = append(from, f.topo.Nodes[id].Topic)
	}
	slices.Sort(from)
	for _, s := range n.Stores {
		place := slices.IndexFunc(f.topo.Stores, func(spec state.Spec) bool { return spec.Name == s })
		f.of[factState+quoted(s)] = fmt.Sprintf("#%d, %s of topics %q: %s", place, n.Verb, slices.Compact(from), n.Detail)
	}
}

func (f *facts) sub(s *Sub) {
	var reads, timed []string
	for _, in := range s.Inputs {
		by := map[int]bool{}
		for _, u := range in.Upstream {
			by[u.Sub] = true
		}
		text := quoted(in.Topic)
		if in.Repartition {
			text += fmt.Sprintf(" of sub-topologies %v", sortedSubs(by))
		}
		if !slices.Contains(reads, text) {
			reads = append(reads, text)
		}
	}
	slices.Sort(reads)
	for _, id := range s.Nodes {
		n := &f.topo.Nodes[id]
		for _, name := range n.Stores {
			if spec := f.spec(name); spec.Kind == state.Window {
				timed = append(timed, quoted(name))
			}
		}
		if n.EveryMS > 0 {
			timed = append(timed, fmt.Sprintf("%dms", n.EveryMS))
		}
	}
	f.of[factSub+fmt.Sprint(s.ID)] = fmt.Sprintf("reads %s; by stream time: %s", strings.Join(reads, ", "), strings.Join(timed, ", "))
}

func (f *facts) spec(name string) state.Spec {
	for _, s := range f.topo.Stores {
		if s.Name == name {
			return s
		}
	}
	return state.Spec{}
}

func sortedSubs(of map[int]bool) (subs []int) {
	for s := range of {
		subs = append(subs, s)
	}
	slices.Sort(subs)
	return subs
}

// Operators describes every operator by its name, for people: what is new, gone
// or different between two versions of a program, whether it matters or not. Each
// text begins with the operator's number and a blank.
func (p *Plan) Operators(topo *topology.Topology) map[string]string {
	of := map[string]string{}
	for i, n := range topo.Nodes {
		var parents []string
		for _, id := range n.Parents {
			parents = append(parents, topo.Nodes[id].Name)
		}
		of[n.Name] = fmt.Sprintf("#%d %s after %q topic %q serdes %s,%s: %s", i, n.Verb, parents, n.Topic, n.KeySerde, n.ValSerde, n.Detail)
	}
	return of
}
