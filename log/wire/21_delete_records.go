package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// DeleteRecords (KIP-107): versions 0 to 2. Offset -1 is the high watermark.

func handleDeleteRecords(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for _, ask := range req.Topics {
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = ask.Topic
		allowed := r.may(acl.OpDelete, acl.TypeTopic, ask.Topic)
		for _, p := range ask.Partitions {
			rp := kmsg.NewDeleteRecordsResponseTopicPartition()
			rp.Partition, rp.LowWatermark = p.Partition, -1
			if !allowed {
				rp.ErrorCode, _ = r.denied(acl.TypeTopic)
			} else if low, err := s.deleteRecords(ask.Topic, p.Partition, p.Offset); err != nil {
				rp.ErrorCode = r.fail(err)
			} else {
				rp.LowWatermark = int64(low)
			}
			t.Partitions = append(t.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func (s *Server) deleteRecords(topic string, partition int32, offset int64) (record.Offset, error) {
	p, err := s.b.Partition(record.TopicPartition{Topic: topic, Partition: record.Partition(partition)})
	if err != nil {
		return record.NoOffset, err
	}
	return p.DeleteRecords(record.Offset(offset))
}
