package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// ListOffsets: versions 1 to 11. v2 isolation levels, v4 leader epochs, v7 the
// record with the greatest timestamp (KIP-734), v8 and v9 earliest local and
// latest tiered offset (KIP-405), v11 earliest pending upload. There are no
// tiers here: the local log is the log.

// Times that are questions.
const (
	timeLatest          = -1
	timeEarliest        = -2
	timeGreatest        = broker.LatestTime
	timeEarliestLocal   = -4
	timeLatestTiered    = -5
	timeEarliestPending = -6
)

// timeSince is the version from which a question may be asked.
var timeSince = map[int64]int16{
	timeLatest: 1, timeEarliest: 1, timeGreatest: 7, timeEarliestLocal: 8, timeLatestTiered: 9, timeEarliestPending: 11,
}

func handleListOffsets(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	twice := askedTwice(req)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		allowed := r.may(acl.OpDescribe, acl.TypeTopic, t.Topic)
		for j := range t.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.Offset, p.Timestamp = t.Partitions[j].Partition, int64(record.NoOffset), record.NoTimestamp
			switch {
			case !allowed:
				p.ErrorCode = forbidden(acl.TypeTopic)
			case twice[record.TopicPartition{Topic: t.Topic, Partition: record.Partition(p.Partition)}] > 1:
				p.ErrorCode = codeInvalidRequest
			default:
				p.ErrorCode = listOffset(s, req, t.Topic, &t.Partitions[j], &p)
			}
			if p.ErrorCode != codeNone {
				r.errors++
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// askedTwice counts the partitions of a request.
func askedTwice(req *kmsg.ListOffsetsRequest) map[record.TopicPartition]int {
	n := map[record.TopicPartition]int{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			n[record.TopicPartition{Topic: req.Topics[i].Topic, Partition: record.Partition(req.Topics[i].Partitions[j].Partition)}]++
		}
	}
	return n
}

// listOffset answers for one partition.
func listOffset(s *Server, req *kmsg.ListOffsetsRequest, topic string, in *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) int16 {
	if since, known := timeSince[in.Timestamp]; in.Timestamp < 0 && (!known || req.Version < since) {
		return codeUnsupportedVersion
	}
	p, err := s.b.Partition(record.TopicPartition{Topic: topic, Partition: record.Partition(in.Partition)})
	if err != nil {
		return code(err)
	}
	if req.Version >= 4 {
		if c := checkEpoch(p, in.CurrentLeaderEpoch); c != codeNone {
			return c
		}
	}
	o, err := p.State()
	if err != nil {
		return code(err)
	}
	end := o.End
	if req.IsolationLevel == readCommitted {
		end = o.Stable
	}
	found := record.Offset(record.NoOffset)
	epoch := record.LeaderEpoch(record.NoLeaderEpoch)
	switch in.Timestamp {
	case timeLatest:
		found, epoch = end, o.Epoch
	case timeEarliest, timeEarliestLocal:
		found, epoch = o.Start, p.EpochAt(o.Start)
	case timeLatestTiered, timeEarliestPending:
	default:
		t, err := p.TimeOffset(in.Timestamp)
		if err != nil {
			return code(err)
		}
		if t.Offset < end {
			found, epoch, out.Timestamp = t.Offset, t.Epoch, t.Timestamp
		}
	}
	out.Offset, out.LeaderEpoch = int64(found), int32(epoch)
	return codeNone
}

// checkEpoch compares the leader epoch that a client knows with the one in force (KIP-320).
func checkEpoch(p *broker.Partition, known int32) int16 {
	switch current := int32(p.Epoch()); {
	case known < 0 || known == current:
		return codeNone
	case known < current:
		return codeFencedLeaderEpoch
	}
	return codeUnknownLeaderEpoch
}
