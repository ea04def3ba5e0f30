package txn

import "errors"

// Errors that a request is answered with; log/wire maps them to Kafka's codes.
var (
	// ErrProducerFenced: a newer producer has the transactional id.
	ErrProducerFenced = errors.New("txn: producer fenced by a newer one with the same transactional id")
	// ErrInvalidProducerEpoch: the epoch is not the current one; abort and initialise again (KIP-588).
	ErrInvalidProducerEpoch = errors.New("txn: producer epoch is not the current one")
	// ErrInvalidTxnState: the request does not fit the transaction's state.
	ErrInvalidTxnState = errors.New("txn: request does not fit the transaction's state")
	// ErrConcurrentTransactions: the previous transaction is still being completed; retry.
	ErrConcurrentTransactions = errors.New("txn: the previous transaction is still being completed")
	// ErrUnknownProducerID: the transactional id has another producer id, or none.
	ErrUnknownProducerID = errors.New("txn: producer id does not belong to the transactional id")
	// ErrInvalidTimeout: the transaction timeout is not within the broker's bound.
	ErrInvalidTimeout = errors.New("txn: transaction timeout out of bounds")
)

// errBadRecord: a record of __transaction_state that is not Kafka's schema.
var errBadRecord = errors.New("not a transaction record")

func orBad(err error) error {
	if err == nil {
		return errBadRecord
	}
	return err
}
