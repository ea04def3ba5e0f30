package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/log/record"
)

// eachOnCluster is each where the log is a cluster's.
func eachOnCluster(ctx context.Context, brokers []string, topic string, fn func(*record.View) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords()) // a partition may end with one
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	left := map[int32]int64{} // where partitions end that are not read to there
	from := map[int32]kgo.Offset{}
	starts.Each(func(start kadm.ListedOffset) {
		if end, ok := ends.Lookup(topic, start.Partition); ok && start.Offset < end.Offset {
			left[start.Partition], from[start.Partition] = end.Offset, kgo.NewOffset().At(start.Offset)
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			end, reads := left[r.Partition]
			if !reads || r.Offset >= end {
				continue
			}
			if !r.Attrs.IsControl() {
				v := record.View{Offset: record.Offset(r.Offset), Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
				for _, h := range r.Headers {
					v.Headers = append(v.Headers, record.Header{Key: h.Key, Value: h.Value})
				}
				if err := fn(&v); err != nil {
					return fmt.Errorf("%s-%d: offset %d: %w", topic, r.Partition, r.Offset, err)
				}
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}
