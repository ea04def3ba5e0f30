package streams

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Builder collects the operators of one program.
type Builder struct {
	name     string
	registry serde.Registry
	nodes    []*node
	stores   []state.Spec
	verbs    map[string]int
	errs     []error
	built    bool
}

// node is an operator with what makes its closure for a task.
type node struct {
	topology.Node
	children []*node
	joins    []*node // of a table: the operators that look its values up
	errs     []error
	// make returns the node's op.Next[K, V] (of tables: op.Changed[K, V]), of
	// sources an op.Source. It runs once per task: see instance.
	make func(t *op.Task) any
	// wantOld tells the operator that makes a table's changes that something
	// downstream needs old values. Shared along the table's derivations.
	wantOld *bool
}

// NewBuilder begins a program. name is the application's name: the prefix of its
// internal topics, its consumer group and transactional ids; it must not change
// while its state is to be kept.
func NewBuilder(name string) *Builder {
	return &Builder{name: name, verbs: map[string]int{}}
}

// Register makes s the serde of T for the verbs that follow.
func (b *Builder) Register[T any](s serde.Serde[T]) {
	if s == nil {
		b.errs = append(b.errs, fmt.Errorf("Register: the serde of %v is nil", reflect.TypeFor[T]()))
		return
	}
	b.registry.Register(s)
}

// From reads a topic. Options: Named, Keys, Values, EventTime.
//
// A null key is the zero K. A record whose key or value does not decode has no
// effect; the engine's OnBadRecord says what becomes of it.
func (b *Builder) From[K, V any](topic string, opts ...Option) *Stream[K, V] {
	o := parse("From", optNamed|optKeys|optValues|optEventTime, opts)
	keys, vals := serdeFor[K](b, &o, optKeys), serdeFor[V](b, &o, optValues)
	need(&o, "keys", keys)
	need(&o, "values", vals)
	n := b.source("From", topic, &o, &o, keys, vals)
	return &Stream[K, V]{b: b, n: n, keys: keys, vals: vals}
}

// source appends a node that reads a topic of the user's; named holds the options
// that name it, o the others.
func (b *Builder) source[K, V any](verb, topic string, named, o *options, keys serdeOf[K], vals serdeOf[V]) *node {
	extract, timed := typed[op.Extractor[K, V]](o, optEventTime)
	n := b.add(verb, named, topology.Source)
	if timed && extract == nil {
		n.errs = append(n.errs, errors.New("EventTime's function is nil"))
	}
	n.Topic, n.KeySerde, n.ValSerde = topic, keys.name(), vals.name()
	n.Keys, n.Values = keys.s, vals.s
	n.KeepChunks = vals.s != nil && vals.s.Aliases()
	n.EventTime = timed
	if timed {
		n.Detail = "event time from the record"
	}
	if err := checkTopic(topic); err != nil {
		n.errs = append(n.errs, err)
	}
	n.make = func(t *op.Task) any {
		return op.NewSource(n.ID, keys.s, vals.s, extract, downstream[K, V](n, t))
	}
	return n
}

// add appends a node. Its name is the option's, else fallback names it later.
func (b *Builder) add(verb string, o *options, kind topology.Kind, parents ...*node) *node {
	b.verbs[verb]++
	name := o.string(optNamed)
	if name == "" {
		name = fmt.Sprintf("%s-%d", verb, b.verbs[verb])
	}
	n := &node{Node: topology.Node{ID: topology.NodeID(len(b.nodes)), Name: name, Verb: verb, Kind: kind}}
	if o.given&optNamed != 0 {
		if err := checkName(name); err != nil {
			n.errs = append(n.errs, err)
		}
	}
	n.errs = append(n.errs, o.errs...)
	for _, p := range parents {
		n.Parents = append(n.Parents, p.ID)
	}
	if b.built {
		n.ID = -1
		b.errs = append(b.errs, &OperatorError{name, errors.New("was added after Build")})
		return n
	}
	b.nodes = append(b.nodes, n)
	for _, p := range parents {
		p.children = append(p.children, n)
	}
	return n
}

// instance returns the node's closure for the task: one per node and task, so
// that a merged node, which has several parents, is built once.
func (n *node) instance(t *op.Task) any {
	return t.Once(n.ID, func() any { return n.make(t) })
}

// downstream joins the closures of a node's children.
func downstream[K, V any](n *node, t *op.Task) op.Next[K, V] {
	next := make([]op.Next[K, V], 0, len(n.children))
	for _, c := range n.children {
		next = append(next, c.instance(t).(op.Next[K, V]))
	}
	return op.Fan(next)
}

// changes joins the closures of a table node's children.
func changes[K, V any](n *node, t *op.Task) op.Changed[K, V] {
	next := make([]op.Changed[K, V], 0, len(n.children))
	for _, c := range n.children {
		next = append(next, c.instance(t).(op.Changed[K, V]))
	}
	return op.FanChanges(next)
}

// Build validates the program and returns it. The error joins an *OperatorError
// for every mistake there is. The builder must not be used afterwards.
func (b *Builder) Build() (*topology.Topology, error) {
	b.built = true
	if err := b.check(); err != nil {
		return nil, err
	}
	b.orderTables()
	t := &topology.Topology{Name: b.name, Stores: b.stores}
	for _, n := range b.nodes {
		t.Nodes = append(t.Nodes, n.Node)
	}
	nodes := b.nodes
	t.Build = func(sub topology.SubTopology, h processor.Host) (processor.Unit, error) {
		task, err := op.NewTask(t, sub, h)
		if err != nil {
			return nil, err
		}
		for i, id := range sub.Sources {
			task.AddSource(i, nodes[id].instance(task).(op.Source))
		}
		return task.Unit(), nil
	}
	return t, nil
}
