package broker

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
)

// Errors of the broker. Those of a partition's content (offset out of range,
// corruption, bad batches) are log/segment's and come through wrapped.
var (
	// ErrClosed: the broker is closed, or the partition's topic was deleted.
	ErrClosed = errors.New("broker: closed")
	// ErrUnknownTopic: no such topic or partition.
	ErrUnknownTopic = errors.New("broker: unknown topic or partition")
	// ErrTopicExists: the topic is there already.
	ErrTopicExists = errors.New("broker: topic exists")
	// ErrUnknownTopicID: no topic has this id.
	ErrUnknownTopicID = errors.New("broker: unknown topic id")
	// ErrInvalidTopic: a bad name, or a change that this topic does not allow.
	ErrInvalidTopic = errors.New("broker: invalid topic")
	// ErrInvalidPartitions: a bad number of partitions.
	ErrInvalidPartitions = errors.New("broker: invalid number of partitions")
	// ErrInvalidConfig: a configuration that is unknown or has a bad value.
	ErrInvalidConfig = errors.New("broker: invalid configuration")
	// ErrPolicy: the topic's configuration does not allow it.
	ErrPolicy = errors.New("broker: not allowed by the topic's configuration")
	// ErrInvalidRequest: what is asked for makes no sense here.
	ErrInvalidRequest = errors.New("broker: invalid request")
	// ErrOffline: the partition is offline (corrupt, or a sync failed) until it is reopened.
	ErrOffline = errors.New("broker: partition is offline")
	// ErrStorage: the disk refused (full, or an I/O error); nothing was acknowledged.
	ErrStorage = errors.New("broker: storage error")
	// ErrUnknownOutcome: a commit decision was written, but whether it is on disk
	// is not known; after a restart it is either committed or aborted as a whole.
	ErrUnknownOutcome = errors.New("broker: outcome of the commit is unknown")
	// ErrNotInTransaction: a transactional batch for a partition that was not
	// added to the producer's ongoing transaction (KIP-890).
	ErrNotInTransaction = errors.New("broker: partition is not part of an ongoing transaction of this producer")
)

// Errors of the transaction coordinator.
var (
	ErrProducerFenced        = txn.ErrProducerFenced
	ErrInvalidProducerEpoch  = txn.ErrInvalidProducerEpoch
	ErrInvalidTxnState       = txn.ErrInvalidTxnState
	ErrConcurrentTransaction = txn.ErrConcurrentTransactions
	ErrUnknownProducerID     = txn.ErrUnknownProducerID
	ErrInvalidTimeout        = txn.ErrInvalidTimeout
)

// Errors of the group coordinator.
var (
	ErrUnknownMember     = group.ErrUnknownMember
	ErrIllegalGeneration = group.ErrIllegalGeneration
	ErrRebalance         = group.ErrRebalanceInProgress
	ErrFencedInstance    = group.ErrFencedInstance
	ErrMemberIDRequired  = group.ErrMemberIDRequired
	ErrUnknownGroup      = group.ErrUnknownGroup
	ErrGroupNotEmpty     = group.ErrNonEmpty
)

// VersionError: the directory was written by a newer Millstream.
type VersionError struct {
	Path  string
	Found int
	Known int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: format version %d, but this program knows up to %d: use a newer millstream, or another directory", e.Path, e.Found, e.Known)
}

// UnknownConfigError: a topic configuration that does not exist.
type UnknownConfigError struct {
	Topic, Name, Nearest string
}

func (e *UnknownConfigError) Error() string {
	s := fmt.Sprintf("unknown topic configuration %q", e.Name)
	if e.Topic != "" {
		s = fmt.Sprintf("topic %s: unknown configuration %q", e.Topic, e.Name)
	}
	if e.Nearest != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Nearest)
	}
	return s
}

func (e *UnknownConfigError) Unwrap() []error { return []error{ErrInvalidConfig, ErrInvalidTopic} }

// ConfigValueError: a topic configuration with a value that is not allowed.
type ConfigValueError struct {
	Topic, Name, Value string
	Err                error
}

func (e *ConfigValueError) Error() string {
	return fmt.Sprintf("%v: topic %s: %s=%q: %v", ErrInvalidTopic, e.Topic, e.Name, e.Value, e.Err)
}

func (e *ConfigValueError) Unwrap() []error { return []error{ErrInvalidConfig, ErrInvalidTopic, e.Err} }

// PartitionError wraps an error with the partition that it is about.
type PartitionError struct {
	record.TopicPartition
	Err error
}

func (e *PartitionError) Error() string {
	return fmt.Sprintf("%s-%d: %v", e.Topic, e.Partition, e.Err)
}

func (e *PartitionError) Unwrap() error { return e.Err }
