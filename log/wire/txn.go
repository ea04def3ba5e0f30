package wire

import (
	"errors"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// What the handlers of transactions (22, 24 to 28, 61, 65, 66) and of produce share.

// identityOf is a producer as a request names it.
func identityOf(id int64, epoch int16) broker.ProducerIdentity {
	return broker.ProducerIdentity{ID: record.ProducerID(id), Epoch: record.ProducerEpoch(epoch)}
}

// coordinatorCode is the code of the transaction coordinator's answer: an epoch
// that is not the current one is PRODUCER_FENCED, which clients understand from
// version since of the request on (KIP-588), before it INVALID_PRODUCER_EPOCH.
func (r *request) coordinatorCode(err error, since int16) int16 {
	c := r.fail(err)
	switch {
	case c != codeProducerFenced && c != codeInvalidProducerEpoch:
		return c
	case r.version() < since:
		return codeInvalidProducerEpoch
	}
	return codeProducerFenced
}

// writeCode is the code for a write inside a transaction, of records or of
// offsets. There an old epoch is INVALID_PRODUCER_EPOCH: the producer may abort
// and go on. abortable says that the client's version knows
// TRANSACTION_ABORTABLE (KIP-1050), implicit that it adds partitions by writing
// to them (KIP-890), and so understands CONCURRENT_TRANSACTIONS; for another
// one retry is a code at which it tries again.
func writeCode(err error, abortable, implicit bool, retry int16) int16 {
	c := code(err)
	switch {
	case c == codeProducerFenced:
		return codeInvalidProducerEpoch
	case abortable && errors.Is(err, broker.ErrNotInTransaction):
		return codeTransactionAbortable
	case !implicit && c == codeConcurrentTransactions:
		return retry
	}
	return c
}

// mayTransact says whether the principal may use a transactional id.
func (r *request) mayTransact(transactionalID string) bool {
	return r.may(acl.OpWrite, acl.TypeTransactionalID, transactionalID)
}

// topicPartition names a partition as requests do.
func topicPartition(topic string, partition int32) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: record.Partition(partition)}
}
