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

// StateNames are the names of all states, by number.
func StateNames() []string { return stateNames[:] }

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int8(s))
	}
	return stateNames[s]
}

func (s State) prepared() bool { return s == PrepareCommit || s == PrepareAbort }

// is says whether a decision was a commit, or an abort; false if none was made.
func (s State) is(commit bool) bool {
	if commit {
		return s == PrepareCommit || s == CompleteCommit
	}
	return s == PrepareAbort || s == CompleteAbort
}

// bumping is the transaction version (Kafka's feature transaction.version) whose
// decisions raise the epoch, KIP-890's; what stands in records of the first
// protocol is 0.
const bumping = 2

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
	// Identity owns the id. While a decision's markers are written it is that of
	// the markers: by KIP-890's protocol one epoch above the owner's.
	Identity
	// LastEpoch was handed out before Epoch, to a producer that may go on with it
	// (KIP-360, KIP-588); NoProducerEpoch if nobody may. In memory only.
	LastEpoch record.ProducerEpoch
	// Previous had the id before the last change of state: ID, but where that
	// change gave a new one.
	Previous record.ProducerID
	// Next owns the id, at epoch 0, once the markers of the decision are written,
	// for the epochs of ID are used up; NoProducerID if ID goes on.
	Next record.ProducerID
	// Version is 2 if the open transaction or the last decision is of KIP-890's
	// protocol, 0 if of the first.
	Version    int16
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

// Precedes says of a decided transaction that one whose records have the epoch is
// a later one of the same producer. Offsets alone do not tell: what a power cut
// takes under flush=os is written anew at the same offsets, while the decision
// stands in the log without its completion.
func (t *Txn) Precedes(epoch record.ProducerEpoch) bool {
	return epoch > t.Epoch || t.Implicit() && epoch == t.Epoch
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

func newTxn(id string) *Txn {
	return &Txn{
		TransactionalID: id, Identity: NoIdentity, LastEpoch: record.NoProducerEpoch,
		Previous: record.NoProducerID, Next: record.NoProducerID, StartMS: record.NoTimestamp,
	}
}

// clone is what an event makes a new state from.
func (t *Txn) clone() *Txn {
	c := *t
	c.Previous = t.ID
	return &c
}

// begin sets the state of an id whose last transaction is over.
func (t *Txn) begin(s State, tps []record.TopicPartition) {
	t.State, t.Partitions, t.Ends, t.Unlogged = s, tps, nil, false
}

// Implicit says whether the open transaction is of KIP-890's protocol.
func (t *Txn) Implicit() bool { return t.Version >= bumping }

// union returns the sorted union of t's partitions and tps, and whether it is larger.
func (t *Txn) union(tps []record.TopicPartition) ([]record.TopicPartition, bool) {
	all := slices.Concat(t.Partitions, tps)
	slices.SortFunc(all, Compare)
	all = slices.Compact(all)
	return all, len(all) > len(t.Partitions)
}
