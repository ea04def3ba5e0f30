package txn

import (
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// State of a transactional id, numbered as in Kafka's records.
type State int8

const (
	Empty          State = 0
	Ongoing        State = 1
	PrepareCommit  State = 2
	PrepareAbort   State = 3
	CompleteCommit State = 4
	CompleteAbort  State = 5
	Dead           State = 6
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead"}

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int8(s))
	}
	return stateNames[s]
}

func (s State) prepared() bool { return s == PrepareCommit || s == PrepareAbort }

// Identity is a producer id with its epoch.
type Identity struct {
	ID    record.ProducerID
	Epoch record.ProducerEpoch
}

// NoIdentity is what a producer has before its first InitProducerID.
var NoIdentity = Identity{record.NoProducerID, record.NoProducerEpoch}

// maxEpoch is the last epoch; it is only used to fence, never handed out.
const maxEpoch record.ProducerEpoch = 32767

// Txn is what is known of one transactional id.
//
// Invariant: an applied Txn is never changed, only replaced, so it may be read
// after the lock that guards the Core is released.
type Txn struct {
	TransactionalID string
	Identity
	// LastEpoch was handed out before Epoch, to a producer that may go on with it
	// (KIP-360, KIP-588); NoProducerEpoch if nobody may. In memory only.
	LastEpoch  record.ProducerEpoch
	TimeoutMS  int32
	State      State
	Partitions []record.TopicPartition // sorted
	// Ends are those of Partitions when the decision was written;
	// nil if unknown. Invariant: nil or as long as Partitions.
	Ends     []End
	StartMS  int64 // of the transaction; NoTimestamp if none
	UpdateMS int64
	// Unlogged: markers are appended, but the log still says Prepare*.
	Unlogged bool
}

// End is where a partition ended when a decision was written.
type End struct {
	Offset record.Offset
	// Topic is the topic's id, zero if unknown: a topic that is deleted and made
	// again has the same name, and the decision is not about it.
	Topic [16]byte
}

// Has says whether the transaction includes a partition.
func (t *Txn) Has(tp record.TopicPartition) bool {
	_, ok := slices.BinarySearchFunc(t.Partitions, tp, Compare)
	return ok
}

// Compare orders partitions by topic, then number.
func Compare(a, b record.TopicPartition) int {
	switch {
	case a.Topic < b.Topic:
		return -1
	case a.Topic > b.Topic:
		return 1
	}
	return int(a.Partition) - int(b.Partition)
}

func (t *Txn) clone() *Txn {
	c := *t
	return &c
}

// union returns the sorted union of t's partitions and tps, and whether it is larger.
func (t *Txn) union(tps []record.TopicPartition) ([]record.TopicPartition, bool) {
	all := slices.Concat(t.Partitions, tps)
	slices.SortFunc(all, Compare)
	all = slices.Compact(all)
	return all, len(all) > len(t.Partitions)
}
