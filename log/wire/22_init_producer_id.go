package wire

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// InitProducerID: versions 0 to 5. v3 carries the producer's identity, to go on
// after an error (KIP-360), v4 PRODUCER_FENCED (KIP-588), v5 TRANSACTION_ABORTABLE
// (KIP-890). v6 is two-phase commit (KIP-939) and not served. Kafka answers
// CONCURRENT_TRANSACTIONS while it aborts the predecessor's transaction; here the
// answer comes when that is done.

func handleInitProducerID(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.InitProducerIDRequest)
	resp := r.response().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = int64(broker.NoProducer.ID), int16(broker.NoProducer.Epoch)
	if resp.ErrorCode = r.mayInitProducer(req); resp.ErrorCode != codeNone {
		return resp, nil
	}
	current := broker.NoProducer
	if req.Version >= 3 {
		current = identityOf(req.ProducerID, req.ProducerEpoch)
	}
	transactional := req.TransactionalID != nil
	switch {
	case transactional && *req.TransactionalID == "",
		(current.ID == broker.NoProducer.ID) != (current.Epoch == broker.NoProducer.Epoch):
		resp.ErrorCode = codeInvalidRequest
		return resp, nil
	case transactional && req.TransactionTimeoutMillis <= 0:
		resp.ErrorCode = codeInvalidTransactionTimeout
		return resp, nil
	}
	var name string
	if transactional {
		name = *req.TransactionalID
	}
	id, err := s.b.InitProducerID(name, time.Duration(req.TransactionTimeoutMillis)*time.Millisecond, current)
	if resp.ErrorCode = r.coordinatorCode(err, 4); resp.ErrorCode == codeNone {
		resp.ProducerID, resp.ProducerEpoch = int64(id.ID), int16(id.Epoch)
	}
	return resp, nil
}

// mayInitProducer: an idempotent producer needs IdempotentWrite on the cluster, or
// Write on any topic (KIP-679).
func (r *request) mayInitProducer(req *kmsg.InitProducerIDRequest) int16 {
	switch {
	case req.TransactionalID != nil && !r.mayTransact(*req.TransactionalID):
		return forbidden(acl.TypeTransactionalID)
	case req.TransactionalID == nil && !r.mayCluster(acl.OpIdempotentWrite) && !r.maySome(acl.OpWrite, acl.TypeTopic):
		return forbidden(acl.TypeCluster)
	}
	return codeNone
}
