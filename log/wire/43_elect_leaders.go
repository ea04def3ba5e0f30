package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// ElectLeaders (KIP-183, KIP-460): versions 0 to 2. This node leads every
// partition already, so no election is needed.

func handleElectLeaders(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	resp.Topics = []kmsg.ElectLeadersResponseTopic{}
	c, words := codeNone, (*string)(nil)
	switch {
	case !r.mayCluster(acl.OpAlter):
		c, words = r.denied(acl.TypeCluster)
	case req.ElectionType != 0 && req.ElectionType != 1:
		c, words = r.deny(codeInvalidRequest, "Unknown election type.")
	}
	resp.ErrorCode = c
	if req.Topics == nil && c == codeNone {
		for v := range s.b.TopicViews() { // all topics, and none of their partitions: that nothing was needed is no error then
			t := kmsg.NewElectLeadersResponseTopic()
			t.Topic = v.Name
			resp.Topics = append(resp.Topics, t)
		}
	}
	for _, ask := range req.Topics {
		t := kmsg.NewElectLeadersResponseTopic()
		t.Topic = ask.Topic
		for _, n := range ask.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = n
			switch {
			case c != codeNone:
				p.ErrorCode, p.ErrorMessage = c, words
			case !s.existing(ask.Topic, n):
				p.ErrorCode, p.ErrorMessage = r.deny(codeUnknownTopicOrPartition, "No such topic or partition.")
			default:
				p.ErrorCode, p.ErrorMessage = r.deny(codeElectionNotNeeded, "Leader election not needed for topic partition.")
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}
