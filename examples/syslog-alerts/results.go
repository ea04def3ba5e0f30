package main

import (
	"context"
	"fmt"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

const deadLettersTopic = appName + ".dead-letters"

// results reads the log of a run that has ended.
type results struct {
	log *broker.Broker
}

func openResults(dir string) (*results, error) {
	log, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return &results{log}, nil
}

func (r *results) close() error { return r.log.Close() }

// each calls fn for every committed record of a topic at or after from, one
// partition after the other, and returns where they end.
func (r *results) each(topic string, from map[record.TopicPartition]broker.CommittedOffset, fn func(*record.View) error) (map[record.TopicPartition]broker.CommittedOffset, error) {
	ends := map[record.TopicPartition]broker.CommittedOffset{}
	t, ok := r.log.Topic(topic)
	if !ok {
		return ends, nil
	}
	for p := range record.Partition(t.Partitions) {
		tp := record.TopicPartition{Topic: topic, Partition: p}
		part, err := r.log.Partition(tp)
		if err != nil {
			return nil, err
		}
		at := max(from[tp].Offset, part.Offsets().Start)
		for end := part.Offsets().Stable; at < end; {
			if at, err = readChunk(part, at, fn); err != nil {
				return nil, fmt.Errorf("%s-%d: %w", topic, p, err)
			}
		}
		ends[tp] = broker.CommittedOffset{Offset: at, Epoch: record.NoLeaderEpoch}
	}
	return ends, nil
}

// readChunk calls fn for the records of one chunk and returns the next offset.
func readChunk(part *broker.Partition, at record.Offset, fn func(*record.View) error) (record.Offset, error) {
	chunk, err := part.Read(at, broker.ReadOptions{Committed: true})
	if err != nil {
		return at, err
	}
	defer chunk.Release()
	it := record.NewIterator(nil, record.ReadOptions{})
	defer it.Release()
	for {
		_, raw, ok := chunk.NextBatch()
		if !ok {
			break
		}
		it.Reset(raw, record.ReadOptions{})
		for v := (record.View{}); it.Next(&v); {
			if v.Offset < at {
				continue
			}
			if err := fn(&v); err != nil {
				return at, err
			}
		}
		if err := it.Err(); err != nil {
			return at, err
		}
	}
	return chunk.Next, chunk.Err()
}

// printed is the group whose offsets say which alerts earlier runs have printed.
var printed = broker.GroupMember{Group: appName + "-printed", Generation: -1}

// unprinted calls fn for the alerts that no earlier run has printed; done says
// that they are printed now.
func (r *results) unprinted(ctx context.Context, fn func(*record.View) error) (done func() error, err error) {
	from, err := r.log.FetchOffsets(ctx, printed.Group, nil, true)
	if err != nil {
		return nil, err
	}
	ends, err := r.each(alertsTopic, from, fn)
	if err != nil {
		return nil, err
	}
	return func() error { return r.log.CommitOffsets(printed, ends) }, nil
}

// count is the number of committed records of a topic.
func (r *results) count(topic string) (n int64, err error) {
	_, err = r.each(topic, nil, func(*record.View) error { n++; return nil })
	return n, err
}
