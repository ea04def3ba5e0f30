package segment

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/millstream-io/millstream/log/record"
)

// Sentinels; the typed errors below wrap one of them or say more.
var (
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")
	// ErrOffline: a sync failed or the files are corrupt; reopen the partition.
	ErrOffline = errors.New("the partition is offline")
	// ErrTooLarge: a batch is above the configured maximum.
	ErrTooLarge = errors.New("the batch is too large")
	// ErrInvalidBatch: the batch breaks a rule for appended batches.
	ErrInvalidBatch = errors.New("invalid batch")
	// ErrOutOfOrderSequence: a producer's sequence does not follow its last one.
	ErrOutOfOrderSequence = errors.New("out of order sequence")
	// ErrProducerEpoch: the producer's epoch is older than the one in the log.
	ErrProducerEpoch = errors.New("invalid producer epoch")
	// ErrCoordinatorFenced: a marker of an older coordinator epoch.
	ErrCoordinatorFenced = errors.New("transaction coordinator fenced")
	// ErrTxnState: a non-transactional batch inside the producer's open transaction.
	ErrTxnState = errors.New("invalid transaction state")
	// ErrTopicID: partition.metadata names another topic.
	ErrTopicID = errors.New("foreign topic id")
	// ErrStorage: the disk refused a write (full, read-only, I/O error). Nothing was appended.
	ErrStorage = errors.New("storage error")
	// ErrFormat: a checkpoint, snapshot or index file does not follow its format.
	ErrFormat = errors.New("malformed file")
)

// NoSpace says that an error is want of space: a full disk or a used-up quota.
// It passes when there is room again, without anything being wrong with the files.
func NoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// OffsetOutOfRangeError says that a read or a delete names an offset that the log does not hold.
type OffsetOutOfRangeError struct {
	Partition  record.TopicPartition
	Offset     record.Offset
	Start, End record.Offset // what the log holds: [Start, End)
}

func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("%s-%d: offset %d is out of range: the log holds %d to %d",
		e.Partition.Topic, e.Partition.Partition, e.Offset, e.Start, e.End)
}

// CorruptionError says that bytes which were durable are wrong. Nothing is cut.
type CorruptionError struct {
	Path   string        // the file
	Offset record.Offset // of the log, where the damage begins; NoOffset if unknown
	Pos    int64         // byte in the file
	Err    error
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d (offset %d): %v; look with: millstream verify, and restore the file from a copy",
		e.Path, e.Pos, e.Offset, e.Err)
}

func (e *CorruptionError) Unwrap() error { return e.Err }

// OfflineError says why a partition takes no more appends and syncs. It wraps ErrOffline and the cause.
type OfflineError struct {
	Partition record.TopicPartition
	Cause     error
}

func (e *OfflineError) Error() string {
	return fmt.Sprintf("%s-%d is offline until it is reopened: %v", e.Partition.Topic, e.Partition.Partition, e.Cause)
}

func (e *OfflineError) Unwrap() []error { return []error{ErrOffline, e.Cause} }

// ProducerError says which rule a producer's batch broke. It wraps ErrOutOfOrderSequence,
// ErrProducerEpoch, ErrCoordinatorFenced or ErrTxnState.
type ProducerError struct {
	Partition  record.TopicPartition
	ProducerID record.ProducerID
	Expected   string
	Found      string
	Err        error
}

func (e *ProducerError) Error() string {
	return fmt.Sprintf("%s-%d: producer %d: %v: expected %s, found %s",
		e.Partition.Topic, e.Partition.Partition, e.ProducerID, e.Err, e.Expected, e.Found)
}

func (e *ProducerError) Unwrap() error { return e.Err }

// FormatError says what is wrong with which byte of a file other than a .log. It wraps ErrFormat.
type FormatError struct {
	Path     string
	Pos      int64
	Expected string
	Found    string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: malformed at byte %d: expected %s, found %s", e.Path, e.Pos, e.Expected, e.Found)
}

func (e *FormatError) Unwrap() error { return ErrFormat }
