package embedded

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// classified says what the broker was asked for and puts its error into the
// seam's terms; see logclient.Classify for what follows from each.
func classified(what string, err error) error {
	if err == nil {
		return nil
	}
	var out *segment.OffsetOutOfRangeError
	switch {
	case errors.As(err, &out):
		return fmt.Errorf("%s: %w", what, &logclient.OffsetOutOfRangeError{
			TopicPartition: out.Partition, Offset: out.Offset, Start: out.Start, End: out.End,
		})
	case errors.Is(err, broker.ErrUnknownOutcome):
		// The decision is written, its sync failed.
		return as(logclient.ErrUnknownOutcome, what, err)
	case errors.Is(err, broker.ErrProducerFenced), errors.Is(err, broker.ErrInvalidProducerEpoch),
		errors.Is(err, broker.ErrUnknownProducerID), errors.Is(err, segment.ErrProducerEpoch):
		// A successor has opened the transactional id, or the transaction was
		// aborted for its timeout: what was written in it is void.
		return as(logclient.ErrFenced, what, err)
	case errors.Is(err, broker.ErrUnknownMember), errors.Is(err, broker.ErrIllegalGeneration), errors.Is(err, broker.ErrRebalance):
		// A Kafka client has become a member of the application's group.
		return as(logclient.ErrRebalanced, what, err)
	case errors.Is(err, broker.ErrConcurrentTransaction):
		// The transaction before is still being completed.
		return as(logclient.ErrUnavailable, what, err)
	case errors.Is(err, broker.ErrStorage), errors.Is(err, segment.ErrStorage):
		// The disk refuses, most often because it is full; nothing was acknowledged.
		return as(logclient.ErrUnavailable, what, err)
	case errors.Is(err, broker.ErrUnknownTopic):
		return as(logclient.ErrUnknownTopic, what, err)
	case errors.Is(err, broker.ErrClosed), errors.Is(err, segment.ErrClosed):
		return as(logclient.ErrClosed, what, err)
	}
	// Corruption, partitions that are offline until they are reopened, invalid
	// states of a transaction: fatal as they are.
	return fmt.Errorf("embedded log: %s: %w", what, err)
}

func as(class error, what string, err error) error {
	return fmt.Errorf("embedded log: %s: %w: %w", what, class, err)
}
