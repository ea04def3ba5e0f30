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
}

// Member is this process as a member of the group.
type Member interface {
	// Next blocks until there is a new assignment. On the embedded log the first
	// has everything and there is no second: it blocks until ctx is done.
	Next(ctx context.Context) (Assignment, error)
	// Done says that everything an assignment took away is committed and released.
	Done(Assignment) error
	// Committed fetches the group's offsets with require_stable: it waits out
	// transactions that are being committed. A partition without one is absent.
	Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]Position, error)
	Leave(ctx context.Context) error
}

// Assignment is what this process shall run.
type Assignment struct {
	Generation Generation
	Partitions []record.TopicPartition
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
}

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
