package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newConsume() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Print records of topics of any Kafka-protocol broker",
		Long: `Prints records to stdout until it is interrupted, or with --exit to where the
topics end at the start. With -o json, a line of JSON for each record, which
` + "`produce --input json`" + ` reads.

The form of -f is kcat's:
` + formatHelp + `

--from and --until are an offset, beginning, end, -N (N before the end), or a
time: @2026-11-21T10:00:00Z, @MILLISECONDS, @-1h (an hour ago).`,
		Example: `  millstream consume orders --exit -f '%p %o %k %s\n'
  millstream consume orders --from -10 -o json
  millstream consume orders --from @-1h --until end
  millstream consume orders --group billing`,
		Args: atLeastOne("the names of the topics"),
		RunE: runConsume,
	}
	addClientSettings(cmd)
	f := cmd.Flags()
	f.StringP("format", "f", `%s\n`, "form of a record")
	f.String("from", "beginning", "where to begin")
	f.String("until", "", "where to end, each partition for itself; with a time, at the first record that is not before it")
	f.BoolP("exit", "e", false, "end where the topics end now: --until end")
	f.Int64P("count", "c", 0, "end after this many records; 0: no bound")
	f.StringP("partitions", "p", "", "only these partitions, such as 0,3")
	f.StringP("group", "g", "", "consume as a member of this group and commit what was printed")
	f.String("isolation", "committed", "committed: records of committed transactions only; uncommitted: all")
	cmd.MarkFlagsMutuallyExclusive("exit", "until")
	cmd.MarkFlagsMutuallyExclusive("group", "partitions")
	return cmd
}

// consumer is one run of the verb.
type consumer struct {
	c      *client
	topics kadm.TopicDetails
	answers
	form    func([]byte, *kgo.Record) []byte
	out     *bufio.Writer
	limit   int64                      // records to print; 0: no bound
	printed int64                      // so far
	ends    map[string]map[int32]int64 // where partitions end for us; nil: never
	group   string
	passed  map[string]map[int32]*kgo.Record // the last of each partition, not committed yet
	buf     []byte
}

func runConsume(cmd *cobra.Command, names []string) error {
	co, opts, err := newConsumer(cmd, names)
	if err != nil {
		return err
	}
	if co.c, err = connect(cmd, opts...); err != nil {
		return err
	}
	defer co.c.Close()
	if err := co.begin(cmd, names); err != nil {
		return err
	}
	return cmp.Or(co.run(cmd.Context()), co.out.Flush())
}

// begin finds out where to begin and to end; a member of a group begins where
// the group stands.
func (co *consumer) begin(cmd *cobra.Command, names []string) error {
	ctx, cancel := co.c.within(cmd.Context())
	defer cancel()
	isolation, _ := cmd.Flags().GetString("isolation")
	var err error
	if co.topics, err = co.c.topics(ctx, names); err != nil {
		return err
	}
	if err := co.place(ctx, cmd, isolation == "committed"); err != nil {
		return err
	}
	if co.group != "" {
		return nil
	}
	starts, err := co.starts(ctx, cmd, isolation == "committed")
	if err == nil {
		co.c.AddConsumePartitions(starts)
	}
	return err
}

// newConsumer reads the flags that need no broker.
func newConsumer(cmd *cobra.Command, names []string) (*consumer, []kgo.Opt, error) {
	f := cmd.Flags()
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return nil, nil, err
	}
	co := &consumer{out: bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), form: appendJSON, passed: map[string]map[int32]*kgo.Record{}}
	if !asJSON {
		text, _ := f.GetString("format")
		form, err := parseFormat(text)
		if err != nil {
			return nil, nil, usagef("--format: %w", err)
		}
		co.form = form.append
	}
	if co.limit, _ = f.GetInt64("count"); co.limit < 0 {
		return nil, nil, usagef("--count is %d: expected 0 (no bound) or more", co.limit)
	}
	opts := []kgo.Opt{kgo.KeepControlRecords(), kgo.WithHooks(&co.answers), kgo.FetchMaxWait(500 * time.Millisecond)}
	switch isolation, _ := f.GetString("isolation"); isolation {
	case "committed":
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	case "uncommitted":
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	default:
		return nil, nil, usagef("--isolation is %q: it must be committed or uncommitted", isolation)
	}
	for _, name := range []string{"from", "until"} {
		if text, _ := f.GetString(name); text != "" {
			if _, err := parsePlace(text, time.Now()); err != nil {
				return nil, nil, usagef("--%s: %w", name, err)
			}
		}
	}
	if co.group, _ = f.GetString("group"); co.group != "" {
		from, err := groupStart(cmd)
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, kgo.ConsumeTopics(names...), kgo.ConsumerGroup(co.group), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(from))
	}
	return co, opts, nil
}

// run prints until an end is reached or ctx is done, which is no failure.
func (co *consumer) run(ctx context.Context) error {
	for !co.done() {
		poll, cancel := ctx, context.CancelFunc(func() {})
		if co.ends != nil {
			poll, cancel = context.WithTimeout(ctx, 250*time.Millisecond)
		}
		fetches := co.c.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err := co.failed(fetches); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done() && !co.full(); {
			co.take(it.Next())
		}
		if fetches.NumRecords() > 0 {
			co.restart()
		}
		if err := cmp.Or(co.out.Flush(), co.commit()); err != nil {
			return err
		}
	}
	return nil
}

func (co *consumer) full() bool { return co.limit > 0 && co.printed == co.limit }

// commit commits what was printed, for members of a group.
func (co *consumer) commit() error {
	if co.group == "" || len(co.passed) == 0 {
		return nil
	}
	var last []*kgo.Record
	for _, partitions := range co.passed {
		for _, r := range partitions {
			last = append(last, r)
		}
	}
	clear(co.passed)
	ctx, cancel := co.c.within(context.Background())
	defer cancel()
	if err := co.c.CommitRecords(ctx, last...); err != nil {
		return fmt.Errorf("commit of group %s: %w", co.group, co.c.explain(err))
	}
	return nil
}

// failed finds an error after which going on is of no use.
func (co *consumer) failed(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) || kerr.IsRetriable(e.Err) {
			continue
		}
		if e.Topic == "" {
			return co.c.explain(e.Err)
		}
		return fmt.Errorf("topic %s, partition %d: %w", e.Topic, e.Partition, co.c.explain(e.Err))
	}
	return nil
}

// place is where --from or --until points.
type place struct {
	kind   string // beginning, end, offset, before (the end) or time
	n      int64  // the offset, or how many before the end
	unixMS int64
}

func parsePlace(text string, now time.Time) (place, error) {
	switch text {
	case "beginning", "earliest", "start":
		return place{kind: "beginning"}, nil
	case "end", "latest":
		return place{kind: "end"}, nil
	}
	if at, ok := strings.CutPrefix(text, "@"); ok {
		if ago, ok := strings.CutPrefix(at, "-"); ok {
			d, err := time.ParseDuration(ago)
			if err != nil {
				return place{}, fmt.Errorf("%q: expected how long ago, such as @-90m", text)
			}
			return place{kind: "time", unixMS: now.Add(-d).UnixMilli()}, nil
		}
		t, err := parseTime(at)
		return place{kind: "time", unixMS: t.UnixMilli()}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return place{}, fmt.Errorf("%q is no place: expected an offset, beginning, end, -N, or @TIME", text)
	}
	if n < 0 {
		return place{kind: "before", n: -n}, nil
	}
	return place{kind: "offset", n: n}, nil
}

// groupStart is where a group without offsets begins.
func groupStart(cmd *cobra.Command) (kgo.Offset, error) {
	text, _ := cmd.Flags().GetString("from")
	switch p, _ := parsePlace(text, time.Now()); p.kind {
	case "beginning":
		return kgo.NewOffset().AtStart(), nil
	case "end":
		return kgo.NewOffset().AtEnd(), nil
	case "time":
		return kgo.NewOffset().AfterMilli(p.unixMS), nil
	}
	return kgo.Offset{}, usagef("--from %s: a group goes on at its offsets; where it has none it can begin at the beginning, the end or a @TIME (`group reset` moves it elsewhere)", text)
}
