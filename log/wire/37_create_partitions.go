package wire

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// CreatePartitions (KIP-195): versions 0 to 3. v3 quota errors (KIP-599).

func handleCreatePartitions(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	names := make([]string, len(req.Topics))
	for i := range req.Topics {
		names[i] = req.Topics[i].Topic
	}
	twice := repeated(names)
	for i := range req.Topics {
		ask := &req.Topics[i]
		if twice[ask.Topic] && slices.Contains(names[:i], ask.Topic) {
			continue
		}
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic = ask.Topic
		switch {
		case twice[ask.Topic]:
			t.ErrorCode, t.ErrorMessage = r.deny(codeInvalidRequest, "Duplicate topic name.")
		case !r.may(acl.OpAlter, acl.TypeTopic, ask.Topic):
			t.ErrorCode, t.ErrorMessage = r.denied(acl.TypeTopic)
		default:
			t.ErrorCode, t.ErrorMessage = s.createPartitions(r, ask, req.ValidateOnly)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func (s *Server) createPartitions(r *request, ask *kmsg.CreatePartitionsRequestTopic, validateOnly bool) (int16, *string) {
	if err := s.b.CreatePartitions(ask.Topic, ask.Count, true); err != nil {
		return r.refuse(err)
	}
	v, _ := s.b.TopicView(ask.Topic)
	more := int(ask.Count) - len(v.Partitions)
	if ask.Assignment != nil && len(ask.Assignment) != more {
		return r.deny(codeInvalidReplicaAssignment, fmt.Sprintf("Attempted to add %d additional partition(s), but %d assignment(s) were specified.", more, len(ask.Assignment)))
	}
	for _, a := range ask.Assignment {
		if wrong := s.checkReplicas(a.Replicas); wrong != "" {
			return r.deny(codeInvalidReplicaAssignment, wrong)
		}
	}
	if validateOnly {
		return codeNone, nil
	}
	if c := r.mutate(more, 3); c != codeNone {
		return r.deny(c, "The throttling quota has been exceeded.")
	}
	return r.refuse(s.b.CreatePartitions(ask.Topic, ask.Count, false))
}
