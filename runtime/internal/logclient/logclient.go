// Package logclient is what a worker needs of a log. The embedded log
// (logclient/embedded) implements it by direct calls; a client of the Kafka
// protocol will implement it over a network. One conformance suite, in this
// package's tests, runs on every implementation, so that tasks need not know
// which one they have.
package logclient

import (
	"context"
	"time"

	"github.com/millstream-io/millstream/log/record"
)

// Log is a log that holds topics. Its methods may be called from any goroutine.
type Log interface {
	// Ensure creates the topics that are missing and describes all of them in
	// the order asked for. A topic that exists with another number of partitions
	// (where the spec names one) is a *TopicMismatchError.
	Ensure(ctx context.Context, specs []TopicSpec) ([]TopicInfo, error)
	// Describe tells of topics that exist; a missing one has Partitions 0.
	Describe(ctx context.Context, topics []string) ([]TopicInfo, error)
	// Offsets looks up one offset per partition, in the order asked for.
	Offsets(ctx context.Context, tps []record.TopicPartition, at At) ([]OffsetEpoch, error)
	// Join makes this process a member of the application's group. One per process.
	Join(ctx context.Context, cfg MemberConfig) (Member, error)
	// Committed is Member.Committed for whoever is no member of the group.
	Committed(ctx context.Context, group string, tps []record.TopicPartition) (map[record.TopicPartition]Position, error)
	// Reader makes a reader for one goroutine.
	Reader(cfg ReaderConfig) (Reader, error)
	// Writer opens the transactional producer id and fences its predecessor,
	// whose open transaction is aborted.
	Writer(ctx context.Context, id TxnID, cfg WriterConfig) (Writer, error)
	// DeleteBefore raises the start of partitions (DeleteRecords).
	DeleteBefore(ctx context.Context, before map[record.TopicPartition]record.Offset) error
	// ClusterID identifies the log: a checkpoint of another log is worthless.
	ClusterID() string
	// CleanStart is false if the log was opened after an unclean end under a new
	// boot id: unsynced data of before may be gone (invariant I4).
	CleanStart() bool
	// Hold keeps the cleaner from removing tombstones of a changelog partition at
	// or above offset, until the next call for that partition. No-op where the
	// log cannot.
	Hold(tp record.TopicPartition, offset record.Offset)
	Close() error
}

// TopicSpec asks for a topic. Configs carry Kafka's names and values.
type TopicSpec struct {
	Name       string
	Partitions int32 // 0: whatever it has; the log's default if it is missing
	Configs    map[string]string
	// Follow: a topic that is there gets the Configs too, where it has others.
	Follow bool
}

// TopicInfo describes a topic.
type TopicInfo struct {
	Name       string
	ID         [16]byte
	Partitions int32
	CreatedMS  int64 // creation time, milliseconds since the Unix epoch; 0 if unknown
}

// At says which offset is looked up.
type At struct {
	Kind      AtKind
	Timestamp int64              // of AtTime, milliseconds
	Epoch     record.LeaderEpoch // of AtEndOfEpoch
}

// AtKind is the kind of an offset look-up.
type AtKind uint8

const (
	AtStart  AtKind = iota // the log start offset
	AtEnd                  // the read_uncommitted end (high watermark)
	AtStable               // the last stable offset
	AtTime                 // the first record whose timestamp is at or after Timestamp (or a later marker); the end if none
	// AtEndOfEpoch is where the leader epoch Epoch ends (OffsetForLeaderEpoch, KIP-101):
	// the greatest epoch known that is at most Epoch, and the offset after its last
	// record. For an epoch above the current one, NoOffset and NoLeaderEpoch.
	AtEndOfEpoch
)

// OffsetEpoch is an offset and the leader epoch of the record before it;
// NoLeaderEpoch if that is not known (an empty partition, the log's start).
type OffsetEpoch struct {
	Offset record.Offset
	Epoch  record.LeaderEpoch
}

// Position is a committed offset with its metadata.
type Position struct {
	Offset   record.Offset
	Epoch    record.LeaderEpoch
	Metadata string
}

// Positions are the input offsets of a transaction: the next offset to read.
type Positions map[record.TopicPartition]Position

// TxnID is a transactional id.
type TxnID string

// Generation fences the offsets of a member that is no longer one.
type Generation struct {
	Group  string
	ID     int32
	Member string
}

// MemberConfig joins a group.
type MemberConfig struct {
	Group  string
	Topics []string // the input topics, external and internal
	// Units are what is dealt out, each as a whole; the same in every instance of a
	// program. nil: single partitions, by number (the groups of sinks).
	Units []Unit
	// Standbys is how many other instances shall keep a copy of a unit's state.
	Standbys int
	// Capacity is how much this instance takes, beside the others: its workers. 0: 1.
	Capacity int
	// Endpoint is HOST:PORT where this instance answers queries; empty: nowhere.
	Endpoint string
	// Report says how far the state on this instance is behind, in changelog records
	// by unit (0: its tasks run here, or nothing is missing); a unit that is not
	// reported has no state here. It is called at each join, may look things up, and
	// gives up when ctx ends. nil: no state anywhere.
	Report func(ctx context.Context) map[string]int64
	// Stay: Leave, and the log's Close, do not tell the group. What a member with an
	// instance id runs waits for it to come back, until the session ends; that of one
	// without is dealt out to others at once all the same.
	Stay bool
}

// Unit is a set of input partitions that one instance must have together: those
// of one task, or of several that share inputs.
type Unit struct {
	ID         string
	Partitions []record.TopicPartition
	Stateful   bool // it has stores with changelogs: moving it is not free
}

// Member is this process as a member of the group.
type Member interface {
	// Next blocks until there is a new assignment. On the embedded log the first
	// has everything and there is no second: it blocks until ctx is done.
	Next(ctx context.Context) (Assignment, error)
	// Done says that everything an assignment took away is committed and released;
	// of one that is Lost, that no task of before it will commit any more. Nobody
	// else gets a partition that was taken away before its Done.
	Done(Assignment) error
	// Generation is the one to commit with now. It may be newer than that of the
	// last assignment, whose partitions are still ours then. Once the session is
	// lost it stays the old one, with which no commit succeeds, until Done of the
	// assignment that told of it (Lost): a task that does not know yet that its
	// partitions were somebody else's must not commit as the new member.
	Generation() Generation
	// Confirm asks the group whether what this member has is its own. nil: it was
	// nobody else's from the time that it was dealt out until this call. ErrRebalanced
	// and ErrFenced: it may have been, and Next tells it, or will. Others: the group
	// did not answer.
	Confirm(ctx context.Context) error
	// Rebalance asks the group to deal out anew, because Report has good news.
	Rebalance()
	// Committed fetches the group's offsets with require_stable: it waits out
	// transactions that are being committed. A partition without one is absent.
	Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]Position, error)
	Leave(ctx context.Context) error
}

// Assignment is what this process shall run, and who else runs what.
type Assignment struct {
	Generation Generation
	Partitions []record.TopicPartition
	// Lost says that partitions may have been somebody else's since the assignment
	// before (the session ended): tasks go on from what is committed, all of them.
	// The first that tells of it may have no partitions, when the group has not dealt
	// anew yet.
	Lost bool
	// Standbys are the units whose state this instance keeps a copy of: as a standby
	// replica, or because it shall take the unit over once it has caught up.
	Standbys []string
	// Instances are all members of this generation, by name. Empty where there can
	// be only one.
	Instances []Instance
}

// Instance is a member of the group, as the others see it.
type Instance struct {
	Name     string   // its instance id
	Endpoint string   // of MemberConfig
	Units    []string // that it runs, or will run once their owner has let go
	Standbys []string
}

// ReaderConfig makes a reader.
type ReaderConfig struct {
	ReadUncommitted bool // default: read_committed
	// KeepChunks says that decoded values alias the chunks: they must not be
	// recycled, the garbage collector owns them.
	KeepChunks bool
}

// Reader reads assigned partitions. One goroutine at a time.
type Reader interface {
	// Assign replaces the assignment; reading goes on at the given offsets. It
	// drops what was read ahead.
	Assign(map[record.TopicPartition]record.Offset)
	Pause(...record.TopicPartition)
	Resume(...record.TopicPartition)
	// Poll returns some batches, at most about maxBytes of them but at least one
	// if there is any (the slice is valid until the next Poll, a batch until its
	// Release), in offset order per partition. With none it blocks until
	// there is one or ctx is done; then it returns ctx.Err(). Aborted and control
	// batches come as batches without records, so that positions pass them.
	// An offset out of range is an *OffsetOutOfRangeError.
	Poll(ctx context.Context, maxBytes int) ([]Batch, error)
	// End is the end of what can be read of a partition (last stable offset, or
	// high watermark when read uncommitted) as known now.
	End(tp record.TopicPartition) record.Offset
	Close() error
}

// Batch is a run of records of one partition, decoded as they are asked for.
type Batch interface {
	TopicPartition() record.TopicPartition
	// Next fills v with the next record; false at the end or on an error. What v
	// points to is borrowed until the next call, or until Release.
	Next(v *record.View) bool
	// Err is the error that ended Next early.
	Err() error
	// NextOffset is the offset to read after this batch.
	NextOffset() record.Offset
	Epoch() record.LeaderEpoch
	// Release gives the memory back. The batch must not be used after it.
	Release()
}

// WriterConfig makes a writer.
type WriterConfig struct {
	TransactionTimeout time.Duration // 0: the implementation's
	Compression        record.Codec
	// AtLeastOnce asks for no transactions: Commit writes in an order in which a crash
	// anywhere repeats work and loses none, and what is written is visible at once.
	// Abort drops only what was not sent. The transactional id is still opened, so
	// that what a transactional predecessor left ends. A log may give more than is
	// asked: the embedded one runs the same transactions.
	AtLeastOnce bool
	// Stage of a topic, of a writer AtLeastOnce: what goes to a stage is sent when all
	// before it is acknowledged. nil: everything is StageOutput.
	Stage func(topic string) Stage
	// Generation, of a writer AtLeastOnce, is asked before state is written, which a
	// process that is no member any more must not do. nil: not checked.
	Generation func() Generation
}

// Stage orders what a writer without transactions commits.
type Stage uint8

const (
	// StageOutput: results. They are sent as they come.
	StageOutput Stage = iota
	// StageState: changelogs, after the results that they are ahead of.
	StageState
	// StagePosition: position records, at Commit only, after the input positions: what
	// they say is processed has been written.
	StagePosition
)

// Writer is a transactional producer. One goroutine at a time. A transaction
// begins with the first Append after Commit or Abort.
type Writer interface {
	// Append adds a record; it copies before it returns. v.Offset is ignored.
	Append(tp record.TopicPartition, v *record.View) error
	// Buffered is the number of bytes not handed to the log yet.
	Buffered() int
	// Commit ends the transaction with the input positions in it; it returns,
	// per partition written, the offset after the transaction's last record and
	// its epoch. After ErrUnknownOutcome the transaction may be committed or not:
	// the caller drops its state, opens the writer anew (which ends the
	// transaction one way or the other) and reads its positions anew; this writer
	// is of no more use. After any other error nothing is committed and Abort ends
	// the transaction. g is checked if there are positions.
	Commit(ctx context.Context, in Positions, g Generation) (map[record.TopicPartition]OffsetEpoch, error)
	// Abort ends the transaction without effect.
	Abort(ctx context.Context) error
	Close() error
}
