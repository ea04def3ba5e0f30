package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What the benchmarks of a broker share: the topic, the payloads, the figures.

// minRecordSize leaves room for the record's number and the time it was due.
const minRecordSize = 16

func addBenchTopicFlags(cmd *cobra.Command) {
	addClientSettings(cmd)
	cmd.Flags().String("topic", "millstream-bench", "topic to use")
	cmd.Flags().StringArrayP("set", "c", nil, "configuration NAME=VALUE of the topic, if it is made; may be repeated")
	cmd.Flags().Int32P("partitions", "p", 6, "partitions of the topic, if it is made")
	cmd.Flags().Bool("recreate", false, "delete the topic first if it is there")
	cmd.Flags().Int("size", 100, "bytes of a record's value")
	cmd.Flags().String("compression", "none", "none, gzip, snappy, lz4 or zstd")
	cmd.Flags().String("acks", "all", "who has to have a record: all, leader or none")
	cmd.Flags().String("transactional-id", "", "")
	cmd.Flags().Lookup("transactional-id").Hidden = true
}

// benchTopic is the topic of a benchmark that writes.
type benchTopic struct {
	name       string
	partitions int32
	size       int
	seed       payloads
}

// makeBenchTopic makes the topic, which must not exist without --recreate.
func makeBenchTopic(cmd *cobra.Command, c *client) (*benchTopic, error) {
	f := cmd.Flags()
	t := &benchTopic{}
	t.name, _ = f.GetString("topic")
	t.partitions, _ = f.GetInt32("partitions")
	t.size, _ = f.GetInt("size")
	if t.size < minRecordSize || t.size > 1<<20 {
		return nil, usagef("--size is %d: it must be from %d to 1,048,576", t.size, minRecordSize)
	}
	t.seed = newPayloads(t.size)
	configs := map[string]*string{}
	set, _ := f.GetStringArray("set")
	for _, kv := range set {
		name, value, err := assignment("--set", kv)
		if err != nil {
			return nil, err
		}
		configs[name] = &value
	}
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	if again, _ := f.GetBool("recreate"); again {
		r, err := c.admin.DeleteTopic(ctx, t.name)
		if err == nil {
			err = r.Err
		}
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil, refused("topic", t.name, c.explain(err), r.ErrMessage)
		}
	}
	return t, c.createBenchTopic(ctx, t, configs)
}

// createBenchTopic tries again while a cluster still deletes the one before.
func (c *client) createBenchTopic(ctx context.Context, t *benchTopic, configs map[string]*string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := kadm.AnyE(c.admin.CreateTopics(ctx, t.partitions, 1, configs, t.name))
		switch {
		case err == nil && r.Err == nil:
			return nil
		case err != nil && r.Err == nil:
			return c.explain(err)
		case !errors.Is(r.Err, kerr.TopicAlreadyExists):
			return refused("topic", t.name, r.Err, r.ErrMessage)
		case ctx.Err() != nil || r.ErrMessage == "" || !c.goingAway(ctx, t.name):
			return fmt.Errorf("topic %s exists: give --recreate to delete it first, or another --topic", t.name)
		}
		<-tick.C
	}
}

// goingAway says that a topic exists no more for readers, though its name is not free yet.
func (c *client) goingAway(ctx context.Context, name string) bool {
	topics, err := c.admin.ListTopics(ctx, name)
	return err == nil && errors.Is(topics[name].Err, kerr.UnknownTopicOrPartition)
}

// payloads makes values: the record's number, a number for the benchmark, and
// text that compresses as logs do, the same in every run.
type payloads struct {
	size int
	text []byte
	rest []byte // of the block that values are cut from
}

func newPayloads(size int) payloads {
	r := rand.New(rand.NewPCG(42, 1))
	words := make([][]byte, 500)
	for i := range words {
		for range 3 + r.IntN(8) {
			words[i] = append(words[i], byte('a'+r.IntN(26)))
		}
		words[i] = append(words[i], ' ')
	}
	p := payloads{size: size}
	for len(p.text) < 256<<10+size {
		if r.IntN(4) == 0 {
			p.text = fmt.Appendf(p.text, "%d ", r.IntN(1_000_000))
		} else {
			p.text = append(p.text, words[r.IntN(len(words))]...)
		}
	}
	return p
}

// value of record n.
func (p *payloads) value(n, extra int64) []byte {
	if len(p.rest) < p.size {
		p.rest = make([]byte, max(1<<20, p.size))
	}
	v := p.rest[:p.size:p.size]
	p.rest = p.rest[p.size:]
	binary.BigEndian.PutUint64(v, uint64(n))
	binary.BigEndian.PutUint64(v[8:], uint64(extra))
	copy(v[minRecordSize:], p.text[n*61%(256<<10):])
	return v
}

// numberOf is the record's number; -1 if it is not of ours.
func numberOf(r *kgo.Record) (n, extra int64) {
	if len(r.Value) < minRecordSize {
		return -1, 0
	}
	return int64(binary.BigEndian.Uint64(r.Value)), int64(binary.BigEndian.Uint64(r.Value[8:]))
}

// offsetsIn counts the offsets between starts and ends of a topic.
func (c *client) offsetsIn(ctx context.Context, topic string) (int64, error) {
	starts, ends, err := c.bounds(ctx, []string{topic})
	if err != nil {
		return 0, err
	}
	var n int64
	for p, end := range ends[topic] {
		if end.Err != nil {
			return 0, c.unknownTopic(ctx, topic, end.Err)
		}
		n += end.Offset - starts[topic][p].Offset
	}
	return n, nil
}

// latencies are what `bench latency` found, in milliseconds.
type latencies struct {
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

func summarize(nanos []int64) latencies {
	if len(nanos) == 0 {
		return latencies{}
	}
	slices.Sort(nanos)
	at := func(q float64) float64 { return float64(nanos[int(q*float64(len(nanos)-1))]) / 1e6 }
	return latencies{at(.5), at(.9), at(.99), at(.999), at(1)}
}

func (l latencies) String() string {
	return fmt.Sprintf("p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms", l.P50, l.P90, l.P99, l.P999, l.Max)
}
