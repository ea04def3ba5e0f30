package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// OffsetForLeaderEpoch: versions 2 to 4. Where did a leader epoch end? By this a
// client finds out whether the log was cut below its position (KIP-101, KIP-320).

func handleOffsetForLeaderEpoch(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		allowed := r.may(acl.OpDescribe, acl.TypeTopic, t.Topic)
		for j := range t.Partitions {
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition = t.Partitions[j].Partition
			if p.ErrorCode = forbidden(acl.TypeTopic); allowed {
				p.ErrorCode = endOfEpoch(s, t.Topic, &t.Partitions[j], &p)
			}
			if p.ErrorCode != codeNone {
				r.errors++
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func endOfEpoch(s *Server, topic string, in *kmsg.OffsetForLeaderEpochRequestTopicPartition, out *kmsg.OffsetForLeaderEpochResponseTopicPartition) int16 {
	p, err := s.b.Partition(record.TopicPartition{Topic: topic, Partition: record.Partition(in.Partition)})
	if err != nil {
		return code(err)
	}
	if c := checkEpoch(p, in.CurrentLeaderEpoch); c != codeNone {
		return c
	}
	if _, err := p.State(); err != nil {
		return code(err)
	}
	epoch, end := p.EndOfEpoch(record.LeaderEpoch(in.LeaderEpoch))
	out.LeaderEpoch, out.EndOffset = int32(epoch), int64(end)
	return codeNone
}
