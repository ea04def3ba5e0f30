package wire

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeTopicPartitions (KIP-966): version 0. An answer has a bounded number of
// partitions, and a cursor from which the next request goes on; topics are
// answered by name.

func handleDescribeTopicPartitions(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{}
	names, all := s.describedNames(req)
	if c := req.Cursor; c != nil && (c.Partition < 0 || !all && !slices.ContainsFunc(req.Topics, func(t kmsg.DescribeTopicPartitionsRequestTopic) bool { return t.Topic == c.Topic })) {
		for _, ask := range req.Topics { // a cursor that no answer gave
			t := kmsg.NewDescribeTopicPartitionsResponseTopic()
			t.Topic = &ask.Topic
			t.ErrorCode, _ = r.deny(codeInvalidRequest)
			resp.Topics = append(resp.Topics, t)
		}
		return resp, nil
	}
	limit := int(max(min(req.ResponsePartitionLimit, int32(s.b.SettingInt("max.request.partition.size.limit"))), 1))
	one := []int32{s.b.NodeID()}
	for _, name := range names {
		if limit == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			break
		}
		allowed := r.may(acl.OpDescribe, acl.TypeTopic, name)
		if all && !allowed {
			continue
		}
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic = &name
		t.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
		if allowed {
			t.AuthorizedOperations = r.authorizedOperations(acl.TypeTopic, name)
		}
		v, ok := s.b.TopicView(name)
		switch {
		case !allowed:
			t.ErrorCode, _ = r.denied(acl.TypeTopic)
		case !ok && all:
			continue // deleted meanwhile
		case !ok && !broker.ValidTopicName(name):
			t.ErrorCode, _ = r.deny(codeInvalidTopicException)
		case !ok:
			t.ErrorCode, _ = r.deny(codeUnknownTopicOrPartition)
		default:
			t.TopicID, t.IsInternal = v.ID, v.Internal
			from := 0
			if c := req.Cursor; c != nil && c.Topic == name {
				from = int(c.Partition)
			}
			upTo := min(len(v.Partitions), from+limit)
			for n := from; n < upTo; n++ {
				t.Partitions = append(t.Partitions, s.describedPartition(v, n, one))
			}
			limit -= max(upTo-from, 0)
			if upTo < len(v.Partitions) {
				resp.Topics = append(resp.Topics, t)
				resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(upTo)}
				return resp, nil
			}
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

// describedNames are the topics asked for, each once and by name, from the cursor's on.
func (s *Server) describedNames(req *kmsg.DescribeTopicPartitionsRequest) (names []string, all bool) {
	if all = len(req.Topics) == 0; all {
		for v := range s.b.TopicViews() {
			names = append(names, v.Name)
		}
	}
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil {
		at, _ := slices.BinarySearch(names, req.Cursor.Topic)
		names = names[at:]
	}
	return names, all
}

func (s *Server) describedPartition(v broker.TopicView, n int, one []int32) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	p.Partition, p.LeaderID = int32(n), s.b.NodeID()
	p.Replicas, p.ISR = one, one
	p.EligibleLeaderReplicas, p.LastKnownELR, p.OfflineReplicas = []int32{}, []int32{}, []int32{}
	if part := v.Partitions[n]; part.Err() != nil {
		p.ErrorCode, p.OfflineReplicas = codeKafkaStorageError, one
	} else {
		p.LeaderEpoch = int32(part.Epoch())
	}
	return p
}
