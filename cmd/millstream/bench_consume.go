package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newBenchConsume() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consume",
		Short: "Measure how fast a broker gives records",
		Long: `Reads the topic that ` + "`bench produce`" + ` wrote, all partitions at once, and reports
records and bytes (of values) per second. Each record must come exactly once.`,
		Example: "  millstream bench consume --topic millstream-bench",
		Args:    exactly(0, "no arguments"),
		RunE:    runBenchConsume,
	}
	addClientSettings(cmd)
	cmd.Flags().String("topic", "millstream-bench", "topic to read")
	cmd.Flags().Int("rounds", 1, "how often to read it")
	return cmd
}

// consumedResult is the one JSON object on stdout.
type consumedResult struct {
	Records          int64   `json:"records"`
	Bytes            int64   `json:"bytes"` // of values
	Rounds           int     `json:"rounds"`
	Verified         bool    `json:"verified"` // each record once in each round
	Seconds          float64 `json:"seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	MBPerSecond      float64 `json:"mb_per_second"`
	ClientCPUSeconds float64 `json:"client_cpu_seconds"` // of this process
}

func runBenchConsume(cmd *cobra.Command, _ []string) error {
	topic, _ := cmd.Flags().GetString("topic")
	rounds, _ := cmd.Flags().GetInt("rounds")
	if rounds < 1 {
		return usagef("--rounds is %d: it must be 1 or more", rounds)
	}
	r := consumedResult{Rounds: rounds, Verified: true}
	cpu := cpuSeconds()
	for range rounds {
		if err := r.round(cmd, topic); err != nil {
			return err
		}
	}
	r.ClientCPUSeconds = cpuSeconds() - cpu
	r.RecordsPerSecond = float64(r.Records) / r.Seconds
	r.MBPerSecond = float64(r.Bytes) / r.Seconds / 1e6
	err := render(cmd, r, func(line row) {
		line(fmt.Sprintf("%d records, %d bytes of values, in %.2f s, %d rounds, verified: %t", r.Records, r.Bytes, r.Seconds, r.Rounds, r.Verified))
		line(fmt.Sprintf("%.0f records/s, %.1f MB/s, %.2f s of CPU in this client", r.RecordsPerSecond, r.MBPerSecond, r.ClientCPUSeconds))
	})
	if err == nil && !r.Verified {
		return errors.New("bench consume: the topic does not hold each record of one `bench produce` once")
	}
	return err
}

// round reads the topic once, with a client of its own.
func (r *consumedResult) round(cmd *cobra.Command, topic string) error {
	c, err := connect(cmd, kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(4<<20))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	if _, err := c.topics(ctx, []string{topic}); err != nil {
		return err
	}
	total, err := c.offsetsIn(ctx, topic)
	if err != nil {
		return err
	}
	if total == 0 {
		return fmt.Errorf("topic %s is empty: fill it with `millstream bench produce --topic %s`", topic, topic)
	}
	bar := progress(cmd.ErrOrStderr(), "consume", total)
	defer bar.Close()
	seen := make([]uint64, total/64+1)
	began := time.Now()
	c.AddConsumeTopics(topic)
	for n := int64(0); n < total; _ = bar.Set64(n) {
		fetches := c.PollFetches(cmd.Context())
		if err := fetches.Err(); err != nil {
			if errors.Is(err, context.Canceled) {
				return errors.New("interrupted")
			}
			return c.explain(err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			record := it.Next()
			n++
			r.Bytes += int64(len(record.Value))
			number, _ := numberOf(record)
			if number < 0 || number >= total || seen[number/64]&(1<<(number%64)) != 0 {
				r.Verified = false
				continue
			}
			seen[number/64] |= 1 << (number % 64)
		}
	}
	r.Seconds += time.Since(began).Seconds()
	r.Records += total
	return nil
}
