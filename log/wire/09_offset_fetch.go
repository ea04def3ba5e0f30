package wire

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// OffsetFetch: versions 1 to 10. v2 all topics with null, v7 require stable
// (KIP-447), v8 several groups, v9 members of consumer groups (KIP-848), v10
// topic ids.

func handleOffsetFetch(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.OffsetFetchRequest)
	resp := r.response().(*kmsg.OffsetFetchResponse)
	if req.Version >= 8 {
		for _, g := range once(req.Groups, func(g kmsg.OffsetFetchRequestGroup) string { return g.Group }) {
			resp.Groups = append(resp.Groups, r.fetchGroup(s, &g, req.RequireStable))
		}
		return resp, nil
	}
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = req.Group
	for _, t := range req.Topics {
		g := kmsg.NewOffsetFetchRequestGroupTopic()
		g.Topic, g.Partitions = t.Topic, t.Partitions
		one.Topics = append(one.Topics, g)
	}
	if req.Topics != nil && one.Topics == nil {
		one.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	g := r.fetchGroup(s, &one, req.RequireStable)
	if resp.ErrorCode = g.ErrorCode; g.ErrorCode != codeNone && req.Version < 2 { // there it has no place but at the partitions
		g.Topics = refusedOffsets(&one, g.ErrorCode)
	}
	for _, t := range g.Topics {
		rt := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// noOffset is a partition without an offset, for which reason ever.
func noOffset(partition int32, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	none := ""
	return kmsg.OffsetFetchResponseGroupTopicPartition{Partition: partition, Offset: -1, LeaderEpoch: -1, Metadata: &none, ErrorCode: code}
}

func refusedOffsets(g *kmsg.OffsetFetchRequestGroup, code int16) []kmsg.OffsetFetchResponseGroupTopic {
	var out []kmsg.OffsetFetchResponseGroupTopic
	for _, t := range g.Topics {
		rt := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, noOffset(p, code))
		}
		out = append(out, rt)
	}
	return out
}

// nameOnce takes out of a request what it names again.
func nameOnce(g *kmsg.OffsetFetchRequestGroup) {
	named := namedPartitions{}
	left := g.Topics[:0]
	for _, t := range g.Topics {
		var ok bool
		if t.Partitions, ok = named.first(t.Topic, t.TopicID, t.Partitions); ok {
			left = append(left, t)
		}
	}
	g.Topics = left // null, which is all of them, stays null
}

// fetchGroup answers for one group.
func (r *request) fetchGroup(s *Server, g *kmsg.OffsetFetchRequestGroup, stable bool) kmsg.OffsetFetchResponseGroup {
	out := kmsg.OffsetFetchResponseGroup{Group: g.Group}
	nameOnce(g)
	if !r.may(acl.OpDescribe, acl.TypeGroup, g.Group) {
		out.ErrorCode = forbidden(acl.TypeGroup)
		return out
	}
	var names map[int]string // of the topics asked for that may be read, by their place
	var tps []record.TopicPartition
	if g.Topics != nil {
		names, tps = r.askedOffsets(s, g)
	}
	offs, unstable, err := s.b.GroupOffsets(g.Group, tps, g.MemberID, g.MemberEpoch)
	if err != nil {
		out.ErrorCode = r.groupCode(err)
		return out
	}
	if !stable {
		unstable = nil
	}
	if g.Topics == nil {
		out.Topics = r.allOffsets(s, offs, unstable)
		return out
	}
	for i := range g.Topics {
		t := &g.Topics[i]
		rt := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
		name, known := names[i]
		for _, p := range t.Partitions {
			if !known {
				rt.Partitions = append(rt.Partitions, noOffset(p, r.unknownOffset(s, t)))
				continue
			}
			rt.Partitions = append(rt.Partitions, offsetAnswer(topicPartition(name, p), offs, unstable))
		}
		out.Topics = append(out.Topics, rt)
	}
	return out
}

// askedOffsets lists the partitions that are asked for and may be read; never nil.
func (r *request) askedOffsets(s *Server, g *kmsg.OffsetFetchRequestGroup) (map[int]string, []record.TopicPartition) {
	names, tps := map[int]string{}, []record.TopicPartition{}
	for i := range g.Topics {
		t := &g.Topics[i]
		name := t.Topic
		if r.version() >= 10 {
			v, ok := s.b.TopicViewByID(t.TopicID)
			if !ok {
				continue
			}
			name = v.Name
		}
		if !r.may(acl.OpDescribe, acl.TypeTopic, name) {
			continue
		}
		names[i] = name
		for _, p := range t.Partitions {
			tps = append(tps, topicPartition(name, p))
		}
	}
	return names, tps
}

// unknownOffset is why a topic that was asked for is not answered.
func (r *request) unknownOffset(s *Server, t *kmsg.OffsetFetchRequestGroupTopic) int16 {
	if r.version() >= 10 {
		if _, ok := s.b.TopicViewByID(t.TopicID); !ok {
			return codeUnknownTopicID
		}
	}
	return forbidden(acl.TypeTopic)
}

func offsetAnswer(tp record.TopicPartition, offs map[record.TopicPartition]broker.CommittedOffset, unstable map[record.TopicPartition]bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	o, ok := offs[tp]
	switch {
	case unstable[tp]:
		return noOffset(int32(tp.Partition), codeUnstableOffsetCommit)
	case !ok:
		return noOffset(int32(tp.Partition), codeNone)
	}
	return kmsg.OffsetFetchResponseGroupTopicPartition{Partition: int32(tp.Partition), Offset: int64(o.Offset), LeaderEpoch: int32(o.Epoch), Metadata: &o.Metadata}
}

// allOffsets answers with everything that the group has committed. Partitions
// that only an open transaction would commit are not shown.
func (r *request) allOffsets(s *Server, offs map[record.TopicPartition]broker.CommittedOffset, unstable map[record.TopicPartition]bool) []kmsg.OffsetFetchResponseGroupTopic {
	tps := slices.SortedFunc(maps.Keys(offs), func(a, b record.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	out := []kmsg.OffsetFetchResponseGroupTopic{}
	for _, tp := range tps {
		if n := len(out); n == 0 || out[n-1].Topic != tp.Topic {
			v, exists := s.b.TopicView(tp.Topic)
			if !r.may(acl.OpDescribe, acl.TypeTopic, tp.Topic) || r.version() >= 10 && !exists {
				continue
			}
			out = append(out, kmsg.OffsetFetchResponseGroupTopic{Topic: tp.Topic, TopicID: v.ID})
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, offsetAnswer(tp, offs, unstable))
	}
	return out
}
