package main

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/millstream-io/millstream/internal/sysloglines"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

const (
	countTopicIn  = "syslog"
	countTopicOut = "counts"
	batchBytes    = 256 << 10
)

// countInput is the input as the embedded log takes it.
type countInput struct{ sysloglines.Input }

func newCountInput(o *countOptions) *countInput {
	in := &countInput{sysloglines.Input{Records: o.records, Hosts: 1000, Seed: o.seed}}
	if o.keys > 0 {
		in.Hosts, in.Uniform = o.keys, true
	}
	return in
}

// preload writes rounds of the input into a new topic and syncs it. Rounds
// after the first are the first one's batches with their times moved on (the
// text of the lines, and so the work of reading them, stays the same).
func (in *countInput) preload(ctx context.Context, b *broker.Broker, partitions int32, rounds int, stderr io.Writer) error {
	_, err := b.CreateTopic(broker.TopicSpec{Name: countTopicIn, Partitions: partitions,
		Configs: map[string]string{"retention.ms": "-1"}})
	if err != nil {
		return err
	}
	bar := progress(stderr, "preloading", int64(rounds)*int64(in.Records))
	parts := make([]*broker.Partition, partitions)
	for i := range parts {
		if parts[i], err = b.Partition(record.TopicPartition{Topic: countTopicIn, Partition: record.Partition(i)}); err != nil {
			return err
		}
	}
	if err := in.firstRound(parts); err != nil {
		return err
	}
	bar.Add(in.Records)
	ends := make([]record.Offset, len(parts))
	for i, p := range parts {
		ends[i] = p.Offsets().End
	}
	for r := 1; r < rounds; r++ {
		for i, p := range parts {
			if err := errors.Join(ctx.Err(), repeat(p, ends[i], int64(r)*in.RoundMS())); err != nil {
				return err
			}
		}
		bar.Add(in.Records)
	}
	for _, p := range parts {
		if err := p.Sync(); err != nil {
			return err
		}
	}
	return bar.Finish()
}

func (in *countInput) firstRound(parts []*broker.Partition) error {
	builders := make([]*record.Builder, len(parts))
	for i := range builders {
		builders[i] = record.NewBuilder()
	}
	flush := func(i int) error {
		batch, err := builders[i].Finish(record.None)
		if err != nil {
			return err
		}
		_, err = parts[i].Produce(batch, broker.AcksLeader)
		builders[i].Reset()
		return err
	}
	err := in.Generate(func(ms int64, key, line []byte) error {
		i := record.PartitionForKey(key, int32(len(parts)))
		v := record.View{Timestamp: ms, Key: key, Value: line}
		if b := builders[i]; b.Count() > 0 && b.SizeWith(&v) > batchBytes {
			if err := flush(int(i)); err != nil {
				return err
			}
		}
		builders[i].Append(&v)
		return nil
	})
	for i, b := range builders {
		if b.Count() > 0 {
			err = errors.Join(err, flush(i))
		}
	}
	return err
}

// Places in a batch's header: docs/format/batch.md, "Header".
const (
	crcAt, crcFrom, baseTimestampAt, maxTimestampAt = 17, 21, 27, 35
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// repeat appends the batches below end once more, their times later by shiftMS.
func repeat(p *broker.Partition, end record.Offset, shiftMS int64) error {
	for from := record.Offset(0); from < end; {
		c, err := p.Read(from, broker.ReadOptions{MaxBytes: 1 << 20})
		if err != nil {
			return err
		}
		batches := c.Data
		size := 0
		for rest := batches; len(rest) > 0; {
			h, err := record.ParseHeader(rest)
			if err != nil {
				return err
			}
			if h.BaseOffset >= end {
				break
			}
			b := rest[:h.Size()]
			binary.BigEndian.PutUint64(b[baseTimestampAt:], uint64(h.BaseTimestamp+shiftMS))
			binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(h.MaxTimestamp+shiftMS))
			binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[crcFrom:], castagnoli))
			from = h.NextOffset()
			size += len(b)
			rest = rest[len(b):]
		}
		_, err = p.Produce(batches[:size], broker.AcksLeader)
		c.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
