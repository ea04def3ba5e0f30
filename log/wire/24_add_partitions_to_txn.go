package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// AddPartitionsToTxn: versions 0 to 5. v2 PRODUCER_FENCED (KIP-588). v4 and above
// are what brokers send each other for many transactions at once (KIP-890),
// perhaps only to verify; v5 TRANSACTION_ABORTABLE.

func handleAddPartitionsToTxn(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AddPartitionsToTxnRequest)
	resp := r.response().(*kmsg.AddPartitionsToTxnResponse)
	if req.Version < 4 {
		t := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch}
		for _, topic := range req.Topics {
			t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: topic.Topic, Partitions: topic.Partitions})
		}
		for _, topic := range s.addPartitions(r, &t) {
			out := kmsg.AddPartitionsToTxnResponseTopic{Topic: topic.Topic}
			for _, p := range topic.Partitions {
				out.Partitions = append(out.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p.Partition, ErrorCode: p.ErrorCode})
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp, nil
	}
	if !r.mayCluster(acl.OpClusterAction) {
		resp.ErrorCode = forbidden(acl.TypeCluster)
		return resp, nil
	}
	for i := range req.Transactions {
		t := &req.Transactions[i]
		resp.Transactions = append(resp.Transactions, kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: t.TransactionalID, Topics: s.addPartitions(r, t)})
	}
	return resp, nil
}

// addPartitions serves one transaction: all of its partitions or none.
func (s *Server) addPartitions(r *request, t *kmsg.AddPartitionsToTxnRequestTransaction) []kmsg.AddPartitionsToTxnResponseTransactionTopic {
	var tps []record.TopicPartition
	codes := map[record.TopicPartition]int16{}
	all, failed := codeNone, false
	switch {
	case t.TransactionalID == "":
		all = codeInvalidRequest
	case r.version() < 4 && !r.mayTransact(t.TransactionalID):
		all = forbidden(acl.TypeTransactionalID)
	}
	for _, topic := range t.Topics {
		allowed := r.version() >= 4 || r.may(acl.OpWrite, acl.TypeTopic, topic.Topic)
		for _, p := range topic.Partitions {
			tp := topicPartition(topic.Topic, p)
			tps = append(tps, tp)
			switch _, err := s.b.Partition(tp); {
			case all != codeNone: // the whole transaction's, so that nothing is told of topics
			case !allowed:
				codes[tp], failed = forbidden(acl.TypeTopic), true
			case err != nil && !t.VerifyOnly:
				codes[tp], failed = code(err), true
			}
		}
	}
	switch who := identityOf(t.ProducerID, t.ProducerEpoch); {
	case all != codeNone:
	case failed:
		all = codeOperationNotAttempted // for those that are not to blame
	case t.VerifyOnly:
		missing, err := s.b.VerifyTxn(t.TransactionalID, who, tps)
		all = r.coordinatorCode(err, 2)
		for _, tp := range missing {
			codes[tp] = codeTransactionAbortable
		}
	case r.version() >= 4:
		all = r.coordinatorCode(s.b.JoinTxn(t.TransactionalID, who, tps), 2)
	default:
		all = r.coordinatorCode(s.b.AddPartitionsToTxn(t.TransactionalID, who, tps), 2)
	}
	return addedPartitions(t, codes, all)
}

// addedPartitions gives each partition its own code, or that of all.
func addedPartitions(t *kmsg.AddPartitionsToTxnRequestTransaction, codes map[record.TopicPartition]int16, all int16) []kmsg.AddPartitionsToTxnResponseTransactionTopic {
	out := make([]kmsg.AddPartitionsToTxnResponseTransactionTopic, 0, len(t.Topics))
	for _, topic := range t.Topics {
		o := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: topic.Topic}
		for _, p := range topic.Partitions {
			c, own := codes[topicPartition(topic.Topic, p)]
			if !own {
				c = all
			}
			o.Partitions = append(o.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p, ErrorCode: c})
		}
		out = append(out, o)
	}
	return out
}
