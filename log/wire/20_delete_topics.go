package wire

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// DeleteTopics: versions 1 to 6. v5 words (KIP-599), v6 by id (KIP-516).

func handleDeleteTopics(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asked := req.Topics
	for _, name := range req.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: &name})
	}
	slices.SortStableFunc(asked, func(a, b kmsg.DeleteTopicsRequestTopic) int {
		return cmp.Or(cmp.Compare(name(a), name(b)), slices.Compare(a.TopicID[:], b.TopicID[:]))
	})
	var names []string
	var ids [][16]byte
	for _, t := range asked {
		if t.Topic != nil {
			names = append(names, *t.Topic)
		} else {
			ids = append(ids, t.TopicID)
		}
	}
	twiceNamed, twiceID := repeated(names), repeated(ids)
	asked = slices.CompactFunc(asked, func(a, b kmsg.DeleteTopicsRequestTopic) bool { // one answer for what is there twice
		return a.Topic != nil && b.Topic != nil && *a.Topic == *b.Topic || a.Topic == nil && b.Topic == nil && a.TopicID == b.TopicID
	})
	for _, ask := range asked {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = ask.Topic, ask.TopicID
		switch {
		case ask.Topic == nil && ask.TopicID == [16]byte{}:
			t.ErrorCode, t.ErrorMessage = r.deny(codeInvalidRequest, "Neither topic name nor id were specified.")
		case ask.Topic != nil && ask.TopicID != [16]byte{}:
			t.ErrorCode, t.ErrorMessage = r.deny(codeInvalidRequest, "You may not specify both topic name and topic id.")
		case ask.Topic != nil && twiceNamed[*ask.Topic]:
			t.ErrorCode, t.ErrorMessage = r.deny(codeInvalidRequest, "Duplicate topic name.")
		case ask.Topic == nil && twiceID[ask.TopicID]:
			t.ErrorCode, t.ErrorMessage = r.deny(codeInvalidRequest, "Duplicate topic id.")
		default:
			s.deleteTopic(r, &t)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func name(t kmsg.DeleteTopicsRequestTopic) string {
	if t.Topic == nil {
		return ""
	}
	return *t.Topic
}

func (s *Server) deleteTopic(r *request, t *kmsg.DeleteTopicsResponseTopic) {
	var v broker.TopicView
	var ok bool
	if t.Topic == nil {
		v, ok = s.b.TopicViewByID(t.TopicID)
		switch {
		case !ok:
			t.ErrorCode, t.ErrorMessage = r.deny(codeUnknownTopicID, "This server does not host this topic ID.")
			return
		case !r.may(acl.OpDescribe, acl.TypeTopic, v.Name):
			t.ErrorCode, t.ErrorMessage = r.denied(acl.TypeTopic) // the name stays hidden
			return
		}
		t.Topic = &v.Name
	}
	if !r.may(acl.OpDelete, acl.TypeTopic, *t.Topic) {
		t.ErrorCode, t.ErrorMessage = r.denied(acl.TypeTopic)
		return
	}
	if v, ok = s.b.TopicView(*t.Topic); !ok {
		t.ErrorCode, t.ErrorMessage = r.deny(codeUnknownTopicOrPartition, "This server does not host this topic-partition.")
		return
	}
	t.TopicID = v.ID
	if s.b.Setting("delete.topic.enable") == "false" {
		t.ErrorCode, t.ErrorMessage = r.deny(codeTopicDeletionDisabled, "Topic deletion is disabled.")
		if r.version() < 3 {
			t.ErrorCode = codeInvalidRequest
		}
		return
	}
	if t.ErrorCode = r.mutate(len(v.Partitions), 5); t.ErrorCode != codeNone {
		t.ErrorCode, t.ErrorMessage = r.deny(t.ErrorCode, "The throttling quota has been exceeded.")
		return
	}
	t.ErrorCode, t.ErrorMessage = r.refuse(s.b.DeleteTopic(*t.Topic))
}
