package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// TxnOffsetCommit: versions 0 to 5. v2 leader epochs, v3 the member that commits
// (KIP-447), v4 TRANSACTION_ABORTABLE, v5 adds the group to the transaction by
// itself (KIP-890).

func handleTxnOffsetCommit(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.TxnOffsetCommitRequest)
	all := codeNone
	switch {
	case !r.mayTransact(req.TransactionalID):
		all = forbidden(acl.TypeTransactionalID)
	case !r.may(acl.OpRead, acl.TypeGroup, req.Group):
		all = forbidden(acl.TypeGroup)
	case req.TransactionalID == "":
		all = codeInvalidRequest
	case req.Group == "":
		all = codeInvalidGroupID
	}
	codes := map[record.TopicPartition]int16{}
	offsets := map[record.TopicPartition]broker.CommittedOffset{}
	for _, topic := range req.Topics {
		allowed := all == codeNone && r.may(acl.OpRead, acl.TypeTopic, topic.Topic)
		for _, p := range topic.Partitions {
			tp := topicPartition(topic.Topic, p.Partition)
			switch _, err := s.b.Partition(tp); {
			case all != codeNone:
			case !allowed:
				codes[tp] = forbidden(acl.TypeTopic)
			case err != nil:
				codes[tp] = code(err)
			case !s.b.OffsetMetadataFits(orEmpty(p.Metadata)):
				codes[tp] = codeOffsetMetadataTooLarge
			default:
				o := broker.CommittedOffset{Offset: record.Offset(p.Offset), Epoch: record.LeaderEpoch(p.LeaderEpoch)}
				if p.Metadata != nil {
					o.Metadata = *p.Metadata
				}
				offsets[tp] = o
			}
		}
	}
	if len(offsets) > 0 {
		all = s.txnOffsetCommit(r, req, offsets)
	}
	return txnOffsetsAnswer(req, codes, all), nil
}

func (s *Server) txnOffsetCommit(r *request, req *kmsg.TxnOffsetCommitRequest, offsets map[record.TopicPartition]broker.CommittedOffset) int16 {
	who := identityOf(req.ProducerID, req.ProducerEpoch)
	m := broker.GroupMember{Group: req.Group, Generation: req.Generation, Member: req.MemberID}
	if req.InstanceID != nil {
		m.Instance = *req.InstanceID
	}
	var err error
	implicit := req.Version >= 5
	if implicit {
		err = s.b.JoinTxnOffsets(req.TransactionalID, who, req.Group)
	}
	if err == nil {
		err = s.b.TxnOffsetCommit(req.TransactionalID, who, m, offsets)
	}
	if err != nil {
		r.errors++
	}
	if unavailable(err) {
		return codeCoordinatorNotAvailable
	}
	c := writeCode(err, req.Version >= 4, implicit, codeCoordinatorNotAvailable)
	if c == codeStaleMemberEpoch {
		c = codeIllegalGeneration // what clients of this API know
	}
	return c
}

// txnOffsetsAnswer gives each partition its own code, or that of all.
func txnOffsetsAnswer(req *kmsg.TxnOffsetCommitRequest, codes map[record.TopicPartition]int16, all int16) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for _, topic := range req.Topics {
		t := kmsg.TxnOffsetCommitResponseTopic{Topic: topic.Topic}
		for _, p := range topic.Partitions {
			c, own := codes[topicPartition(topic.Topic, p.Partition)]
			if !own {
				c = all
			}
			t.Partitions = append(t.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: c})
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
