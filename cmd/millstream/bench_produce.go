package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newBenchProduce() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "produce",
		Short: "Measure how fast a broker takes records",
		Long: `Makes a topic, sends numbered records to it as fast as the broker takes them, or at
--rate, and reports records and bytes (of values) per second and how long
acknowledgements took. The offsets in the topic are counted afterwards. Any
Kafka-protocol broker will do.`,
		Example: "  millstream bench produce --records 5000000 --size 100 --compression lz4 --recreate",
		Args:    exactly(0, "no arguments"),
		RunE:    runBenchProduce,
	}
	addBenchTopicFlags(cmd)
	cmd.Flags().Int64("records", 1_000_000, "records to send")
	cmd.Flags().Int64("rate", 0, "records per second; 0: as fast as it goes")
	cmd.Flags().Duration("linger", 5*time.Millisecond, "how long a batch waits for more records")
	return cmd
}

// producedResult is the one JSON object on stdout.
type producedResult struct {
	Records          int64     `json:"records"`
	Verified         bool      `json:"verified"` // as many offsets are in the topic
	RecordSize       int       `json:"record_size"`
	Partitions       int32     `json:"partitions"`
	Compression      string    `json:"compression"`
	Acks             string    `json:"acks"`
	Seconds          float64   `json:"seconds"`
	RecordsPerSecond float64   `json:"records_per_second"`
	MBPerSecond      float64   `json:"mb_per_second"`
	ClientCPUSeconds float64   `json:"client_cpu_seconds"` // of this process
	Acknowledged     latencies `json:"acknowledged"`       // from the call to the acknowledgement; with full buffers, mostly waiting in them
}

func runBenchProduce(cmd *cobra.Command, _ []string) error {
	f := cmd.Flags()
	var r producedResult
	r.Records, _ = f.GetInt64("records")
	r.Compression, _ = f.GetString("compression")
	r.Acks, _ = f.GetString("acks")
	rate, _ := f.GetInt64("rate")
	linger, _ := f.GetDuration("linger")
	if r.Records < 1 || rate < 0 || linger < 0 {
		return usagef("--records must be 1 or more, --rate and --linger not negative")
	}
	opts, err := producerOptions(cmd)
	if err != nil {
		return err
	}
	opts = append(opts, kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(200_000), kgo.MaxBufferedBytes(64<<20), kgo.ProducerBatchMaxBytes(1<<20))
	c, err := connect(cmd, opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	topic, err := makeBenchTopic(cmd, c)
	if err != nil {
		return err
	}
	r.RecordSize, r.Partitions = topic.size, topic.partitions
	began, cpu := time.Now(), cpuSeconds()
	nanos, err := c.send(cmd, topic, r.Records, rate)
	if err != nil {
		return err
	}
	r.Seconds, r.ClientCPUSeconds = time.Since(began).Seconds(), cpuSeconds()-cpu
	r.RecordsPerSecond = float64(r.Records) / r.Seconds
	r.MBPerSecond = r.RecordsPerSecond * float64(r.RecordSize) / 1e6
	r.Acknowledged = summarize(nanos)
	ctx, cancel := c.within(context.WithoutCancel(cmd.Context()))
	defer cancel()
	n, err := c.offsetsIn(ctx, topic.name)
	if err != nil {
		return err
	}
	r.Verified = n == r.Records
	err = render(cmd, r, func(line row) {
		line(fmt.Sprintf("%d records of %d bytes in %.2f s, %d partitions, compression %s, acks %s, verified: %t", r.Records, r.RecordSize, r.Seconds, r.Partitions, r.Compression, r.Acks, r.Verified))
		line(fmt.Sprintf("%.0f records/s, %.1f MB/s, %.2f s of CPU in this client", r.RecordsPerSecond, r.MBPerSecond, r.ClientCPUSeconds))
		line("acknowledged: " + r.Acknowledged.String())
	})
	if err == nil && !r.Verified && r.Acks != "none" {
		return fmt.Errorf("bench produce: %d records were sent, %d offsets are in the topic", r.Records, n)
	}
	return err
}

// send sends n records and waits for all; every sampleth acknowledgement is timed.
func (c *client) send(cmd *cobra.Command, t *benchTopic, n, rate int64) ([]int64, error) {
	const sample = 64
	bar := progress(cmd.ErrOrStderr(), "produce", n)
	defer bar.Close()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	nanos := make([]int64, n/sample+1)
	var timed, acked atomic.Int64
	pace := newPace(rate)
	for i := range n {
		if err := pace.wait(ctx, i); err != nil {
			break
		}
		r := &kgo.Record{Topic: t.name, Value: t.seed.value(i, 0)}
		began := time.Time{}
		if i%sample == 0 {
			began = time.Now()
		}
		c.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				cancel(describeProduceError(c, r, err))
				return
			}
			if !began.IsZero() {
				nanos[timed.Add(1)-1] = int64(time.Since(began))
			}
			if k := acked.Add(1); k%10_000 == 0 {
				_ = bar.Set64(k)
			}
		})
		if ctx.Err() != nil {
			break
		}
	}
	if err := c.Flush(ctx); err != nil && ctx.Err() == nil {
		return nil, c.explain(err)
	}
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, errors.New("interrupted")
		}
		return nil, err
	}
	return nanos[:timed.Load()], nil
}

// pace spreads records over time, in steps of a millisecond.
type pace struct {
	rate  int64 // 0: no bound
	began time.Time
	timer *time.Timer
}

func newPace(rate int64) *pace { return &pace{rate: rate, began: time.Now(), timer: time.NewTimer(0)} }

// due is when record i should go.
func (p *pace) due(i int64) time.Time {
	return p.began.Add(time.Duration(float64(i) / float64(p.rate) * float64(time.Second)).Truncate(time.Millisecond))
}

func (p *pace) wait(ctx context.Context, i int64) error {
	if p.rate == 0 {
		return ctx.Err()
	}
	d := time.Until(p.due(i))
	if d <= 0 {
		return ctx.Err()
	}
	p.timer.Reset(d)
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
