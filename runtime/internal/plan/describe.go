package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Describe is the plan as text, for people and for goldens.
func (p *Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "application %s\n", p.App)
	for _, s := range p.Subs {
		fmt.Fprintf(&b, "sub-topology %d: %d tasks", s.ID, s.Tasks)
		if len(s.After) > 0 {
			fmt.Fprintf(&b, ", after %v", s.After)
		}
		b.WriteByte('\n')
		for _, in := range s.Inputs {
			fmt.Fprintf(&b, "  reads   %s (%d partitions)", in.Topic, in.Partitions)
			if in.Repartition {
				fmt.Fprintf(&b, ", time by %d tasks", len(in.Upstream))
			}
			b.WriteByte('\n')
		}
		for _, st := range s.Stores {
			kind := "key-value"
			if st.Spec.Kind == state.Window {
				kind = "window"
			}
			fmt.Fprintf(&b, "  store   %s (%s)", st.Spec.Name, kind)
			if st.Changelog != "" {
				fmt.Fprintf(&b, ", changelog %s", st.Changelog)
			}
			b.WriteByte('\n')
		}
		for _, o := range s.Outputs {
			fmt.Fprintf(&b, "  writes  %s (%d partitions)\n", o.Topic, o.Partitions)
		}
	}
	for _, t := range p.Topics {
		if t.Kind == External {
			continue
		}
		fmt.Fprintf(&b, "topic %s: %d partitions", t.Name, t.Partitions)
		for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
			fmt.Fprintf(&b, " %s=%s", k, t.Configs[k])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Fingerprint lists what the state of a program depends on, one fact a line, by
// a key that stays the same when the fact changes: two maps can be compared to
// say what changed.
func (p *Plan) Fingerprint(topo *topology.Topology) map[string]string {
	facts := map[string]string{}
	for i, n := range topo.Nodes {
		var parents []string
		for _, id := range n.Parents {
			parents = append(parents, topo.Nodes[id].Name)
		}
		facts[fmt.Sprintf("operator %q", n.Name)] = fmt.Sprintf("#%d %s after %q topic %q serdes %s,%s: %s",
			i, n.Verb, parents, n.Topic, n.KeySerde, n.ValSerde, n.Detail)
	}
	for _, s := range topo.Stores {
		facts[fmt.Sprintf("store %q", s.Name)] = fmt.Sprintf("kind %d changelog %v serdes %s size %dms advance %dms grace %dms retention %dms",
			s.Kind, s.Changelog, s.SerdeName, s.SizeMS, s.AdvanceMS, s.GraceMS, s.RetentionMS)
	}
	read := map[string]bool{}
	for _, s := range p.Subs {
		for _, in := range s.Inputs {
			read[in.Topic] = true
		}
	}
	for _, t := range p.Topics {
		if read[t.Name] || t.Kind == Changelog {
			facts[fmt.Sprintf("partitions of topic %q", t.Name)] = fmt.Sprint(t.Partitions)
		}
	}
	return facts
}
