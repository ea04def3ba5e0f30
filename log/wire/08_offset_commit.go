package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
)

// OffsetCommit: versions 2 to 10. v2-4 a retention of the request's own, v6
// leader epochs, v7 static members (KIP-345), v9 members of consumer groups
// (KIP-848), v10 topic ids.

func handleOffsetCommit(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.OffsetCommitRequest)
	resp := r.response().(*kmsg.OffsetCommitResponse)
	all := codeNone
	if !r.may(acl.OpRead, acl.TypeGroup, req.Group) {
		all = forbidden(acl.TypeGroup)
	}
	offsets := group.Offsets{}
	for i := range req.Topics {
		t := &req.Topics[i]
		answer := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		name, refused := r.committedTopic(s, t, all)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			c := refused
			if c == codeNone {
				c = r.committedPartition(s, name, p, offsets)
			}
			answer.Partitions = append(answer.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: c})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	if all != codeNone || len(offsets) == 0 {
		return resp, nil
	}
	commit := group.CommitRequest{
		Group: req.Group, GenerationID: req.Generation, MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID),
		Offsets: offsets, Version: req.Version,
	}
	if req.Version <= 4 && req.RetentionTimeMillis > 0 {
		commit.RetentionMS = req.RetentionTimeMillis
	}
	if err := s.b.CommitGroupOffsets(commit); err != nil {
		failCommit(resp, r.groupCode(err))
	}
	return resp, nil
}

// committedTopic is the topic's name, or the code for all its partitions.
func (r *request) committedTopic(s *Server, t *kmsg.OffsetCommitRequestTopic, all int16) (name string, code int16) {
	name = t.Topic
	if r.version() >= 10 && all == codeNone {
		v, ok := s.b.TopicViewByID(t.TopicID)
		if !ok {
			return "", codeUnknownTopicID
		}
		name = v.Name
	}
	if all == codeNone && !r.may(acl.OpRead, acl.TypeTopic, name) {
		all = forbidden(acl.TypeTopic)
	}
	return name, all
}

// committedPartition takes one offset in, or says why not.
func (r *request) committedPartition(s *Server, topic string, p *kmsg.OffsetCommitRequestTopicPartition, offsets group.Offsets) int16 {
	tp := topicPartition(topic, p.Partition)
	if _, err := s.b.Partition(tp); err != nil {
		return r.fail(err)
	}
	o := group.Committed{Offset: record.Offset(p.Offset), Epoch: record.NoLeaderEpoch, Metadata: orEmpty(p.Metadata)}
	if r.version() >= 6 {
		o.Epoch = record.LeaderEpoch(p.LeaderEpoch)
	}
	if !s.b.OffsetMetadataFits(o.Metadata) {
		r.errors++
		return codeOffsetMetadataTooLarge
	}
	offsets[tp] = o
	return codeNone
}

// failCommit puts a code where none is yet.
func failCommit(resp *kmsg.OffsetCommitResponse, code int16) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
				p.ErrorCode = code
			}
		}
	}
}
