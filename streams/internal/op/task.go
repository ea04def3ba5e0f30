package op

import (
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/topology"
)

// Task is one sub-topology while it is being built for one task of the runtime.
type Task struct {
	topo   *topology.Topology
	sub    topology.SubTopology
	host   processor.Host
	budget *cache.Budget
	built  map[topology.NodeID]any
	tables map[topology.NodeID]any   // *holder[V], by the operator that owns the store
	states map[topology.NodeID][]any // *State[K, V], by the operator that owns the store
	unit   *Unit
}

// NewTask begins to build a sub-topology.
func NewTask(t *topology.Topology, sub topology.SubTopology, h processor.Host) (*Task, error) {
	for _, id := range slices.Concat(sub.Nodes, sub.Sources, sub.Sinks) {
		if int(id) < 0 || int(id) >= len(t.Nodes) {
			return nil, fmt.Errorf("sub-topology %d: node %d is not in the topology of %d nodes", sub.ID, id, len(t.Nodes))
		}
	}
	for _, n := range sub.Nodes {
		node := t.Nodes[n]
		if node.Kind == topology.Sink && !slices.Contains(sub.Sinks, n) {
			return nil, fmt.Errorf("sub-topology %d: sink %q is missing in its list of sinks", sub.ID, node.Name)
		}
		for _, s := range node.Stores {
			if !slices.Contains(sub.Stores, s) {
				return nil, fmt.Errorf("sub-topology %d: store %q is missing in its list of stores", sub.ID, s)
			}
		}
	}
	return &Task{
		topo: t, sub: sub, host: h,
		budget: cache.NewBudget(h.CacheBytes()),
		built:  map[topology.NodeID]any{},
		tables: map[topology.NodeID]any{},
		states: map[topology.NodeID][]any{},
		unit:   &Unit{topo: t, sources: make([]Source, len(sub.Sources))},
	}, nil
}

// Once returns what make makes for a node, one instance per task.
func (t *Task) Once(id topology.NodeID, make func() any) any {
	if x, ok := t.built[id]; ok {
		return x
	}
	x := make()
	t.built[id] = x
	return x
}

// AddSource sets the source of the index i into SubTopology.Sources.
func (t *Task) AddSource(i int, s Source) { t.unit.sources[i] = s }

// Unit is the built sub-topology.
func (t *Task) Unit() *Unit {
	t.unit.order()
	return t.unit
}

// addState adds a part of an operator that has state, or work to do by time, to
// the unit; an operator may have several.
func (t *Task) addState(id topology.NodeID, s stateOp) {
	t.unit.states = append(t.unit.states, nodeState{id, s})
	if w, ok := s.(windowOp); ok {
		due, advanced := w.times()
		t.unit.windows = append(t.unit.windows, nodeWindow{id, due, advanced, w})
	}
}

func (t *Task) name(id topology.NodeID) string { return t.topo.Nodes[id].Name }

func (t *Task) sink(id topology.NodeID) int { return slices.Index(t.sub.Sinks, id) }

func (t *Task) store(name string) int { return slices.Index(t.sub.Stores, name) }

// dropped counts a record that an operator cannot use.
func (t *Task) dropped(id topology.NodeID) { t.host.Dropped(t.name(id)) }

func (t *Task) encodeError(id topology.NodeID, field string, err error) error {
	return &processor.EncodeError{Node: t.name(id), Field: field, Err: err}
}
