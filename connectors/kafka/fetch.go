package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

const (
	fetchBytes  = 256 << 10
	retryFirst  = 50 * time.Millisecond
	retryMost   = time.Second
	retryWithin = 10 * time.Second // then the engine hears of it, and says so
)

// fetcher reads one partition on a goroutine of its own and hands over what it
// finds, at most one fetch ahead.
type fetcher struct {
	client    *kafkago.Client
	topic     string
	partition int32
	next      int64
	end       int64 // read up to here; -1: for good
	maxWait   time.Duration
	onGap     OnGap
	out       chan<- fetched
}

// fetched is what one fetch brought.
type fetched struct {
	partition int32
	records   []connectors.Out
	next      int64 // after them, and after what was left out
	behind    int64 // records from next to the end of the partition
	skipped   int64 // offsets that are gone
	ended     bool
	err       error
}

func (f *fetcher) run(ctx context.Context) {
	var failing time.Time
	backoff := retryFirst
	for {
		got := fetched{partition: f.partition, next: f.next}
		if f.end >= 0 && f.next >= f.end {
			got.ended = true
			f.send(ctx, got)
			return
		}
		err := f.once(ctx, &got)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failing, backoff = time.Time{}, retryFirst
			moved := got.next != f.next || got.skipped > 0 // by records, or by what is left out
			f.next = got.next
			if moved && !f.send(ctx, got) {
				return
			}
			continue
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		if !temporary(err) || time.Since(failing) > retryWithin {
			f.send(ctx, fetched{partition: f.partition, next: f.next, err: err})
			return
		}
		if !pause(ctx, backoff/2+rand.N(backoff)) {
			return
		}
		backoff = min(2*backoff, retryMost)
	}
}

func (f *fetcher) send(ctx context.Context, got fetched) bool {
	select {
	case f.out <- got:
		return true
	case <-ctx.Done():
		return false
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once asks for records and waits for them at most maxWait.
func (f *fetcher) once(ctx context.Context, got *fetched) error {
	req := &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(f.maxWait.Milliseconds()), MinBytes: 1, MaxBytes: fetchBytes,
		IsolationLevel: 1, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: f.topic, Partitions: []fetch.RequestPartition{{
			Partition: f.partition, CurrentLeaderEpoch: -1, FetchOffset: f.next, LogStartOffset: -1, PartitionMaxBytes: fetchBytes,
		}}}},
	}
	ctx, cancel := context.WithTimeout(ctx, f.maxWait+requestTimeout)
	defer cancel()
	m, err := f.client.Transport.RoundTrip(ctx, f.client.Addr, req)
	if err != nil {
		return fmt.Errorf("kafka: fetch %s-%d: %w", f.topic, f.partition, err)
	}
	res, ok := m.(*fetch.Response)
	if !ok || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return fmt.Errorf("kafka: fetch %s-%d: the broker's answer is not about this partition", f.topic, f.partition)
	}
	p := &res.Topics[0].Partitions[0]
	if p.RecordSet.Records != nil {
		if c, ok := p.RecordSet.Records.(io.Closer); ok {
			defer c.Close()
		}
	}
	if res.ErrorCode != 0 {
		p.ErrorCode = res.ErrorCode
	}
	switch code := kafkago.Error(p.ErrorCode); code {
	case 0:
	case kafkago.OffsetOutOfRange:
		return f.gap(ctx, got)
	default:
		return fmt.Errorf("kafka: fetch %s-%d: %w", f.topic, f.partition, code)
	}
	if err := f.read(p, got); err != nil {
		return fmt.Errorf("kafka: %s-%d: read at offset %d: %w", f.topic, f.partition, got.next, err)
	}
	got.behind = max(0, p.LastStableOffset-got.next)
	return nil
}

// gap decides what becomes of an offset that does not exist.
func (f *fetcher) gap(ctx context.Context, got *fetched) error {
	o, err := offsets(ctx, f.client, f.topic, []int32{f.partition})
	if err != nil {
		return err
	}
	e := &GapError{Topic: f.topic, Partition: f.partition, Next: f.next, First: o[0].first, Last: o[0].last}
	switch f.onGap {
	case GoOnFromOldest:
		got.next = e.First
	case GoOnFromNewest:
		got.next = e.Last
	default:
		return connectors.Permanent(e)
	}
	got.skipped = max(1, got.next-f.next)
	return nil
}

// read takes the records out of an answer: from f.next on, without control
// batches and without those of aborted transactions.
func (f *fetcher) read(p *fetch.ResponsePartition, got *fetched) error {
	stream, _ := p.RecordSet.Records.(*protocol.RecordStream)
	if stream == nil {
		return nil
	}
	aborted := newAborted(p.AbortedTransactions)
	for _, batch := range stream.Records {
		var err error
		switch b := batch.(type) {
		case *protocol.ControlBatch:
			err = f.control(b, aborted, got)
		case *protocol.RecordBatch:
			aborted.upTo(b.BaseOffset)
			err = f.records(b, b.Attributes.Transactional() && aborted.has(b.ProducerID), got)
		default: // message sets of before Kafka 0.11
			err = f.records(batch, false, got)
		}
		if err != nil {
			return err
		}
	}
	if got.next == f.next && len(stream.Records) > 0 {
		// Compaction took the records at the end of a batch, and kafka-go does not
		// say where the batch ends: look behind this offset.
		got.next++
	}
	return nil
}

func (f *fetcher) control(b *protocol.ControlBatch, aborted *aborted, got *fetched) error {
	for {
		r, err := b.ReadControlRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		aborted.upTo(r.Offset)
		aborted.ended(b.ProducerID)
		got.next = max(got.next, r.Offset+1)
	}
}

func (f *fetcher) records(b protocol.RecordReader, skip bool, got *fetched) error {
	for {
		r, err := b.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Offset < got.next {
			continue
		}
		got.next = r.Offset + 1
		if skip || f.end >= 0 && r.Offset >= f.end {
			continue
		}
		o := connectors.Out{Timestamp: r.Time.UnixMilli(), Partition: record.Partition(f.partition)}
		if o.Key, err = protocol.ReadAll(r.Key); err != nil {
			return err
		}
		if o.Value, err = protocol.ReadAll(r.Value); err != nil {
			return err
		}
		for _, h := range r.Headers {
			o.Headers = append(o.Headers, record.Header{Key: h.Key, Value: slices.Clone(h.Value)})
		}
		got.records = append(got.records, o)
	}
}

// aborted are the aborted transactions of an answer.
type aborted struct {
	waiting []fetch.ResponseTransaction // by first offset
	open    map[int64]bool              // by producer id
}

func newAborted(list []fetch.ResponseTransaction) *aborted {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b fetch.ResponseTransaction) int { return int(a.FirstOffset - b.FirstOffset) })
	return &aborted{waiting: list, open: map[int64]bool{}}
}

// upTo opens the aborted transactions that begin at or before offset.
func (a *aborted) upTo(offset int64) {
	for len(a.waiting) > 0 && a.waiting[0].FirstOffset <= offset {
		a.open[a.waiting[0].ProducerID] = true
		a.waiting = a.waiting[1:]
	}
}

func (a *aborted) has(producer int64) bool { return a.open[producer] }

// ended is a marker: whatever the producer had open is over.
func (a *aborted) ended(producer int64) { delete(a.open, producer) }

// span is what a partition holds: first up to, not with, last.
type span struct{ first, last int64 }

// offsets asks what partitions hold; last is the last stable offset.
func offsets(ctx context.Context, client *kafkago.Client, topic string, partitions []int32) ([]span, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var ask []kafkago.OffsetRequest
	for _, p := range partitions {
		ask = append(ask, kafkago.FirstOffsetOf(int(p)), kafkago.LastOffsetOf(int(p)))
	}
	res, err := client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{topic: ask}, IsolationLevel: kafkago.ReadCommitted,
	})
	if err != nil {
		return nil, fmt.Errorf("kafka: offsets of topic %s: %w", topic, err)
	}
	found := map[int]kafkago.PartitionOffsets{}
	for _, o := range res.Topics[topic] {
		if o.Error != nil {
			return nil, fmt.Errorf("kafka: offsets of %s-%d: %w", topic, o.Partition, o.Error)
		}
		found[o.Partition] = o
	}
	spans := make([]span, len(partitions))
	for i, p := range partitions {
		o, ok := found[int(p)]
		if !ok {
			return nil, fmt.Errorf("kafka: offsets of %s-%d: the broker's answer leaves it out", topic, p)
		}
		spans[i] = span{o.FirstOffset, o.LastOffset}
	}
	return spans, nil
}
