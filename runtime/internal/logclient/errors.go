package logclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/record"
)

// Errors that decide what a worker does. Classify tells them apart.
var (
	// ErrFenced: another process has taken over; stop without touching anything.
	ErrFenced = errors.New("fenced by a newer instance of the application")
	// ErrRebalanced: the generation is over; abort, take the new assignment, go on.
	ErrRebalanced = errors.New("the group has rebalanced")
	// ErrUnknownOutcome: a commit may or may not have happened.
	ErrUnknownOutcome = errors.New("the outcome of the commit is unknown")
	// ErrUnavailable: the log cannot do it right now (no space, a partition offline
	// for the moment, a connection lost); nothing happened, the same call may
	// succeed later.
	ErrUnavailable = errors.New("the log is unavailable for the moment")
	// ErrUnknownTopic: there is no such topic or partition.
	ErrUnknownTopic = errors.New("unknown topic or partition")
	// ErrClosed: the log, reader, writer or member was closed.
	ErrClosed = errors.New("closed")
)

// TopicMismatchError says that a topic exists with another number of partitions
// than the application needs.
type TopicMismatchError struct {
	Topic          string
	Have, Expected int32 // partitions
}

func (e *TopicMismatchError) Error() string {
	return fmt.Sprintf("topic %s has %d partitions, expected %d: delete the topic, use another application id, or set the number of partitions to %d",
		e.Topic, e.Have, e.Expected, e.Have)
}

// TopicConfigError says that a topic exists with a setting under which it loses what
// the application needs.
type TopicConfigError struct {
	Topic, Config  string
	Have, Expected string
	Why            string
}

func (e *TopicConfigError) Error() string {
	return fmt.Sprintf("topic %s has %s=%s, expected %s: %s: alter the topic's setting, or delete the topic if nothing in it is needed",
		e.Topic, e.Config, e.Have, e.Expected, e.Why)
}

// OffsetOutOfRangeError says that a reader was assigned an offset that the
// partition does not have (any more): it is below Start or above End.
type OffsetOutOfRangeError struct {
	TopicPartition record.TopicPartition
	Offset         record.Offset
	Start, End     record.Offset
}

func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("offset %d of %s-%d is out of range: the partition holds %d to %d; its records were deleted, or the log was cut or replaced",
		e.Offset, e.TopicPartition.Topic, e.TopicPartition.Partition, e.Start, e.End)
}

// RecordTooLargeError says that one record does not fit into a batch that the
// topic accepts.
type RecordTooLargeError struct {
	TopicPartition record.TopicPartition
	Size, Limit    int    // bytes
	Key            []byte // of the record
}

func (e *RecordTooLargeError) Error() string {
	return fmt.Sprintf("a record of %d bytes, with the key %s, for %s-%d is larger than the topic's limit of %d bytes: raise max.message.bytes of the topic or make the record smaller",
		e.Size, shown(e.Key), e.TopicPartition.Topic, e.TopicPartition.Partition, e.Limit)
}

// shown is the beginning of a key as it can be printed.
func shown(key []byte) string {
	const most = 60
	if len(key) > most {
		return fmt.Sprintf("%q... (%d bytes)", key[:most], len(key))
	}
	return fmt.Sprintf("%q", key)
}

// Class says what a worker does about an error.
type Class uint8

const (
	// ClassNone: there is no error.
	ClassNone Class = iota
	// ClassRetryable: nothing happened; abort what is open and try again later.
	ClassRetryable
	// ClassRebalanced: abort, take the new assignment, go on.
	ClassRebalanced
	// ClassFenced: another instance has taken over; stop without touching anything.
	ClassFenced
	// ClassUnknownOutcome: drop the state, open the writer anew (which ends the
	// transaction one way or the other), read the committed positions.
	ClassUnknownOutcome
	// ClassFatal: trying again cannot help; stop and tell the operator.
	ClassFatal
)

func (c Class) String() string {
	switch c {
	case ClassNone:
		return "none"
	case ClassRetryable:
		return "retryable"
	case ClassRebalanced:
		return "rebalanced"
	case ClassFenced:
		return "fenced"
	case ClassUnknownOutcome:
		return "unknown outcome"
	default:
		return "fatal"
	}
}

// Classify says what a worker does about an error of this package's interfaces.
// An error that wraps several classes gets the first below that it matches.
func Classify(err error) Class {
	switch {
	case err == nil:
		return ClassNone
	case errors.Is(err, ErrFenced):
		// First: whoever is fenced must not touch anything, whatever else is true.
		return ClassFenced
	case errors.Is(err, ErrUnknownOutcome):
		// Before the context's errors: a commit that its caller gave up on may
		// have happened all the same.
		return ClassUnknownOutcome
	case errors.Is(err, ErrRebalanced):
		return ClassRebalanced
	case errors.Is(err, ErrUnavailable):
		// The implementation says that nothing happened and that it may pass.
		return ClassRetryable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// The caller itself gave up, and nothing is known to be wrong; whether to
		// try again is what its own context says.
		return ClassRetryable
	}
	// Everything else: ErrClosed and ErrUnknownTopic (a mistake of the caller, or
	// a topic deleted under it), TopicMismatchError, OffsetOutOfRangeError (data
	// is gone; only a decision about positions helps), RecordTooLargeError,
	// corruption, and whatever nobody has thought of: going on could lose data.
	return ClassFatal
}
