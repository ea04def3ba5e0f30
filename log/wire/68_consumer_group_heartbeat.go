package wire

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/group"
)

// ConsumerGroupHeartbeat: versions 0 to 1 (KIP-848). v1 subscriptions by regular
// expression, member ids made by the client (KIP-1082).

func handleConsumerGroupHeartbeat(ctx context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ConsumerGroupHeartbeatRequest)
	resp := r.response().(*kmsg.ConsumerGroupHeartbeatResponse)
	if !s.b.ConsumerGroups() {
		resp.ErrorCode = codeUnsupportedVersion
		return resp, nil
	}
	if !r.may(acl.OpRead, acl.TypeGroup, req.Group) {
		resp.ErrorCode = forbidden(acl.TypeGroup)
		return resp, nil
	}
	if slices.ContainsFunc(req.SubscribedTopicNames, func(t string) bool { return !r.may(acl.OpDescribe, acl.TypeTopic, t) }) {
		resp.ErrorCode = forbidden(acl.TypeTopic)
		return resp, nil
	}
	hb := group.HeartbeatRequest{
		Group: req.Group, MemberID: req.MemberID, Epoch: req.MemberEpoch, InstanceID: req.InstanceID, Rack: req.RackID,
		RebalanceMS: int64(req.RebalanceTimeoutMillis), Topics: req.SubscribedTopicNames, Regex: req.SubscribedTopicRegex, Assignor: req.ServerAssignor,
		ClientID: r.clientID, ClientHost: r.clientHost(), NeedMemberID: req.Version >= 1,
		MayDescribe: func(topic string) bool { return r.may(acl.OpDescribe, acl.TypeTopic, topic) },
	}
	if req.Topics != nil {
		hb.Owned = group.Assignment{}
		for _, t := range req.Topics {
			hb.Owned[t.TopicID] = append(hb.Owned[t.TopicID], t.Partitions...)
		}
	}
	result, err := s.b.ConsumerHeartbeat(ctx, hb)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = r.groupCode(err), message(err)
		return resp, nil
	}
	resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMillis = &result.MemberID, result.Epoch, int32(result.IntervalMS)
	if result.Assignment != nil {
		a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for _, id := range result.Assignment.Topics() {
			a.Topics = append(a.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: id, Partitions: result.Assignment[id]})
		}
		resp.Assignment = &a
	}
	return resp, nil
}
