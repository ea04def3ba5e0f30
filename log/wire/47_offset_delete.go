package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// OffsetDelete: version 0 (KIP-496).

func handleOffsetDelete(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.OffsetDeleteRequest)
	resp := r.response().(*kmsg.OffsetDeleteResponse)
	if !r.may(acl.OpDelete, acl.TypeGroup, req.Group) {
		resp.ErrorCode = forbidden(acl.TypeGroup)
		return resp, nil
	}
	codes := map[record.TopicPartition]int16{}
	tps := []record.TopicPartition{}
	for _, t := range req.Topics {
		allowed := r.may(acl.OpRead, acl.TypeTopic, t.Topic)
		_, exists := s.b.TopicView(t.Topic)
		for _, p := range t.Partitions {
			tp := topicPartition(t.Topic, p.Partition)
			switch {
			case !allowed:
				codes[tp] = forbidden(acl.TypeTopic)
			case !exists:
				codes[tp] = codeUnknownTopicOrPartition
			default:
				tps = append(tps, tp)
			}
		}
	}
	errs, err := s.b.DeleteGroupOffsets(req.Group, tps)
	if err != nil {
		resp.ErrorCode = r.groupCode(err)
		return resp, nil
	}
	for tp, err := range errs {
		codes[tp] = r.groupCode(err)
	}
	for _, t := range req.Topics {
		rt := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: codes[topicPartition(t.Topic, p.Partition)]})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}
