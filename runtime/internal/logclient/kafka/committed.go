package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Committed implements logclient.Member.
func (m *member) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	if err := m.log.enter(ctx); err != nil {
		return nil, err
	}
	found := map[record.TopicPartition]logclient.Position{}
	if len(tps) == 0 {
		return found, nil
	}
	err := again(ctx, func() error { return m.fetch(ctx, tps, found) })
	if err != nil {
		return nil, m.log.failed(ctx, "fetch the positions of group "+m.group, m.log.denied(err, attempt{group: m.group}))
	}
	return found, nil
}

func (m *member) fetch(ctx context.Context, tps []record.TopicPartition, found map[record.TopicPartition]logclient.Position) error {
	clear(found)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = m.group, true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.group
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = name, parts[name]
		req.Topics = append(req.Topics, t)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = name, parts[name]
		if known, err := m.log.topics.get(ctx, name); err == nil {
			gt.TopicID = known.id
		}
		g.Topics = append(g.Topics, gt)
	}
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(ctx, m.log.cl)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	take := func(topic string, p int32, offset int64, epoch int32, metadata *string, code int16) error {
		if err := kerr.ErrorForCode(code); err != nil {
			return fmt.Errorf("%s-%d: %w", topic, p, m.log.denied(err, attempt{op: "Describe", topic: topic, group: m.group}))
		}
		if offset >= 0 {
			at := logclient.Position{Offset: record.Offset(offset), Epoch: record.LeaderEpoch(epoch)}
			if metadata != nil {
				at.Metadata = *metadata
			}
			found[record.TopicPartition{Topic: topic, Partition: record.Partition(p)}] = at
		}
		return nil
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := take(m.log.topics.name(t.Topic, t.TopicID), p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode); err != nil {
					return err
				}
			}
		}
	}
	if len(resp.Groups) > 0 {
		return nil
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := take(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}
