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
	d := deletion{r: r, all: r.mayCluster(acl.OpDelete), named: map[string]bool{}, byID: map[[16]byte]bool{}}
	var names []string
	var ids [][16]byte
	for _, t := range asked {
		if t.Topic != nil {
			names = append(names, *t.Topic)
			d.named[*t.Topic] = true
		} else {
			ids = append(ids, t.TopicID)
			d.byID[t.TopicID] = true
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
			s.deleteTopic(&d, &t)
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

// deletion is what a request asks to delete. Who may delete anything has the
// right on the cluster.
type deletion struct {
	r     *request
	all   bool
	named map[string]bool
	byID  map[[16]byte]bool
}

func (d *deletion) may(op acl.Operation, topic string) bool {
	return d.all || d.r.may(op, acl.TypeTopic, topic)
}

// find answers in t who may not delete a topic or what is not there; by id a
// topic's name shows only to who may describe it, and by name the topic itself.
func (d *deletion) find(s *Server, t *kmsg.DeleteTopicsResponseTopic) (v broker.TopicView, ok bool) {
	byID := t.Topic == nil
	if byID {
		if v, ok = s.b.TopicViewByID(t.TopicID); !ok {
			t.ErrorCode, t.ErrorMessage = d.r.deny(codeUnknownTopicID, "This server does not host this topic ID.")
			return v, false
		}
		if d.may(acl.OpDescribe, v.Name) || d.may(acl.OpDelete, v.Name) {
			t.Topic = &v.Name
		}
	} else {
		v, ok = s.b.TopicView(*t.Topic)
	}
	switch {
	case !byID && !d.may(acl.OpDescribe, *t.Topic):
		t.ErrorCode, t.ErrorMessage = d.r.denied(acl.TypeTopic)
	case !ok:
		t.ErrorCode, t.ErrorMessage = d.r.deny(codeUnknownTopicOrPartition, "This server does not host this topic-partition.")
	case !d.may(acl.OpDelete, v.Name):
		t.ErrorCode, t.ErrorMessage = d.r.denied(acl.TypeTopic)
	case d.named[v.Name] && d.byID[v.ID]:
		t.TopicID = v.ID
		t.ErrorCode, t.ErrorMessage = d.r.deny(codeInvalidRequest, "The provided topic name maps to an ID that was already supplied.")
	default:
		t.TopicID = v.ID
		return v, true
	}
	return v, false
}

func (s *Server) deleteTopic(d *deletion, t *kmsg.DeleteTopicsResponseTopic) {
	v, ok := d.find(s, t)
	if !ok {
		return
	}
	r := d.r
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
	t.ErrorCode, t.ErrorMessage = r.refuse(s.b.DeleteTopic(v.Name))
}
