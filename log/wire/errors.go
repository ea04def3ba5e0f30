package wire

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/internal/scram"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// codeOf is one row of what our errors are in Kafka's words.
type codeOf struct {
	err  error
	code int16
}

// codes is searched in order: the more specific error stands first.
var codes = []codeOf{
	{broker.ErrUnknownTopic, codeUnknownTopicOrPartition},
	{broker.ErrTopicExists, codeTopicAlreadyExists},
	{broker.ErrUnknownTopicID, codeUnknownTopicID},
	{broker.ErrInvalidConfig, codeInvalidConfig},
	{broker.ErrInvalidRequest, codeInvalidRequest},
	{broker.ErrInvalidPartitions, codeInvalidPartitions},
	{broker.ErrPolicy, codePolicyViolation},
	{broker.ErrInvalidTopic, codeInvalidTopicException},
	{broker.ErrNotInTransaction, codeInvalidTxnState},
	{broker.ErrProducerFenced, codeProducerFenced},
	{broker.ErrInvalidProducerEpoch, codeInvalidProducerEpoch},
	{broker.ErrInvalidTxnState, codeInvalidTxnState},
	{broker.ErrConcurrentTransaction, codeConcurrentTransactions},
	{broker.ErrUnknownProducerID, codeInvalidProducerIDMapping},
	{broker.ErrInvalidTimeout, codeInvalidTransactionTimeout},
	{broker.ErrUnknownMember, codeUnknownMemberID},
	{broker.ErrIllegalGeneration, codeIllegalGeneration},
	{broker.ErrRebalance, codeRebalanceInProgress},
	{broker.ErrFencedInstance, codeFencedInstanceID},
	{group.ErrMemberIDRequired, codeMemberIDRequired},
	{group.ErrInconsistentProtocol, codeInconsistentGroupProtocol},
	{group.ErrInvalidSessionTimeout, codeInvalidSessionTimeout},
	{group.ErrGroupFull, codeGroupMaxSizeReached},
	{group.ErrUnreleasedInstance, codeUnreleasedInstanceID},
	{group.ErrNonEmpty, codeNonEmptyGroup},
	{group.ErrUnknownGroup, codeGroupIDNotFound},
	{group.ErrFencedEpoch, codeFencedMemberEpoch},
	{group.ErrStaleEpoch, codeStaleMemberEpoch},
	{group.ErrUnsupportedAssignor, codeUnsupportedAssignor},
	{group.ErrUnsupportedVersion, codeUnsupportedVersion},
	{group.ErrInvalidRegex, codeInvalidRegularExpression},
	{group.ErrInvalidRequest, codeInvalidRequest},
	{group.ErrSubscribed, codeGroupSubscribedToTopic},
	{group.ErrMetadataTooLarge, codeOffsetMetadataTooLarge},
	{broker.ErrTimestamp, codeInvalidTimestamp},
	{segment.ErrTooLarge, codeMessageTooLarge},
	{segment.ErrOutOfOrderSequence, codeOutOfOrderSequenceNumber},
	{segment.ErrProducerEpoch, codeInvalidProducerEpoch},
	{segment.ErrCoordinatorFenced, codeTransactionCoordinatorFenced},
	{segment.ErrTxnState, codeInvalidTxnState},
	{segment.ErrInvalidBatch, codeInvalidRecord},
	{scram.ErrUnacceptable, codeUnacceptableCredential},
	{scram.ErrUnknownMechanism, codeUnsupportedSaslMechanism},
	{scram.ErrNotFound, codeResourceNotFound},
	{scram.ErrDuplicate, codeDuplicateResource},
	{errForbidden, codeClusterAuthorizationFailed},
	{broker.ErrOffline, codeKafkaStorageError},
	{broker.ErrStorage, codeKafkaStorageError},
	{segment.ErrStorage, codeKafkaStorageError},
	{segment.ErrOffline, codeKafkaStorageError},
	// A partition of a broker that closes, or of a topic that is gone meanwhile:
	// the client looks for the leader anew.
	{broker.ErrClosed, codeNotLeaderForPartition},
	{segment.ErrClosed, codeNotLeaderForPartition},
}

// code is Kafka's error code for an error of the broker and what is below it:
// 0 for nil, UNKNOWN_SERVER_ERROR for one that is not known here.
func code(err error) int16 {
	if err == nil {
		return codeNone
	}
	var oor *segment.OffsetOutOfRangeError
	if errors.As(err, &oor) {
		return codeOffsetOutOfRange
	}
	var corrupt *segment.CorruptionError
	if errors.As(err, &corrupt) {
		return codeKafkaStorageError
	}
	var batch *record.BatchError
	if errors.As(err, &batch) {
		return batchCode(batch)
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return codeUnknownServerError
}

// batchCode tells bytes that were damaged on the way, which are sent again,
// from a batch that was made wrong.
func batchCode(err *record.BatchError) int16 {
	switch {
	case errors.Is(err, record.ErrCRC), errors.Is(err, record.ErrTruncated):
		return codeCorruptMessage
	case errors.Is(err, record.ErrCodec):
		return codeUnsupportedCompressionType
	}
	return codeInvalidRecord
}

// fail counts an error of the answer for metrics and gives its code.
func (r *request) fail(err error) int16 {
	c := code(err)
	if c != codeNone {
		r.errors++
	}
	return c
}

// produceError is what closes the connection of a producer that asked for no
// answers (acks=0).
type produceError struct {
	topic     string
	partition int32
	code      int16
}

func (e *produceError) Error() string {
	return fmt.Sprintf("%s-%d: produce with acks=0 failed with error code %d: the end of the connection tells the producer", e.topic, e.partition, e.code)
}
