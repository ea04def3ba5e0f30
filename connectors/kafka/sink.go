package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/millstream-io/millstream/connectors"
)

// SinkConfig is a topic to copy into. The zero value of a field is its documented default.
type SinkConfig struct {
	Connection
	Topic string // default: of the same name as ours
	// SamePartition keeps each record's partition; the topic must have at least as
	// many as ours. Default: by the key's hash as Java's clients do (murmur2), in
	// turn without a key.
	SamePartition bool
	// ByKey is for topics whose records are the latest values of their keys
	// (compacted ones): of several records of one Write with the same key only the
	// last is written, and a record without key is a dead letter. A repeat after a
	// crash then leaves every key with its right value.
	ByKey bool
	// Coordinates adds headers that say where each record stood in our log, so
	// that a reader can tell repeats: millstream.topic, .partition and .offset.
	Coordinates bool
	// Create makes a missing topic, with as many partitions as ours has and the
	// cluster's defaults.
	Create bool
	// Compression of the batches: "none" (default), "gzip", "snappy", "lz4" or "zstd".
	Compression string
	// MaxMessageBytes: a larger record is a dead letter. Default 1,000,000, just
	// below the brokers' default of max.message.bytes.
	MaxMessageBytes int
	// Linger is how long a batch of a partition waits for more records of the same
	// Write. Default 5 ms (kafka-go's own default is a second).
	Linger time.Duration
}

// Sink copies into a topic. See the package comment.
type Sink struct {
	cfg    SinkConfig
	topic  string
	logger *slog.Logger
	writer *kafkago.Writer
	close  func()

	messages []kafkago.Message
	index    []int          // of each message: its record
	last     map[string]int // ByKey: a key's last record
}

// NewSink makes a sink. Mistakes in cfg are reported by Open.
func NewSink(cfg SinkConfig) *Sink {
	if cfg.MaxMessageBytes <= 0 {
		cfg.MaxMessageBytes = 1_000_000
	}
	if cfg.Linger <= 0 {
		cfg.Linger = 5 * time.Millisecond
	}
	return &Sink{cfg: cfg, logger: slog.New(slog.DiscardHandler), last: map[string]int{}}
}

var codecs = map[string]kafkago.Compression{
	"": 0, "none": 0, "gzip": kafkago.Gzip, "snappy": kafkago.Snappy, "lz4": kafkago.Lz4, "zstd": kafkago.Zstd,
}

func (s *Sink) validate() error {
	err := s.cfg.validate()
	if _, ok := codecs[s.cfg.Compression]; !ok {
		err = errors.Join(err, fmt.Errorf("the compression is %q: expected none, gzip, snappy, lz4 or zstd", s.cfg.Compression))
	}
	if s.cfg.ByKey && s.cfg.SamePartition {
		err = errors.Join(err, errors.New("ByKey and SamePartition exclude each other: by key, the key's hash chooses the partition"))
	}
	return err
}

// Open connects and checks the topic.
func (s *Sink) Open(ctx context.Context, sc connectors.SinkContext) error {
	if err := s.validate(); err != nil {
		return connectors.Permanent(fmt.Errorf("kafka sink: %w", err))
	}
	if sc.Logger != nil {
		s.logger = sc.Logger
	}
	if s.topic = s.cfg.Topic; s.topic == "" {
		s.topic = sc.Topic.Name
	}
	client, close, err := s.cfg.open(s.topic)
	if err != nil {
		return err
	}
	s.close = close
	ask := expect
	if s.cfg.Create {
		ask = describe
	}
	d, err := ask(ctx, client, &s.cfg.Connection, s.topic)
	if err != nil {
		return err
	}
	if d.partitions == 0 {
		if !s.cfg.Create {
			return noTopic(&s.cfg.Connection, s.topic)
		}
		if err := s.create(ctx, client, sc.Partitions); err != nil {
			return err
		}
		// It may be somebody else's after all, with another number.
		if d, err = expect(ctx, client, &s.cfg.Connection, s.topic); err != nil {
			return err
		}
		if d.partitions == 0 {
			d.partitions = sc.Partitions
		}
	}
	if s.cfg.SamePartition && d.partitions < sc.Partitions {
		return connectors.Permanent(fmt.Errorf("kafka %s: %w: topic %s has %d there, %s has %d here: add partitions, or leave SamePartition out",
			&s.cfg.Connection, ErrPartitions, s.topic, d.partitions, sc.Topic.Name, sc.Partitions))
	}
	s.open(client)
	return nil
}

func (s *Sink) open(client *kafkago.Client) {
	s.writer = &kafkago.Writer{
		Addr: client.Addr, Topic: s.topic, Transport: client.Transport, RequiredAcks: kafkago.RequireAll,
		BatchTimeout: s.cfg.Linger, BatchSize: 10_000, BatchBytes: int64(s.cfg.MaxMessageBytes),
		MaxAttempts: 3, WriteBackoffMin: retryFirst, WriteBackoffMax: retryMost,
		Compression: codecs[s.cfg.Compression], Balancer: kafkago.Murmur2Balancer{},
		ErrorLogger: kafkago.LoggerFunc(func(format string, args ...any) {
			s.logger.Debug("kafka-go: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
		}),
	}
	if s.cfg.SamePartition {
		s.writer.Balancer = samePartition{}
	}
}

// samePartition takes the partition that the message came with.
type samePartition struct{}

func (samePartition) Balance(m kafkago.Message, _ ...int) int { return m.WriterData.(int) }

func (s *Sink) create(ctx context.Context, client *kafkago.Client, partitions int32) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{
		Topics: []kafkago.TopicConfig{{Topic: s.topic, NumPartitions: int(partitions), ReplicationFactor: -1}},
	})
	if err == nil {
		err = res.Errors[s.topic]
	}
	if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return fmt.Errorf("kafka %s: create topic %s: %w", &s.cfg.Connection, s.topic, err)
	}
	return nil
}

// Write returns when all in-sync replicas have every record.
func (s *Sink) Write(ctx context.Context, records []connectors.Record) error {
	for i := range records {
		if err := s.check(&records[i]); err != nil {
			if serr := s.send(ctx, records[:i]); serr != nil {
				return serr
			}
			return &connectors.RecordError{Index: i, Err: err}
		}
	}
	return s.send(ctx, records)
}

// check says what is wrong with a record that will never be taken.
func (s *Sink) check(r *connectors.Record) error {
	if s.cfg.ByKey && r.Key == nil {
		return ErrNoKey
	}
	size := len(r.Key) + len(r.Value) + 64
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	if size > s.cfg.MaxMessageBytes {
		return fmt.Errorf("kafka: a record of about %d bytes is larger than MaxMessageBytes (%d)", size, s.cfg.MaxMessageBytes)
	}
	return nil
}

// fill makes the messages: by key only of the last record of each.
func (s *Sink) fill(records []connectors.Record) {
	s.messages, s.index = s.messages[:0], s.index[:0]
	if s.cfg.ByKey {
		clear(s.last)
		for i := range records {
			s.last[string(records[i].Key)] = i
		}
	}
	for i := range records {
		r := &records[i]
		if s.cfg.ByKey && s.last[string(r.Key)] != i {
			continue
		}
		s.messages, s.index = append(s.messages, s.message(r)), append(s.index, i)
	}
}

func (s *Sink) message(r *connectors.Record) kafkago.Message {
	m := kafkago.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Timestamp), WriterData: int(r.Partition)}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafkago.Header{Key: h.Key, Value: h.Value})
	}
	if s.cfg.Coordinates {
		m.Headers = append(m.Headers,
			kafkago.Header{Key: connectors.HeaderTopic, Value: []byte(r.Topic)},
			kafkago.Header{Key: connectors.HeaderPartition, Value: fmt.Append(nil, r.Partition)},
			kafkago.Header{Key: connectors.HeaderOffset, Value: fmt.Append(nil, r.Offset)})
	}
	return m
}

// send writes records and says how far it came.
func (s *Sink) send(ctx context.Context, records []connectors.Record) error {
	if s.fill(records); len(s.messages) == 0 {
		return nil
	}
	err := s.writer.WriteMessages(ctx, s.messages...)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("kafka %s: write to topic %s: %w", &s.cfg.Connection, s.topic, err)
	var each kafkago.WriteErrors
	if !errors.As(err, &each) || len(each) != len(s.messages) {
		return err
	}
	first := slices.IndexFunc(each, func(err error) bool { return err != nil })
	switch {
	case first < 0:
		return err
	case refused(each[first]):
		return s.oneByOne(ctx, first)
	}
	return &connectors.PartialError{Done: s.index[first], Err: fmt.Errorf("kafka %s: write to topic %s: %w", &s.cfg.Connection, s.topic, each[first])}
}

// oneByOne finds the record for which a broker refuses a whole batch.
func (s *Sink) oneByOne(ctx context.Context, first int) error {
	for i := first; i < len(s.messages); i++ {
		err := s.writer.WriteMessages(ctx, s.messages[i])
		switch {
		case err == nil:
		case refused(err):
			return &connectors.RecordError{Index: s.index[i], Err: fmt.Errorf("kafka: topic %s refuses the record: %w", s.topic, err)}
		default:
			return &connectors.PartialError{Done: s.index[i], Err: err}
		}
	}
	return nil
}

// Close ends the connections.
func (s *Sink) Close() error {
	var err error
	if s.writer != nil {
		err = s.writer.Close()
		s.writer = nil
	}
	if s.close != nil {
		s.close()
		s.close = nil
	}
	return err
}
