package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newProduce() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "produce TOPIC [FILE]",
		Short: "Send lines as records to a topic of any Kafka-protocol broker",
		Long: `Sends each line of FILE, or of stdin, as a record, and ends with exit code 0
when the broker has acknowledged all of them. An empty line is a record too.

With --input json a line is an object as ` + "`consume -o json`" + ` prints it: key,
value, headers, time, partition (topic and offset are passed over). With -o json
a line of JSON tells where each record went.`,
		Example: `  echo hello | millstream produce greetings
  millstream produce orders -K : --compression zstd orders.txt
  millstream consume orders -e -o json | millstream produce copy --input json
  millstream produce orders --transactional-id import-1 orders.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: runProduce,
	}
	addClientSettings(cmd)
	f := cmd.Flags()
	f.StringP("key-delimiter", "K", "", "what parts a line's key from its value; escapes as in consume -f")
	f.StringP("key", "k", "", "the key of every record")
	f.StringArrayP("header", "H", nil, "header NAME=VALUE of every record; may be repeated")
	f.Int32P("partition", "p", -1, "the partition of every record; -1: by key, or spread")
	f.BoolP("null", "Z", false, "send empty values as null: tombstones")
	f.String("input", "lines", "form of the input: lines or json")
	f.String("compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.String("acks", "all", "who has to have a record: all, leader or none")
	f.String("transactional-id", "", "send all records in one transaction, committed at the end of the input")
	cmd.MarkFlagsMutuallyExclusive("key", "key-delimiter")
	return cmd
}

// lineParser makes records of lines.
type lineParser struct {
	topic     string
	json      bool
	delimiter string
	key       []byte
	headers   []kgo.RecordHeader
	partition int32
	null      bool
}

func runProduce(cmd *cobra.Command, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return usagef("%s takes a topic and perhaps a file, got %d arguments: usage: %s", cmd.CommandPath(), len(args), cmd.UseLine())
	}
	parser, err := newLineParser(cmd, args[0])
	if err != nil {
		return err
	}
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	opts, err := producerOptions(cmd)
	if err != nil {
		return err
	}
	in := cmd.InOrStdin()
	if len(args) == 2 {
		f, err := os.Open(args[1])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	if parser.partition >= 0 || parser.json {
		opts = append(opts, kgo.RecordPartitioner(partitionOrHash{kgo.StickyKeyPartitioner(nil)}))
	}
	c, err := connect(cmd, opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	if _, err := c.topics(ctx, args[:1]); err != nil {
		return err
	}
	p := &producing{c: c, parser: parser, out: bufio.NewWriter(cmd.OutOrStdout()), json: asJSON}
	transactional, _ := cmd.Flags().GetString("transactional-id")
	return p.run(cmd.Context(), in, transactional != "")
}

// producerOptions reads --compression, --acks and --transactional-id.
func producerOptions(cmd *cobra.Command) ([]kgo.Opt, error) {
	compression, _ := cmd.Flags().GetString("compression")
	acks, _ := cmd.Flags().GetString("acks")
	transactional, _ := cmd.Flags().GetString("transactional-id")
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[compression]
	if !ok {
		return nil, usagef("--compression is %q: it must be none, gzip, snappy, lz4 or zstd", compression)
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5 * time.Millisecond)}
	switch acks {
	case "all", "-1":
	case "leader", "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "none", "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usagef("--acks is %q: it must be all, leader or none", acks)
	}
	if transactional != "" {
		if acks != "all" && acks != "-1" {
			return nil, usagef("--transactional-id needs --acks all")
		}
		opts = append(opts, kgo.TransactionalID(transactional))
	}
	return opts, nil
}

func newLineParser(cmd *cobra.Command, topic string) (*lineParser, error) {
	f := cmd.Flags()
	p := &lineParser{topic: topic}
	p.partition, _ = f.GetInt32("partition")
	p.null, _ = f.GetBool("null")
	switch input, _ := f.GetString("input"); input {
	case "lines", "json":
		p.json = input == "json"
	default:
		return nil, usagef("--input is %q: it must be lines or json", input)
	}
	if f.Changed("key") {
		key, _ := f.GetString("key")
		p.key = []byte(key)
	}
	if text, _ := f.GetString("key-delimiter"); text != "" {
		form, err := parseFormat(strings.ReplaceAll(text, "%", "%%"))
		if err != nil {
			return nil, usagef("--key-delimiter: %w", err)
		}
		p.delimiter = string(form.append(nil, nil))
	}
	headers, _ := f.GetStringArray("header")
	for _, kv := range headers {
		name, value, err := assignment("--header", kv)
		if err != nil {
			return nil, err
		}
		p.headers = append(p.headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return p, nil
}

// record makes a record of a line, which it may keep.
func (p *lineParser) record(line []byte) (*kgo.Record, error) {
	r := &kgo.Record{Topic: p.topic, Key: p.key, Value: line, Partition: p.partition, Headers: p.headers}
	if p.json {
		var j jsonRecord
		if err := json.Unmarshal(line, &j); err != nil {
			return nil, fmt.Errorf("no record in JSON: %w", err)
		}
		var err error
		if r, err = j.record(); err != nil {
			return nil, err
		}
		r.Topic, r.Partition = p.topic, p.partition
		r.Headers = append(r.Headers, p.headers...)
		if p.key != nil {
			r.Key = p.key
		}
		if j.Partition != nil && p.partition < 0 {
			r.Partition = *j.Partition
		}
		return r, nil
	}
	if p.delimiter != "" {
		key, value, ok := strings.Cut(string(line), p.delimiter)
		if !ok {
			return nil, fmt.Errorf("no %q in it, which parts key and value", p.delimiter)
		}
		r.Key, r.Value = []byte(key), []byte(value)
	}
	if p.null && len(r.Value) == 0 {
		r.Value = nil
	}
	return r, nil
}

// partitionOrHash takes a record's own partition, and the other partitioner where it has none.
type partitionOrHash struct{ kgo.Partitioner }

func (p partitionOrHash) ForTopic(topic string) kgo.TopicPartitioner {
	return partitionOrHashTopic{p.Partitioner.ForTopic(topic)}
}

type partitionOrHashTopic struct{ kgo.TopicPartitioner }

func (p partitionOrHashTopic) RequiresConsistency(*kgo.Record) bool { return true }

func (p partitionOrHashTopic) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return p.TopicPartitioner.Partition(r, n)
}

// producing is one run of the verb.
type producing struct {
	c      *client
	parser *lineParser
	json   bool

	mu    sync.Mutex // guards what follows
	out   *bufio.Writer
	sent  int64
	first error // of a record
}

// run sends every line. After the first error it reads no more.
func (p *producing) run(ctx context.Context, in io.Reader, transactional bool) error {
	if transactional {
		if err := p.c.BeginTransaction(); err != nil {
			return p.c.explain(err)
		}
	}
	err := p.send(ctx, in)
	flush, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err = cmp.Or(err, p.c.Flush(flush))
	p.mu.Lock()
	err = cmp.Or(p.first, err)
	p.mu.Unlock()
	if transactional {
		how := kgo.TryCommit
		if err != nil || ctx.Err() != nil {
			how = kgo.TryAbort
		}
		end, cancel := p.c.within(context.WithoutCancel(ctx))
		defer cancel()
		if endErr := p.c.EndTransaction(end, how); endErr != nil {
			err = cmp.Or(err, fmt.Errorf("the transaction: %w", p.c.explain(endErr)))
		}
	}
	if err == nil && ctx.Err() != nil {
		err = errors.New("interrupted: the rest of the input was not sent")
	}
	return cmp.Or(err, p.out.Flush())
}

func (p *producing) send(ctx context.Context, in io.Reader) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	for n := int64(1); ctx.Err() == nil && p.failed() == nil; n++ {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if line[len(line)-1] == '\n' {
				line = line[:len(line)-1]
			}
			r, parseErr := p.parser.record(line)
			if parseErr != nil {
				return fmt.Errorf("line %d: %w", n, parseErr)
			}
			p.c.Produce(ctx, r, func(r *kgo.Record, err error) { p.done(n, r, err) })
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

func (p *producing) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// done takes note of a record's acknowledgement.
func (p *producing) done(line int64, r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.first == nil && !errors.Is(err, context.Canceled) {
			p.first = fmt.Errorf("line %d was not written: %w", line, describeProduceError(p.c, r, err))
		}
		return
	}
	p.sent++
	if p.json {
		at := r.Timestamp.UTC()
		b, _ := json.Marshal(jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Time: &at})
		p.out.Write(append(b, '\n'))
	}
}

func describeProduceError(c *client, r *kgo.Record, err error) error {
	var e *kerr.Error
	if errors.As(err, &e) {
		return refused("topic", r.Topic, err, "")
	}
	return c.explain(err)
}
