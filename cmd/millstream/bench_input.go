package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"strconv"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// The generator of the peers' syslog count: the same seed gives the same lines.
const (
	countTopicIn  = "syslog"
	countTopicOut = "counts"
	firstTimeMS   = 1795219200000
	stepMS        = 1
	invalidShare  = 0.30
	batchBytes    = 256 << 10
	countWindowMS = 60_000
)

var countUsers = []string{"root", "admin", "test", "oracle", "postgres", "git", "ubuntu", "pi", "guest", "ftp"}

// countInput is one round of the input: what it takes to write it again and
// again, and to fold it.
type countInput struct {
	records int
	hosts   int
	uniform bool
	seed    int64
	// Of every line that matches, in order: host and event time after firstTimeMS.
	matched []match
}

type match struct {
	host    uint32
	afterMS uint32 // ms after the round's first record
}

func newCountInput(o *countOptions) *countInput {
	in := &countInput{records: o.records, hosts: 1000, seed: o.seed}
	if o.keys > 0 {
		in.hosts, in.uniform = o.keys, true
	}
	return in
}

func (in *countInput) key(host uint32) []byte {
	if in.uniform {
		return fmt.Appendf(nil, "host-%07d", host)
	}
	return fmt.Appendf(nil, "host-%04d", host)
}

// generate calls emit for every record of the first round. Key and line are borrowed.
func (in *countInput) generate(emit func(ms int64, key, line []byte) error) error {
	in.matched = in.matched[:0]
	r := rand.New(rand.NewSource(in.seed))
	z := rand.NewZipf(r, 1.1, 10, uint64(in.hosts-1))
	keys := make([][]byte, in.hosts)
	for i := range keys {
		keys[i] = in.key(uint32(i))
	}
	var line []byte
	for i := range in.records {
		ms := firstTimeMS + int64(i)*stepMS
		host := uint32(0)
		if in.uniform {
			host = uint32(r.Intn(in.hosts))
		} else {
			host = uint32(z.Uint64())
		}
		invalid := r.Float64() < invalidShare
		line = appendLine(line[:0], r, ms, keys[host], invalid)
		if invalid {
			in.matched = append(in.matched, match{host, uint32(i * stepMS)})
		}
		if err := emit(ms, keys[host], line); err != nil {
			return err
		}
	}
	return nil
}

func appendLine(b []byte, r *rand.Rand, ms int64, host []byte, invalid bool) []byte {
	user := countUsers[r.Intn(len(countUsers))]
	pid := 1000 + r.Intn(60000)
	ip := r.Uint32()
	port := 1024 + r.Intn(60000)
	b = append(b, "<38>"...)
	b = time.UnixMilli(ms).UTC().AppendFormat(b, "Jan _2 15:04:05")
	b = append(b, ' ')
	b = append(b, host...)
	b = append(b, " sshd["...)
	b = strconv.AppendInt(b, int64(pid), 10)
	if invalid {
		b = append(b, "]: Failed password for invalid user "...)
	} else {
		b = append(b, "]: Accepted publickey for known user "...)
	}
	b = append(b, user...)
	b = append(b, " from "...)
	b = strconv.AppendInt(b, int64(ip>>24), 10)
	for _, shift := range []uint{16, 8, 0} {
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(ip>>shift&255), 10)
	}
	b = append(b, " port "...)
	b = strconv.AppendInt(b, int64(port), 10)
	return append(b, " ssh2"...)
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
	bar := progress(stderr, "preloading", int64(rounds)*int64(in.records))
	parts := make([]*broker.Partition, partitions)
	for i := range parts {
		if parts[i], err = b.Partition(record.TopicPartition{Topic: countTopicIn, Partition: record.Partition(i)}); err != nil {
			return err
		}
	}
	if err := in.firstRound(parts); err != nil {
		return err
	}
	bar.Add(in.records)
	ends := make([]record.Offset, len(parts))
	for i, p := range parts {
		ends[i] = p.Offsets().End
	}
	for r := 1; r < rounds; r++ {
		for i, p := range parts {
			if err := errors.Join(ctx.Err(), repeat(p, ends[i], int64(r)*in.roundMS())); err != nil {
				return err
			}
		}
		bar.Add(in.records)
	}
	for _, p := range parts {
		if err := p.Sync(); err != nil {
			return err
		}
	}
	return bar.Finish()
}

func (in *countInput) roundMS() int64 { return int64(in.records) * stepMS }

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
	err := in.generate(func(ms int64, key, line []byte) error {
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

// fold counts what the program must have counted, from the generator alone.
func (in *countInput) fold(rounds int) map[foldKey]int64 {
	counts := map[foldKey]int64{}
	for r := range rounds {
		base := firstTimeMS + int64(r)*in.roundMS()
		for _, m := range in.matched {
			ms := base + int64(m.afterMS)
			counts[foldKey{m.host, ms - ms%countWindowMS}]++
		}
	}
	return counts
}

type foldKey struct {
	host  uint32
	start int64
}
