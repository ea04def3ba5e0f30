package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newBenchLatency() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "Measure how long records take through a broker at a given rate",
		Long: `Sends records at --rate for --duration and reads them at the same time. A record's
time counts from when it was due, so a broker that stalls is not excused. The
first tenth is not counted.`,
		Example: "  millstream bench latency --rate 10000 --duration 30s --recreate",
		Args:    exactly(0, "no arguments"),
		RunE:    runBenchLatency,
	}
	addBenchTopicFlags(cmd)
	cmd.Flags().Int64("rate", 10_000, "records per second")
	cmd.Flags().Duration("duration", 20*time.Second, "how long")
	cmd.Flags().Duration("linger", 0, "how long a batch waits for more records")
	return cmd
}

// latencyResult is the one JSON object on stdout.
type latencyResult struct {
	Records          int64     `json:"records"`  // sent
	Verified         bool      `json:"verified"` // each was read once
	RecordSize       int       `json:"record_size"`
	Partitions       int32     `json:"partitions"`
	Acks             string    `json:"acks"`
	Rate             int64     `json:"rate"`
	RecordsPerSecond float64   `json:"records_per_second"`
	Acknowledged     latencies `json:"acknowledged"`
	EndToEnd         latencies `json:"end_to_end"`
}

func runBenchLatency(cmd *cobra.Command, _ []string) error {
	f := cmd.Flags()
	var r latencyResult
	r.Rate, _ = f.GetInt64("rate")
	r.Acks, _ = f.GetString("acks")
	duration, _ := f.GetDuration("duration")
	linger, _ := f.GetDuration("linger")
	if r.Rate < 1 || duration < time.Second || linger < 0 {
		return usagef("--rate must be 1 or more, --duration at least 1s, --linger not negative")
	}
	opts, err := producerOptions(cmd)
	if err != nil {
		return err
	}
	producer, err := connect(cmd, append(opts, kgo.ProducerLinger(linger))...)
	if err != nil {
		return err
	}
	defer producer.Close()
	topic, err := makeBenchTopic(cmd, producer)
	if err != nil {
		return err
	}
	r.RecordSize, r.Partitions = topic.size, topic.partitions
	consumer, err := connect(cmd, kgo.ConsumeTopics(topic.name), kgo.FetchMinBytes(1), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer consumer.Close()
	r.Records = int64(duration.Seconds() * float64(r.Rate))
	run := &latencyRun{producer: producer, consumer: consumer, topic: topic, n: r.Records, skip: r.Records / 10}
	began := time.Now()
	if err := run.do(cmd, r.Rate); err != nil {
		return err
	}
	r.RecordsPerSecond = float64(r.Records) / time.Since(began).Seconds()
	r.Verified = run.verified
	r.Acknowledged, r.EndToEnd = summarize(run.acked), summarize(run.read)
	err = render(cmd, r, func(line row) {
		line(fmt.Sprintf("%d records of %d bytes at %.0f records/s, %d partitions, acks %s, verified: %t", r.Records, r.RecordSize, r.RecordsPerSecond, r.Partitions, r.Acks, r.Verified))
		line("acknowledged: " + r.Acknowledged.String())
		line("end to end:   " + r.EndToEnd.String())
	})
	if err == nil && !r.Verified {
		return errors.New("bench latency: not every record was read once")
	}
	return err
}

// latencyRun is one run: a goroutine reads what the caller's sends.
type latencyRun struct {
	producer, consumer *client
	topic              *benchTopic
	n, skip            int64 // records; the first ones are not timed

	mu       sync.Mutex // guards what follows until both are done
	acked    []int64    // nanoseconds
	read     []int64
	verified bool
}

func (l *latencyRun) do(cmd *cobra.Command, rate int64) error {
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.consume(ctx); err != nil {
			cancel(err)
		}
	})
	bar := progress(cmd.ErrOrStderr(), "latency", l.n)
	defer bar.Close()
	p := newPace(rate)
	for i := range l.n {
		if p.wait(ctx, i) != nil {
			break
		}
		due := p.due(i)
		r := &kgo.Record{Topic: l.topic.name, Value: l.topic.seed.value(i, due.UnixNano())}
		l.producer.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				cancel(describeProduceError(l.producer, r, err))
				return
			}
			if i >= l.skip {
				took := int64(time.Since(due))
				l.mu.Lock()
				l.acked = append(l.acked, took)
				l.mu.Unlock()
			}
		})
		if i%10_000 == 0 {
			_ = bar.Set64(i)
		}
	}
	err := l.producer.Flush(ctx)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// consume reads until every record was seen.
func (l *latencyRun) consume(ctx context.Context) error {
	seen := make([]bool, l.n)
	for left := l.n; left > 0; {
		fetches := l.consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return l.consumer.explain(err)
		}
		now := time.Now().UnixNano()
		for it := fetches.RecordIter(); !it.Done(); {
			n, due := numberOf(it.Next())
			if n < 0 || n >= l.n || seen[n] {
				return fmt.Errorf("topic %s: record %d came twice, or is not ours", l.topic.name, n)
			}
			seen[n] = true
			left--
			if n >= l.skip {
				l.read = append(l.read, now-due)
			}
		}
	}
	l.verified = true
	return nil
}
