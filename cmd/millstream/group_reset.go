package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newGroupReset() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Move the offsets of a group without members",
		Long: `Shows where a group's offsets would be, and with --execute puts them there.
The group must have no members; it is made if it does not exist.

An offset beyond the log's start or end is brought to it.`,
		Example: `  millstream group reset billing --topic orders --to-earliest
  millstream group reset billing --topic orders:0,1 --shift-by -100 --execute
  millstream group reset billing --all-topics --by-duration 1h --execute`,
		Args: exactly(1, "the name of the group"),
		RunE: runGroupReset,
	}
	addClientSettings(cmd)
	f := cmd.Flags()
	f.StringArrayP("topic", "t", nil, "TOPIC, or TOPIC:PARTITION,...; may be repeated")
	f.Bool("all-topics", false, "every topic for which the group has offsets")
	f.Bool("to-earliest", false, "to the log's start")
	f.Bool("to-latest", false, "to the log's end")
	f.Int64("to-offset", 0, "to this offset")
	f.String("to-datetime", "", "to the first record at or after this time, such as 2026-11-21T10:00:00Z")
	f.Duration("by-duration", 0, "to the first record not older than this, such as 90m")
	f.Int64("shift-by", 0, "by this many offsets, back if negative")
	f.Bool("execute", false, "do it; without, it is only shown")
	cmd.MarkFlagsMutuallyExclusive("to-earliest", "to-latest", "to-offset", "to-datetime", "by-duration", "shift-by")
	cmd.MarkFlagsMutuallyExclusive("topic", "all-topics")
	return cmd
}

// resetOffset is an element of `group reset -o json`.
type resetOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      *int64 `json:"from"` // null: none
	To        int64  `json:"to"`
	Executed  bool   `json:"executed"`
}

func runGroupReset(cmd *cobra.Command, args []string) error {
	group := args[0]
	execute, _ := cmd.Flags().GetBool("execute")
	all, _ := cmd.Flags().GetBool("all-topics")
	texts, _ := cmd.Flags().GetStringArray("topic")
	wanted, err := parseTopics(texts)
	if err != nil {
		return err
	}
	if len(wanted) == 0 && !all {
		return usagef("group reset: say which topics: --topic TOPIC or --all-topics")
	}
	target, err := parseTarget(cmd, time.Now())
	if err != nil {
		return err
	}
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	plan, err := c.planReset(ctx, group, wanted, target)
	if err != nil {
		return err
	}
	if execute {
		if err := c.reset(ctx, group, plan); err != nil {
			return err
		}
	}
	err = render(cmd, plan, func(line row) {
		line("TOPIC", "PARTITION", "FROM", "TO")
		for _, r := range plan {
			line(r.Topic, r.Partition, orDash(r.From), r.To)
		}
	})
	if asJSON, _ := outputJSON(cmd); err == nil && !execute && !asJSON {
		fmt.Fprintln(cmd.ErrOrStderr(), "nothing was changed: add --execute to do it")
	}
	return err
}

// target says where offsets go.
type target struct {
	kind   string // the flag
	offset int64
	shift  int64
	unixMS int64
}

func parseTarget(cmd *cobra.Command, now time.Time) (target, error) {
	f := cmd.Flags()
	var t target
	for _, name := range []string{"to-earliest", "to-latest", "to-offset", "to-datetime", "by-duration", "shift-by"} {
		if f.Changed(name) {
			t.kind = name
		}
	}
	switch t.kind {
	case "":
		return t, usagef("group reset: say where to: --to-earliest, --to-latest, --to-offset, --to-datetime, --by-duration or --shift-by")
	case "to-offset":
		t.offset, _ = f.GetInt64("to-offset")
	case "shift-by":
		t.shift, _ = f.GetInt64("shift-by")
	case "by-duration":
		d, _ := f.GetDuration("by-duration")
		if d < 0 {
			return t, usagef("--by-duration is %v: expected how far back, such as 90m", d)
		}
		t.unixMS = now.Add(-d).UnixMilli()
	case "to-datetime":
		text, _ := f.GetString("to-datetime")
		at, err := parseTime(text)
		if err != nil {
			return t, usagef("--to-datetime: %w", err)
		}
		t.unixMS = at.UnixMilli()
	}
	return t, nil
}

// timeLayouts are what a time may look like; without a zone it is local time.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

// parseTime reads a time, or milliseconds since the Unix epoch.
func parseTime(text string) (time.Time, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: expected one such as 2026-11-21T10:00:00Z, or milliseconds since 1970", text)
}

// parseTopics reads TOPIC and TOPIC:PARTITION,...; no partitions are all.
func parseTopics(texts []string) (map[string][]int32, error) {
	wanted := map[string][]int32{}
	for _, text := range texts {
		topic, list, some := strings.Cut(text, ":")
		if topic == "" {
			return nil, usagef("--topic %q: expected TOPIC or TOPIC:PARTITION,...", text)
		}
		wanted[topic] = append(wanted[topic], []int32{}...)
		if !some {
			continue
		}
		partitions, err := parsePartitions(list)
		if err != nil {
			return nil, usagef("--topic %q: %w", text, err)
		}
		wanted[topic] = append(wanted[topic], partitions...)
	}
	return wanted, nil
}

func parsePartitions(list string) ([]int32, error) {
	var out []int32
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no partition: expected a number, 0 or more", text)
		}
		out = append(out, int32(n))
	}
	return out, nil
}

// planReset finds every partition's old and new offset.
func (c *client) planReset(ctx context.Context, group string, wanted map[string][]int32, t target) ([]resetOffset, error) {
	committed, err := c.admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, refused("group", group, c.explain(err), "")
	}
	if len(wanted) == 0 {
		for topic := range committed {
			wanted[topic] = nil
		}
		if len(wanted) == 0 {
			return nil, c.unknownGroup(ctx, group)
		}
	}
	names := make([]string, 0, len(wanted))
	for topic := range wanted {
		names = append(names, topic)
	}
	topics, err := c.topics(ctx, names)
	if err != nil {
		return nil, err
	}
	starts, ends, err := c.bounds(ctx, names)
	if err != nil {
		return nil, err
	}
	var at kadm.ListedOffsets
	if t.kind == "to-datetime" || t.kind == "by-duration" {
		if at, err = c.admin.ListOffsetsAfterMilli(ctx, t.unixMS, names...); err != nil {
			return nil, c.explain(err)
		}
	}
	var plan []resetOffset
	for _, topic := range topics.Sorted() {
		partitions := wanted[topic.Topic]
		if len(partitions) == 0 {
			partitions = topic.Partitions.Numbers()
		}
		for _, p := range partitions {
			start, ok := starts.Lookup(topic.Topic, p)
			if !ok {
				return nil, fmt.Errorf("topic %s has no partition %d: it has %d", topic.Topic, p, len(topic.Partitions))
			}
			end, _ := ends.Lookup(topic.Topic, p)
			if err := cmp.Or(start.Err, end.Err); err != nil {
				return nil, fmt.Errorf("topic %s, partition %d: %w", topic.Topic, p, err)
			}
			r := resetOffset{Topic: topic.Topic, Partition: p}
			if o, ok := committed.Lookup(topic.Topic, p); ok && o.At >= 0 {
				r.From = &o.At
			}
			timed, _ := at.Lookup(topic.Topic, p)
			if r.To, err = t.offsetOf(r, start.Offset, end.Offset, timed.Offset); err != nil {
				return nil, err
			}
			plan = append(plan, r)
		}
	}
	slices.SortFunc(plan, func(a, b resetOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return plan, nil
}

// offsetOf is where one partition's offset goes.
func (t target) offsetOf(r resetOffset, start, end, timed int64) (int64, error) {
	to := end
	switch t.kind {
	case "to-earliest":
		to = start
	case "to-latest":
	case "to-offset":
		to = t.offset
	case "shift-by":
		if r.From == nil {
			return 0, fmt.Errorf("topic %s, partition %d: the group has no offset to shift: use --to-earliest or another target first", r.Topic, r.Partition)
		}
		to = *r.From + t.shift
	default:
		if timed >= 0 {
			to = timed
		}
	}
	return min(max(to, start), end), nil
}

// reset commits the plan.
func (c *client) reset(ctx context.Context, group string, plan []resetOffset) error {
	offsets := kadm.Offsets{}
	for _, r := range plan {
		offsets.Add(kadm.Offset{Topic: r.Topic, Partition: r.Partition, At: r.To, LeaderEpoch: -1})
	}
	err := c.admin.CommitAllOffsets(ctx, group, offsets)
	switch {
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.StaleMemberEpoch):
		return fmt.Errorf("group %s has members: stop them first", group)
	case err != nil:
		return refused("group", group, c.explain(err), "")
	}
	for i := range plan {
		plan[i].Executed = true
	}
	return nil
}
