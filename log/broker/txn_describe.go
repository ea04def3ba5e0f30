package broker

import (
	"time"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// TransactionInfo describes a transactional id.
type TransactionInfo struct {
	TransactionalID string
	Producer        ProducerIdentity
	State           string // in Kafka's words: Empty, Ongoing, PrepareCommit, ...
	Timeout         time.Duration
	StartMS         int64                   // of the last transaction; record.NoTimestamp if there was none since InitProducerID
	Partitions      []record.TopicPartition // of the open transaction, sorted
}

// TransactionStates are the names that TransactionInfo.State can have.
func TransactionStates() []string { return txn.StateNames() }

// Transaction describes a transactional id; false if there is none.
func (b *Broker) Transaction(transactionalID string) (TransactionInfo, bool) {
	b.txns.mu.RLock()
	t := b.txns.core.Get(transactionalID)
	b.txns.mu.RUnlock()
	if t == nil {
		return TransactionInfo{}, false
	}
	return transactionInfo(t), true
}

// Transactions describes every transactional id, by name.
func (b *Broker) Transactions() []TransactionInfo {
	b.txns.mu.RLock()
	all := b.txns.core.All()
	b.txns.mu.RUnlock()
	out := make([]TransactionInfo, len(all))
	for i, t := range all {
		out[i] = transactionInfo(t)
	}
	return out
}

func transactionInfo(t *txn.Txn) TransactionInfo {
	info := TransactionInfo{
		TransactionalID: t.TransactionalID, Producer: ProducerIdentity(t.Identity), State: t.State.String(),
		Timeout: time.Duration(t.TimeoutMS) * time.Millisecond, StartMS: t.StartMS,
	}
	if t.State == txn.Ongoing || t.State == txn.PrepareCommit || t.State == txn.PrepareAbort {
		info.Partitions = t.Partitions
	}
	return info
}

// Producers describes the producers that the partition remembers, by id: those
// that wrote within the last ProducerIDExpiry.
func (p *Partition) Producers() ([]segment.ProducerState, error) {
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	return l.Producers(), nil
}
