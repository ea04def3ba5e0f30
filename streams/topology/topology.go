// Package topology is the logical graph of a stream program: what streams
// builds and the runtime reads. It is untyped; the typed closures hang on it
// behind Instantiate.
//
// A Topology is immutable once built and may be read from any goroutine.
package topology

import (
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
)

// Kind says what a node is to the planner.
type Kind uint8

const (
	// Source reads a topic, the user's or a repartition topic.
	Source Kind = iota
	// Operator transforms records in the task.
	Operator
	// Sink writes to a topic, the user's or a repartition topic.
	Sink
)

// NodeID numbers a topology's nodes from 0 in the order of their definition.
type NodeID int

// Node is one operator of the graph.
//
// A repartition is two nodes that are joined by nothing but their Topic: a Sink
// and, right after it, a Source without Parents.
type Node struct {
	ID      NodeID
	Name    string // unique; given by the user or made from verb and number
	Kind    Kind
	Verb    string // "Filter", "Count": the DSL's word
	Parents []NodeID
	Stores  []string // the stores it owns, by the names they are kept under (state.Spec.Name)

	// Of sources and sinks.
	Topic string
	// CustomPartitioner of a sink: not the hash of the encoded key.
	CustomPartitioner bool
	// Repartition marks a topic that is the program's own: its full name is the
	// application's name, a dash and Topic; it is created, purged and deleted
	// with the program. Partitions is its number of partitions, 0: as many as
	// the widest input of the sub-topology that writes it.
	Repartition bool
	Partitions  int32

	// KeepChunks of a source: decoded values alias the record's bytes and may be
	// kept, so those bytes must never be written again (serde.Serde.Aliases).
	KeepChunks bool

	// EventTime of a source: the event time is in the record. The task asks
	// processor.Unit.EventTime for it before anything else.
	EventTime bool

	// Table of a source: at equal event times its records go before those of the
	// task's other inputs.
	Table bool

	// Join of an operator: its parents' records meet by key, so their topics must
	// be co-partitioned, though it has no store of its own.
	Join bool

	// EveryMS of an operator: it has work to do by stream time, every so many
	// milliseconds, though it may have no store.
	EveryMS int64

	KeySerde, ValSerde string // names, for Describe and the fingerprint
	// Keys and Values are the serdes themselves, as in state.Spec: a
	// serde.Serde[K] and a serde.Serde[V], of sources and sinks (nil where there
	// is none). The runtime hands them back to typed code only: streamstest.
	Keys, Values any
	Detail       string // "tumbling 1m0s grace 10s, emit on close": for Describe and the fingerprint
}

// Topology is a validated stream program.
type Topology struct {
	// Name is the application's name: the prefix of its internal topics, its
	// consumer group, its transactional ids.
	Name   string
	Nodes  []Node
	Stores []state.Spec

	// Build instantiates the nodes of one sub-topology for one task. Set by the
	// builder; called through Instantiate.
	Build func(sub SubTopology, h processor.Host) (processor.Unit, error)
}

// SubTopology is a part of the graph that runs as one task per partition. The
// indexes of sources, sinks and stores are those of processor.Unit and Host.
type SubTopology struct {
	ID      int
	Nodes   []NodeID
	Sources []NodeID
	Sinks   []NodeID
	Stores  []string
}

// Instantiate builds a sub-topology for one task.
func (t *Topology) Instantiate(sub SubTopology, h processor.Host) (processor.Unit, error) {
	return t.Build(sub, h)
}

// Store finds a store's spec by what the program calls it.
func (t *Topology) Store(name string) (state.Spec, bool) {
	for _, s := range t.Stores {
		if s.Called() == name {
			return s, true
		}
	}
	return state.Spec{}, false
}
