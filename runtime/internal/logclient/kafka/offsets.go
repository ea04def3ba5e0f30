package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Special timestamps of ListOffsets.
const (
	latestTimestamp   = -1
	earliestTimestamp = -2
)

// Offsets implements logclient.Log. The epoch of an offset that was found by time
// is that of the record there, not of the one before.
func (l *Log) Offsets(ctx context.Context, tps []record.TopicPartition, at logclient.At) ([]logclient.OffsetEpoch, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	look := l.list
	if at.Kind == logclient.AtEndOfEpoch {
		look = l.endOfEpoch
	}
	found := map[record.TopicPartition]logclient.OffsetEpoch{}
	began := time.Now()
	err := again(ctx, func() error {
		var left []record.TopicPartition
		for _, tp := range tps {
			if _, is := found[tp]; !is {
				left = append(left, tp)
			}
		}
		if len(left) == 0 {
			return nil
		}
		err := look(ctx, left, at, found)
		if errors.Is(err, kerr.UnknownTopicOrPartition) && time.Since(began) < hearsay && l.exist(ctx, left) {
			return fmt.Errorf("%w: %v", kerr.NotLeaderForPartition, err)
		}
		return err
	})
	if err != nil {
		return nil, l.failed(ctx, "look up offsets", err)
	}
	if at.Kind == logclient.AtTime {
		if err := l.endsForNone(ctx, tps, found); err != nil {
			return nil, err
		}
	}
	all := make([]logclient.OffsetEpoch, len(tps))
	for i, tp := range tps {
		all[i] = found[tp]
	}
	return all, nil
}

// exist says whether the cluster has the partitions, as far as any broker knows.
func (l *Log) exist(ctx context.Context, tps []record.TopicPartition) bool {
	names, _ := byTopic(tps)
	known, err := l.topics.ask(ctx, names)
	return err == nil && !slices.ContainsFunc(tps, func(tp record.TopicPartition) bool {
		t := known[tp.Topic]
		return t == nil || int(tp.Partition) >= len(t.parts)
	})
}

// endsForNone replaces what was not found by the end.
func (l *Log) endsForNone(ctx context.Context, tps []record.TopicPartition, found map[record.TopicPartition]logclient.OffsetEpoch) error {
	var none []record.TopicPartition
	for _, tp := range tps {
		if found[tp].Offset < 0 {
			none = append(none, tp)
		}
	}
	if len(none) == 0 {
		return nil
	}
	ends, err := l.Offsets(ctx, none, logclient.At{Kind: logclient.AtEnd})
	for i := range ends {
		found[none[i]] = ends[i]
	}
	return err
}

// Committed implements logclient.Log.
func (l *Log) Committed(ctx context.Context, group string, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	nobody := member{log: l, group: group}
	return nobody.Committed(ctx, tps)
}

// byTopic groups partitions.
func byTopic(tps []record.TopicPartition) (names []string, parts map[string][]int32) {
	parts = map[string][]int32{}
	for _, tp := range tps {
		if parts[tp.Topic] == nil {
			names = append(names, tp.Topic)
		}
		parts[tp.Topic] = append(parts[tp.Topic], int32(tp.Partition))
	}
	sort.Strings(names)
	return names, parts
}

func (l *Log) list(ctx context.Context, tps []record.TopicPartition, at logclient.At, found map[record.TopicPartition]logclient.OffsetEpoch) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	ts := int64(latestTimestamp)
	switch at.Kind {
	case logclient.AtStart:
		ts = earliestTimestamp
	case logclient.AtStable:
		req.IsolationLevel = 1
	case logclient.AtTime:
		ts = at.Timestamp
		if ts < 0 {
			ts = 0 // no record is older, and below are special values
		}
	case logclient.AtEnd:
	default:
		return fmt.Errorf("kind of offset %d, expected AtStart to AtEndOfEpoch", at.Kind)
	}
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for _, p := range parts[name] {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = p, -1, ts
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				failed = worse(failed, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, l.denied(err, attempt{op: "Describe", topic: t.Topic})))
				continue
			}
			o := logclient.OffsetEpoch{Offset: record.Offset(p.Offset), Epoch: record.LeaderEpoch(p.LeaderEpoch)}
			if at.Kind == logclient.AtStart || o.Offset == 0 {
				o.Epoch = record.NoLeaderEpoch
			}
			found[record.TopicPartition{Topic: t.Topic, Partition: record.Partition(p.Partition)}] = o
		}
	}
	return failed
}

// worse keeps an error that asking again does not mend.
func worse(a, b error) error {
	if a == nil || moving(a) {
		return b
	}
	return a
}

func (l *Log) endOfEpoch(ctx context.Context, tps []record.TopicPartition, at logclient.At, found map[record.TopicPartition]logclient.OffsetEpoch) error {
	if at.Epoch < 0 {
		for _, tp := range tps {
			found[tp] = logclient.OffsetEpoch{Offset: record.NoOffset, Epoch: record.NoLeaderEpoch}
		}
		return nil
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = name
		for _, p := range parts[name] {
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = p, -1, int32(at.Epoch)
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				failed = worse(failed, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, l.denied(err, attempt{op: "Describe", topic: t.Topic})))
				continue
			}
			o := logclient.OffsetEpoch{Offset: record.Offset(p.EndOffset), Epoch: record.LeaderEpoch(p.LeaderEpoch)}
			if p.EndOffset < 0 {
				o = logclient.OffsetEpoch{Offset: record.NoOffset, Epoch: record.NoLeaderEpoch}
			}
			found[record.TopicPartition{Topic: t.Topic, Partition: record.Partition(p.Partition)}] = o
		}
	}
	return failed
}

// DeleteBefore implements logclient.Log.
func (l *Log) DeleteBefore(ctx context.Context, before map[record.TopicPartition]record.Offset) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	var tps []record.TopicPartition
	for tp := range before {
		tps = append(tps, tp)
	}
	ends, err := l.Offsets(ctx, tps, logclient.At{Kind: logclient.AtEnd})
	if err != nil {
		return err
	}
	for i, tp := range tps { // all are checked before the first is touched
		if o := before[tp]; o < 0 || o > ends[i].Offset {
			return l.outOfRange(ctx, tp, o)
		}
	}
	names, parts := byTopic(tps)
	err = again(ctx, func() error {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 30_000
		for _, name := range names {
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic = name
			for _, p := range parts[name] {
				rp := kmsg.NewDeleteRecordsRequestTopicPartition()
				rp.Partition, rp.Offset = p, int64(before[record.TopicPartition{Topic: name, Partition: record.Partition(p)}])
				t.Partitions = append(t.Partitions, rp)
			}
			req.Topics = append(req.Topics, t)
		}
		resp, err := req.RequestWith(ctx, l.cl)
		if err != nil {
			return err
		}
		var failed error
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = worse(failed, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, l.denied(err, attempt{op: "Delete", topic: t.Topic})))
				}
			}
		}
		return failed
	})
	if err != nil {
		return l.failed(ctx, "delete records", err)
	}
	return nil
}

// outOfRange tells of an offset that a partition does not have.
func (l *Log) outOfRange(ctx context.Context, tp record.TopicPartition, o record.Offset) error {
	out := &logclient.OffsetOutOfRangeError{TopicPartition: tp, Offset: o}
	one := []record.TopicPartition{tp}
	start, err := l.Offsets(ctx, one, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return err
	}
	end, err := l.Offsets(ctx, one, logclient.At{Kind: logclient.AtEnd})
	if err != nil {
		return err
	}
	out.Start, out.End = start[0].Offset, end[0].Offset
	return out
}

// Hold implements logclient.Log: a cluster's cleaner takes no orders. A
// checkpoint that is older than half of delete.retention.ms is not used (I2).
func (l *Log) Hold(record.TopicPartition, record.Offset) {}
