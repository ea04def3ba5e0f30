package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
)

// ConsumerGroupDescribe: versions 0 to 1 (KIP-848). v1 the protocol that each
// member speaks.

func handleConsumerGroupDescribe(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ConsumerGroupDescribeRequest)
	resp := r.response().(*kmsg.ConsumerGroupDescribeResponse)
	for _, name := range once(req.Groups, func(name string) string { return name }) {
		resp.Groups = append(resp.Groups, r.describeConsumer(s, name, req.IncludeAuthorizedOperations))
	}
	return resp, nil
}

func (r *request) describeConsumer(s *Server, name string, operations bool) kmsg.ConsumerGroupDescribeResponseGroup {
	g := kmsg.NewConsumerGroupDescribeResponseGroup()
	g.Group = name
	if g.ErrorCode = r.groupRefused(acl.OpDescribe, name); !s.b.ConsumerGroups() {
		g.ErrorCode = codeUnsupportedVersion
	}
	if g.ErrorCode != codeNone {
		return g
	}
	if g.ErrorCode = r.groupCode(s.b.GroupErr(name)); g.ErrorCode != codeNone {
		return g
	}
	info, ok := s.b.DescribeGroup(name)
	if !ok || info.Type != group.TypeConsumer {
		g.ErrorCode, g.ErrorMessage = codeGroupIDNotFound, kmsg.StringPtr("Group "+name+" not found.")
		if ok {
			g.ErrorMessage = kmsg.StringPtr("Group " + name + " is not a consumer group.")
		}
		return g
	}
	if operations {
		g.AuthorizedOperations = r.authorizedOperations(acl.TypeGroup, name)
	}
	g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName = info.State.String(), info.Generation, info.AssignmentEpoch, info.Assignor
	hidden := false
	for _, m := range info.Members {
		d := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		d.MemberID, d.InstanceID, d.RackID, d.MemberEpoch = m.ID, orNil(m.Instance), orNil(m.Rack), m.Epoch
		d.ClientID, d.ClientHost, d.SubscribedTopics, d.SubscribedTopicRegex = m.ClientID, m.ClientHost, m.Topics, orNil(m.Regex)
		d.Assignment.TopicPartitions = r.describeAssignment(s, m.Has, &hidden)
		d.TargetAssignment.TopicPartitions = r.describeAssignment(s, m.Target, &hidden)
		if d.MemberType = 1; m.Classic {
			d.MemberType = 0
		}
		g.Members = append(g.Members, d)
	}
	if hidden {
		g = kmsg.NewConsumerGroupDescribeResponseGroup() // nothing else is told either
		g.Group = name
		g.ErrorCode = forbidden(acl.TypeTopic)
		g.ErrorMessage = kmsg.StringPtr("The group has described topic(s) that the client is not authorized to describe.")
	}
	return g
}

// describeAssignment names topics; hidden is set where the client may not know one.
func (r *request) describeAssignment(s *Server, a group.Assignment, hidden *bool) []kmsg.AssignmentTopicPartition {
	var out []kmsg.AssignmentTopicPartition
	for _, id := range a.Topics() {
		v, ok := s.b.TopicViewByID(id)
		if !ok {
			continue
		}
		if !r.may(acl.OpDescribe, acl.TypeTopic, v.Name) {
			*hidden = true
		}
		out = append(out, kmsg.AssignmentTopicPartition{TopicID: id, Topic: v.Name, Partitions: a[id]})
	}
	return out
}
