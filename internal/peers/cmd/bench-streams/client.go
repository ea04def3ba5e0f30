package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/sysloglines"
)

// partitions of every topic.
const partitions = 6

// client is the bench's own way to the broker: topics, input, results.
type client struct {
	addr  string
	cl    *kgo.Client
	admin *kadm.Client
}

func newClient(addr string) (*client, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	return &client{addr, cl, kadm.NewClient(cl)}, nil
}

func (c *client) Close() { c.cl.Close() }

// create makes a topic and waits until the broker tells clients of it.
func (c *client) create(ctx context.Context, topic string) error {
	if _, err := c.admin.CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return err
	}
	return each(ctx, func() (bool, error) {
		found, err := c.admin.ListTopics(ctx, topic)
		return found.Has(topic) && len(found[topic].Partitions) == partitions, err
	})
}

// ends are the last stable offsets of a topic's partitions.
func (c *client) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	listed, err := c.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, err
}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	}
	return kgo.NoCompression(), fmt.Errorf("-compression is %q, expected none, lz4, snappy, zstd or gzip", name)
}

// preload writes the input into a new topic.
func (c *client) preload(ctx context.Context, topic, compression string, in *sysloglines.Input) error {
	if err := c.create(ctx, topic); err != nil {
		return err
	}
	squeeze, err := codec(compression)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(squeeze),
		kgo.ProducerBatchMaxBytes(256<<10), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(200_000),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))) // Kafka's own hash of the key
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Int64
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Add(1)
		}
	}
	err = in.Generate(func(ms int64, key, line []byte) error {
		kv := append(append(make([]byte, 0, len(key)+len(line)), key...), line...)
		cl.Produce(ctx, &kgo.Record{Key: kv[:len(key)], Value: kv[len(key):], Timestamp: time.UnixMilli(ms)}, done)
		return ctx.Err()
	})
	if err = errors.Join(err, cl.Flush(ctx)); err == nil && failed.Load() > 0 {
		err = fmt.Errorf("%d records of %s were refused", failed.Load(), topic)
	}
	return err
}

// eachResult reads the committed results that a topic has now.
func (c *client) eachResult(ctx context.Context, topic string, fn func(*kgo.Record) error) error {
	ends, err := c.ends(ctx, topic)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().At(0)
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(from) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() && err == nil {
				err = fn(r)
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(from, r.Partition)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// window parses the key of a result: the host, then the window's start, as
// Kafka Streams and Millstream write it.
func window(r *kgo.Record) (w sysloglines.Window, count int64, err error) {
	host := len(r.Key) - 8
	if host <= 0 || len(r.Value) != 8 {
		return w, 0, fmt.Errorf("%s-%d offset %d: not a windowed count", r.Topic, r.Partition, r.Offset)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(string(r.Key[:host]), "host-"))
	return sysloglines.Window{Host: uint32(n), StartMS: int64(binary.BigEndian.Uint64(r.Key[host:]))}, int64(binary.BigEndian.Uint64(r.Value)), err
}

// verify compares each window's last count with the fold.
func (c *client) verify(ctx context.Context, topic string, want map[sysloglines.Window]int64) error {
	got := make(map[sysloglines.Window]int64, len(want))
	err := c.eachResult(ctx, topic, func(r *kgo.Record) error {
		w, n, err := window(r)
		got[w] = n
		return err
	})
	if err != nil {
		return err
	}
	for w, n := range want {
		if got[w] != n {
			return fmt.Errorf("%s: host %d, window %d: counted %d, expected %d", topic, w.Host, w.StartMS, got[w], n)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d windows, expected %d", topic, len(got), len(want))
	}
	return nil
}
