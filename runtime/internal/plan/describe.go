package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/streams/state"
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
			fmt.Fprintf(&b, "  store   %s (%s)", st.Spec.Called(), kind)
			if st.Spec.Alias != "" {
				fmt.Fprintf(&b, ", kept as %s, its FormerName", st.Spec.Name)
			}
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
