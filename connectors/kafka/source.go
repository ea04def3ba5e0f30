package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/millstream-io/millstream/connectors"
)

// OnGap says what a source does when records are gone before it read them.
type OnGap uint8

const (
	// StopAtGap ends the run with a *GapError: somebody has to decide.
	StopAtGap OnGap = iota
	// GoOnFromOldest and GoOnFromNewest go on with what there is; what is missing
	// is logged and counted as dropped.
	GoOnFromOldest
	GoOnFromNewest
)

// SourceConfig is a topic to copy. The zero value of a field is its documented default.
type SourceConfig struct {
	Connection
	Topic string // required
	// FromNewest begins, the very first time, with what comes from then on.
	// Default: with the oldest record.
	FromNewest bool
	// Bounded ends the source where the topic ended when it was opened.
	Bounded bool
	// Repartition spreads records by key over however many partitions the topic on
	// our side has. Default: partitions are kept, and both sides must have as many.
	Repartition bool
	OnGap       OnGap
	// MaxWait is how long a broker may hold a fetch that finds nothing; a record
	// that comes ends the wait at once. Default 500 ms.
	MaxWait time.Duration
}

// refreshEvery is how often a source looks for new partitions.
const refreshEvery = 30 * time.Second

// Source copies a topic. See the package comment.
type Source struct {
	cfg    SourceConfig
	logger *slog.Logger

	position position
	behind   []int64 // by partition
	skipped  int64
	ended    int
	results  chan fetched
	stop     context.CancelFunc
	running  sync.WaitGroup
	client   *kafkago.Client
	close    func()
	opened   time.Time // the last look at the number of partitions
}

// NewSource makes a source. Mistakes in cfg are reported by Open.
func NewSource(cfg SourceConfig) *Source {
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 500 * time.Millisecond
	}
	return &Source{cfg: cfg, logger: slog.New(slog.DiscardHandler)}
}

// Open connects, checks the topic and starts reading after position.
func (s *Source) Open(ctx context.Context, sc connectors.SourceContext, pos []byte) error {
	if err := errors.Join(s.cfg.validate(), s.needTopic()); err != nil {
		return connectors.Permanent(fmt.Errorf("kafka source: %w", err))
	}
	if sc.Logger != nil {
		s.logger = sc.Logger
	}
	var err error
	if s.client, s.close, err = s.cfg.open(s.cfg.Topic); err != nil {
		return err
	}
	d, err := expect(ctx, s.client, &s.cfg.Connection, s.cfg.Topic)
	if err != nil {
		return err
	}
	if d.partitions == 0 {
		return noTopic(&s.cfg.Connection, s.cfg.Topic)
	}
	if !s.cfg.Repartition && sc.Partitions != d.partitions {
		return connectors.Permanent(fmt.Errorf("kafka %s: %w: topic %s has %d there, %s has %d here: say engine.Source{Partitions: %d} for a new directory, or set SourceConfig.Repartition",
			&s.cfg.Connection, ErrPartitions, s.cfg.Topic, d.partitions, sc.Topic.Name, sc.Partitions, d.partitions))
	}
	return s.start(ctx, d, pos)
}

func (s *Source) needTopic() error {
	if s.cfg.Topic == "" {
		return errors.New("no Topic: name the one to read")
	}
	return nil
}

// start begins to read every partition where the position says.
func (s *Source) start(ctx context.Context, d described, pos []byte) error {
	partitions := make([]int32, d.partitions)
	for i := range partitions {
		partitions[i] = int32(i)
	}
	spans, err := offsets(ctx, s.client, s.cfg.Topic, partitions)
	if err != nil {
		return connectors.Transient(err)
	}
	if s.position, err = s.resume(d, spans, pos); err != nil {
		return connectors.Permanent(err)
	}
	ctx, s.stop = context.WithCancel(context.Background())
	s.results, s.ended = make(chan fetched), 0
	s.behind, s.opened = make([]int64, d.partitions), time.Now()
	for _, p := range partitions {
		f := &fetcher{
			client: s.client, topic: s.cfg.Topic, partition: p, next: s.position.next[p], end: -1,
			maxWait: s.cfg.MaxWait, onGap: s.cfg.OnGap, out: s.results,
		}
		s.behind[p] = max(0, spans[p].last-f.next)
		if s.cfg.Bounded {
			f.end = spans[p].last
		}
		s.running.Go(func() { f.run(ctx) })
	}
	return nil
}

// resume finds where to go on: partitions that are new since then from their start.
func (s *Source) resume(d described, spans []span, pos []byte) (position, error) {
	p := position{cluster: d.cluster, topic: s.cfg.Topic}
	if pos != nil {
		old, err := decodePosition(pos)
		if err != nil {
			return p, err
		}
		if old.cluster != d.cluster || old.topic != s.cfg.Topic {
			return p, fmt.Errorf("kafka %s: %w: it is of topic %s of cluster %s, this is topic %s of cluster %s: give the source a new name to begin anew",
				&s.cfg.Connection, ErrOtherCluster, old.topic, old.cluster, s.cfg.Topic, d.cluster)
		}
		if len(old.next) > len(spans) {
			return p, fmt.Errorf("kafka %s: %w: topic %s had %d and now has %d: it was made anew; give the source a new name to begin anew",
				&s.cfg.Connection, ErrPartitions, s.cfg.Topic, len(old.next), len(spans))
		}
		p.next = old.next
	}
	for i := len(p.next); i < len(spans); i++ {
		next := spans[i].first
		if s.cfg.FromNewest && pos == nil {
			next = spans[i].last
		}
		p.next = append(p.next, next)
	}
	return p, nil
}

// batchBytes is about how much one Read returns.
const batchBytes = 256 << 10

// Read waits for records.
func (s *Source) Read(ctx context.Context, out *connectors.Batch) error {
	for out.Len() == 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.ended == len(s.position.next) {
			return io.EOF
		}
		if err := s.lookForPartitions(ctx); err != nil {
			return err
		}
		refresh := time.NewTimer(refreshEvery)
		select {
		case f := <-s.results:
			refresh.Stop()
			if err := s.take(f, out); err != nil {
				return err
			}
		case <-refresh.C:
		case <-ctx.Done():
			refresh.Stop()
			return ctx.Err()
		}
	}
	for out.Bytes() < batchBytes {
		select {
		case f := <-s.results:
			if err := s.take(f, out); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// take adds what a partition brought.
func (s *Source) take(f fetched, out *connectors.Batch) error {
	if f.err != nil {
		return f.err
	}
	if f.ended {
		s.ended++
		s.behind[f.partition] = 0
		return nil
	}
	if f.skipped > 0 {
		s.skipped += f.skipped
		s.logger.Warn("records are gone before they were read", "topic", s.cfg.Topic, "partition", f.partition, "from", s.position.next[f.partition], "to", f.next)
	}
	for _, r := range f.records {
		if s.cfg.Repartition {
			r.Partition = -1
		}
		out.Add(r)
	}
	s.position.next[f.partition], s.behind[f.partition] = f.next, f.behind
	return nil
}

// lookForPartitions ends this life of the source when the topic has more
// partitions than it reads: the engine opens it again.
func (s *Source) lookForPartitions(ctx context.Context) error {
	if s.cfg.Bounded || time.Since(s.opened) < refreshEvery {
		return nil
	}
	s.opened = time.Now()
	d, err := describe(ctx, s.client, &s.cfg.Connection, s.cfg.Topic)
	if err != nil || int(d.partitions) <= len(s.position.next) {
		return nil // the fetchers will tell what is wrong
	}
	return fmt.Errorf("kafka %s: topic %s has %d partitions now, %d before: opening it again", &s.cfg.Connection, s.cfg.Topic, d.partitions, len(s.position.next))
}

// Position is the next offset of every partition.
func (s *Source) Position() []byte { return s.position.encode() }

// Measures tell how far the source is behind.
func (s *Source) Measures() connectors.Measures {
	m := connectors.Measures{LagBytes: -1, Dropped: s.skipped}
	for _, b := range s.behind {
		m.LagRecords += b
	}
	return m
}

// Close ends the goroutines and the connections.
func (s *Source) Close() error {
	if s.stop != nil {
		s.stop()
		s.running.Wait()
		s.stop = nil
	}
	if s.close != nil {
		s.close()
		s.close = nil
	}
	return nil
}
