package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

// onDisk is a measurement of acknowledgements that are on disk: several
// producers with small batches, each a connection of its own that waits for
// its answers. Kafka with flush.messages=1 syncs each batch before the next one
// of that partition; ours syncs once for all who wait.
type onDisk struct {
	name      string
	producers int
	size      int
	linger    time.Duration
}

// diskBatch is the largest batch of these producers, Kafka's default.
const diskBatch = 16 << 10

// diskTime is how long each run sends.
const diskTime = 3 * time.Second

func onDiskMeasurements() []onDisk {
	var all []onDisk
	for _, size := range []int{100, 1000} {
		for _, producers := range []int{1, 4, 16} {
			for _, linger := range []time.Duration{0, 5 * time.Millisecond} {
				name := fmt.Sprintf("on disk, batches of 16 KiB, %d B, %d producers, linger %v", size, producers, linger)
				all = append(all, onDisk{name, producers, size, linger})
			}
		}
	}
	return all
}

// disk measures one of them by turns against both brokers.
func (b *bench) disk(ctx context.Context, m onDisk) error {
	var kafka, ours []sample
	for range b.rounds {
		k, err := b.diskOnce(ctx, m, peer{b.kafka.Addr(), b.kafka.PID(), []string{"flush.messages", "1"}})
		if err != nil {
			return fmt.Errorf("against Kafka: %w", err)
		}
		o, err := b.diskOnce(ctx, m, peer{b.serve.Addr(), b.serve.PID(), []string{"millstream.flush", "commit"}})
		if err != nil {
			return fmt.Errorf("against millstream: %w", err)
		}
		kafka, ours = append(kafka, k), append(ours, o)
	}
	b.add(measurement{name: m.name}, kafka, ours, nil)
	return nil
}

// diskOnce sends for diskTime and counts what was acknowledged.
func (b *bench) diskOnce(ctx context.Context, m onDisk, p peer) (sample, error) {
	if err := freshTopic(ctx, p); err != nil {
		return nil, err
	}
	before, err := peers.CPUSeconds(p.pid)
	if err != nil {
		return nil, err
	}
	var acknowledged atomic.Int64
	errs := make([]error, m.producers)
	var wg sync.WaitGroup
	began := time.Now()
	sending, cancel := context.WithTimeout(ctx, diskTime)
	defer cancel()
	for i := range m.producers {
		wg.Go(func() { errs[i] = produceFor(sending, m, p.addr, &acknowledged) })
	}
	wg.Wait()
	seconds := time.Since(began).Seconds()
	after, err := peers.CPUSeconds(p.pid)
	if err := errors.Join(errors.Join(errs...), err); err != nil {
		return nil, err
	}
	bytes := float64(acknowledged.Load()) * float64(m.size)
	return sample{m.name + ", throughput": bytes / seconds / 1e6, m.name + ", broker's CPU": (after - before) / (bytes / 1e9)}, nil
}

// produceFor is one producer.
func produceFor(ctx context.Context, m onDisk, addr string, acknowledged *atomic.Int64) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(m.linger),
		kgo.ProducerBatchMaxBytes(diskBatch), kgo.MaxBufferedRecords(10_000), kgo.MaxBufferedBytes(1<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	value := make([]byte, m.size)
	for ctx.Err() == nil && failed.Load() == nil {
		// Not ctx: what is under way at the end is waited for.
		cl.Produce(context.Background(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
				return
			}
			acknowledged.Add(1)
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// freshTopic makes the topic anew with the peer's configuration, a name and a value.
func freshTopic(ctx context.Context, p peer) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if _, err := admin.DeleteTopic(ctx, topic); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := admin.CreateTopic(ctx, 6, 1, map[string]*string{p.configs[0]: &p.configs[1]}, topic)
		if !errors.Is(err, kerr.TopicAlreadyExists) { // still being deleted
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// disks runs those that were asked for.
func (b *bench) disks(ctx context.Context) error {
	for _, m := range onDiskMeasurements() {
		if !b.only.MatchString(m.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", m.name)
		if err := b.disk(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
