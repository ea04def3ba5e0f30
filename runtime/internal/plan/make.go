package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

const maxTasks = 1 << 16 // TaskID.Key has 16 bits for the partition

// Make completes a cut. external has the number of partitions of every topic
// that External lists. It reports every problem at once.
func (c *Cut) Make(external map[string]int32) (*Plan, error) {
	m := &maker{Cut: c, app: c.topo.Name, counts: map[string]int32{}}
	for t, n := range external {
		m.counts["x:"+t] = n
	}
	for _, u := range c.External() {
		if external[u.Topic] <= 0 {
			m.errs = append(m.errs, fmt.Errorf("topic %q does not exist", u.Topic))
		}
	}
	p := &Plan{App: m.app}
	for i := range c.subs {
		m.chooseRepartitions(i)
	}
	for i := range c.subs {
		m.checkCopartitioned(i)
		p.Subs = append(p.Subs, m.sub(i))
	}
	if len(m.errs) > 0 {
		return nil, errors.Join(m.errs...)
	}
	m.upstream(p)
	p.Topics = m.topics(p)
	return p, nil
}

type maker struct {
	*Cut
	app    string
	counts map[string]int32 // by countKey
	errs   []error
}

func countKey(n topology.Node) string {
	if n.Repartition {
		return "r:" + n.Topic
	}
	return "x:" + n.Topic
}

// chooseRepartitions settles the partitions of the repartition topics that a
// sub-topology writes: as the operator asks; else as the topics that the reader
// must be co-partitioned with; else as the widest input of the writer.
func (m *maker) chooseRepartitions(sub int) {
	for _, id := range m.subs[sub].Sinks {
		n := m.topo.Nodes[id]
		if !n.Repartition {
			continue
		}
		want := n.Partitions
		if want == 0 {
			want = m.partnerCount(n.Topic)
		}
		if want == 0 {
			want = m.width(sub)
		}
		have, ok := m.counts[countKey(n)]
		if ok && n.Partitions != 0 && have != want {
			m.errs = append(m.errs, fmt.Errorf("operator %q wants %d partitions for %q, which has %d", n.Name, want, n.Topic, have))
		}
		if !ok || want > have {
			m.counts[countKey(n)] = want
		}
	}
}

// partnerCount is the number of partitions of what a repartition topic's reader
// joins it with: of a topic whose number is given, else of another repartition
// topic that is settled already; 0 if nothing settles it.
func (m *maker) partnerCount(short string) (count int32) {
	for _, s := range m.subs {
		for _, group := range m.copartitioned(s) {
			if !slices.ContainsFunc(group.sources, func(id topology.NodeID) bool {
				n := m.topo.Nodes[id]
				return n.Repartition && n.Topic == short
			}) {
				continue
			}
			for _, id := range group.sources {
				n := m.topo.Nodes[id]
				switch {
				case n.Repartition && n.Partitions > 0:
					return n.Partitions
				case !n.Repartition:
					return m.counts[countKey(n)]
				case count == 0 && n.Topic != short:
					count = m.counts[countKey(n)]
				}
			}
		}
	}
	return count
}

func (m *maker) width(sub int) (w int32) {
	for _, id := range m.subs[sub].Sources {
		w = max(w, m.counts[countKey(m.topo.Nodes[id])])
	}
	return w
}

func (m *maker) checkCopartitioned(sub int) {
	s := m.subs[sub]
	seen := map[string]bool{}
	for _, group := range m.copartitioned(s) {
		want := m.counts[countKey(m.topo.Nodes[group.sources[0]])]
		var parts []string
		bad := false
		for _, id := range group.sources {
			n := m.topo.Nodes[id]
			have := m.counts[countKey(n)]
			bad = bad || have != want
			parts = append(parts, fmt.Sprintf("%q has %d partitions", n.Topic, have))
		}
		topics := strings.Join(parts, ", ")
		if !bad || seen[topics] {
			continue
		}
		seen[topics] = true
		m.errs = append(m.errs, fmt.Errorf("operator %q: topics that meet by key must have the same number of partitions: %s; "+
			"make one of them anew with as many as the other, or put Repartition(streams.Partitions(n)) behind one with n as of the other",
			m.topo.Nodes[group.operator].Name, topics))
	}
}

func (m *maker) name(n topology.Node) string {
	if n.Repartition {
		return RepartitionTopic(m.app, n.Topic)
	}
	return n.Topic
}

func (m *maker) sub(i int) Sub {
	s := Sub{SubTopology: m.subs[i], After: m.deps[i], Tasks: m.width(i)}
	if len(s.Sources) == 0 {
		m.errs = append(m.errs, fmt.Errorf("operator %q has no source above it", m.topo.Nodes[s.Nodes[0]].Name))
	}
	if s.Tasks > maxTasks {
		m.errs = append(m.errs, fmt.Errorf("sub-topology %d would have %d tasks, at most %d", i, s.Tasks, maxTasks))
	}
	for _, id := range s.Sources {
		n := m.topo.Nodes[id]
		s.Inputs = append(s.Inputs, Input{Topic: m.name(n), Partitions: m.counts[countKey(n)], Repartition: n.Repartition})
	}
	for _, id := range s.Sinks {
		n := m.topo.Nodes[id]
		s.Outputs = append(s.Outputs, Output{Topic: m.name(n), Partitions: m.counts[countKey(n)], Repartition: n.Repartition})
	}
	for _, name := range m.subs[i].Stores {
		key := slices.IndexFunc(m.topo.Stores, func(s state.Spec) bool { return s.Name == name })
		st := Store{Spec: m.topo.Stores[key], Key: state.StoreKey(key)}
		if st.Spec.Changelog {
			st.Changelog = ChangelogTopic(m.app, name)
		}
		s.Stores = append(s.Stores, st)
	}
	return s
}

// upstream names, per repartition input, the tasks that write it, and tells them
// how it is read.
func (m *maker) upstream(p *Plan) {
	for i := range p.Subs {
		for j := range p.Subs[i].Inputs {
			in := &p.Subs[i].Inputs[j]
			if !in.Repartition {
				continue
			}
			for _, w := range p.Subs {
				if writes(&w, in.Topic, merged(p.Subs[i].Inputs)) {
					for part := range w.Tasks {
						in.Upstream = append(in.Upstream, TaskID{Sub: w.ID, Partition: part})
					}
				}
			}
		}
	}
}

// writes reports whether a sub-topology writes a repartition topic, and notes how
// that is read.
func writes(w *Sub, topic string, merged bool) (found bool) {
	for i := range w.Outputs {
		if o := &w.Outputs[i]; o.Repartition && o.Topic == topic {
			found = true
			o.Merged = merged
		}
	}
	return found
}

// merged reports whether inputs are several topics.
func merged(ins []Input) bool {
	return slices.ContainsFunc(ins, func(in Input) bool { return in.Topic != ins[0].Topic })
}

func (m *maker) topics(p *Plan) []Topic {
	all := map[string]Topic{}
	add := func(t Topic) { all[t.Name] = t }
	for _, u := range m.External() {
		add(Topic{Name: u.Topic, Kind: External, Partitions: m.counts["x:"+u.Topic]})
	}
	for _, s := range p.Subs {
		for _, o := range s.Outputs {
			if o.Repartition {
				add(Topic{Name: o.Topic, Kind: Repartition, Partitions: o.Partitions, Configs: repartitionConfigs()})
			}
		}
		for _, st := range s.Stores {
			if st.Changelog != "" {
				add(Topic{Name: st.Changelog, Kind: Changelog, Partitions: s.Tasks, Configs: changelogConfigs(st.Spec.Kind)})
			}
		}
	}
	add(Topic{Name: PositionsTopic(m.app), Kind: Positions, Partitions: 1, Configs: positionsConfigs()})
	add(Topic{Name: DeadLettersTopic(m.app), Kind: DeadLetters, Partitions: 1})
	var out []Topic
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out
}
