package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeProducers: version 0 (KIP-664). Who writes to a partition, and where its
// open transaction began: with it an administrator finds what hangs.

func handleDescribeProducers(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeProducersRequest)
	resp := r.response().(*kmsg.DescribeProducersResponse)
	named := namedPartitions{}
	for _, topic := range req.Topics {
		partitions, ok := named.first(topic.Topic, [16]byte{}, topic.Partitions)
		if !ok {
			continue
		}
		t := kmsg.DescribeProducersResponseTopic{Topic: topic.Topic}
		allowed := r.may(acl.OpRead, acl.TypeTopic, topic.Topic)
		for _, p := range partitions {
			if allowed {
				t.Partitions = append(t.Partitions, s.producersOf(r, topic.Topic, p))
			} else {
				t.Partitions = append(t.Partitions, kmsg.DescribeProducersResponseTopicPartition{Partition: p, ErrorCode: forbidden(acl.TypeTopic)})
			}
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func (s *Server) producersOf(r *request, topic string, partition int32) kmsg.DescribeProducersResponseTopicPartition {
	out := kmsg.DescribeProducersResponseTopicPartition{Partition: partition}
	p, err := s.b.Partition(topicPartition(topic, partition))
	if err != nil {
		out.ErrorCode = r.fail(err)
		return out
	}
	states, err := p.Producers()
	if err != nil {
		out.ErrorCode = r.fail(err)
		return out
	}
	for _, st := range states {
		out.ActiveProducers = append(out.ActiveProducers, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: int64(st.ProducerID), ProducerEpoch: int32(st.Epoch), LastSequence: st.LastSequence,
			LastTimestamp: st.LastTimestamp, CoordinatorEpoch: st.CoordinatorEpoch, CurrentTxnStartOffset: int64(st.TxnFirst),
		})
	}
	return out
}
