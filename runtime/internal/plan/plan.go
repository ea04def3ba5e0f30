// Package plan turns a logical topology into what runs: sub-topologies cut at
// repartition topics, one task per sub-topology and partition, the internal
// topics with their configs.
//
// It is pure: no log, no clock, no goroutine. The engine asks Cut which topics
// a topology reads and writes, finds out how many partitions those have, and
// calls Make. A Plan is immutable and may be read from any goroutine.
//
// Sub-topologies are the connected components of the graph once every edge into
// a repartition topic is cut; operators that share a store belong together.
// They are numbered in an order in which every one comes after those that write
// what it reads, so a bounded run can drain them by number.
package plan

import (
	"fmt"

	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Plan is a topology ready to run.
type Plan struct {
	App    string
	Subs   []Sub // by ID, upstream before downstream
	Topics []Topic
}

// Sub is one sub-topology.
type Sub struct {
	topology.SubTopology
	Tasks   int32    // one per partition of its widest input
	Inputs  []Input  // by index into Sources
	Outputs []Output // by index into Sinks
	Stores  []Store  // by index into SubTopology.Stores
	After   []int    // the sub-topologies that write what it reads
}

// Input is a topic that a sub-topology reads.
type Input struct {
	Topic       string // the full name
	Partitions  int32
	Repartition bool
	// Upstream are the tasks that write a repartition topic: each is an input of
	// its own where stream time is concerned.
	Upstream []TaskID
}

// Output is a topic that a sub-topology writes.
type Output struct {
	Topic       string // the full name
	Partitions  int32
	Repartition bool
	// Merged: what reads this repartition topic has other inputs too, so that its
	// order must be made of what each task sent, not of when it came.
	Merged bool
}

// Store is a store of a sub-topology, one instance per task.
type Store struct {
	Spec state.Spec
	// Changelog is its changelog topic; empty if it has none.
	Changelog string
	// Key is its place in the topology's list of stores: the prefix in the local database.
	Key state.StoreKey
}

// TaskID names a task.
type TaskID struct {
	Sub       int
	Partition int32
}

// String is the id as topics and logs show it: "<sub-topology>_<partition>".
func (t TaskID) String() string { return fmt.Sprintf("%d_%d", t.Sub, t.Partition) }

// Key is the task's prefix in the local database.
func (t TaskID) Key() state.TaskKey { return state.TaskKey(uint32(t.Sub)<<16 | uint32(t.Partition)) }

// TopicKind says what a topic is to the program.
type TopicKind uint8

const (
	External    TopicKind = iota // the user's
	Repartition                  // the program's, purged behind its reader
	Changelog                    // the program's, compacted: the truth of a store
	Positions                    // the program's, compacted: position records and the fingerprint
	DeadLetters                  // the program's, for people
)

// Topic is a topic that must exist before the program starts.
type Topic struct {
	Name       string
	Kind       TopicKind
	Partitions int32
	Configs    map[string]string
}

// TaskIDs are the plan's tasks by sub-topology and partition.
func (p *Plan) TaskIDs() []TaskID {
	var ids []TaskID
	for _, s := range p.Subs {
		for i := range s.Tasks {
			ids = append(ids, TaskID{Sub: s.ID, Partition: i})
		}
	}
	return ids
}

// FindStore finds the sub-topology and the index of a store by what the program
// calls it.
func (p *Plan) FindStore(name string) (sub *Sub, index int, ok bool) {
	for i := range p.Subs {
		for j, s := range p.Subs[i].Stores {
			if s.Spec.Called() == name {
				return &p.Subs[i], j, true
			}
		}
	}
	return nil, 0, false
}
