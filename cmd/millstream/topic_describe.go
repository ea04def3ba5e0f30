package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newTopicDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "describe TOPIC...",
		Short:   "Show partitions, offsets and configuration of topics",
		Example: "  millstream topic describe orders",
		Args:    atLeastOne("the names of the topics"),
		RunE:    runTopicDescribe,
	}
	addClientSettings(cmd)
	cmd.Flags().Bool("all-configs", false, "configurations that are not set too")
	return cmd
}

// describedTopic is an element of `topic describe -o json`.
type describedTopic struct {
	Topic      string               `json:"topic"`
	ID         string               `json:"id,omitempty"`
	Internal   bool                 `json:"internal"`
	Partitions []describedPartition `json:"partitions"`
	Configs    []describedConfig    `json:"configs"`
}

type describedPartition struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"start"`
	Stable      int64   `json:"stable"` // where readers of committed records end
	End         int64   `json:"end"`
	Error       string  `json:"error,omitempty"`
}

type describedConfig struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func runTopicDescribe(cmd *cobra.Command, names []string) error {
	every, _ := cmd.Flags().GetBool("all-configs")
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	topics, err := c.topics(ctx, names)
	if err != nil {
		return err
	}
	described, err := c.describeTopics(ctx, topics, every)
	if err != nil {
		return err
	}
	return render(cmd, described, func(line row) {
		for i, t := range described {
			if i > 0 {
				line("")
			}
			t.print(line)
		}
	})
}

// topics looks named topics up; all must be there.
func (c *client) topics(ctx context.Context, names []string) (kadm.TopicDetails, error) {
	topics, err := c.admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, c.explain(err)
	}
	var errs []error
	for _, name := range names {
		if err := topics[name].Err; err != nil {
			errs = append(errs, c.unknownTopic(ctx, name, err))
		}
	}
	return topics, errors.Join(errs...)
}

// bounds are the log starts and ends of topics.
func (c *client) bounds(ctx context.Context, names []string) (starts, ends kadm.ListedOffsets, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	if starts, err = c.admin.ListStartOffsets(ctx, names...); err == nil {
		ends, err = c.admin.ListEndOffsets(ctx, names...)
	}
	return starts, ends, c.explain(err)
}

func (c *client) describeTopics(ctx context.Context, topics kadm.TopicDetails, every bool) ([]describedTopic, error) {
	names := topics.Names()
	starts, ends, err := c.bounds(ctx, names)
	if err != nil {
		return nil, err
	}
	stable, err := c.admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return nil, c.explain(err)
	}
	resources, err := c.admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, c.explain(err)
	}
	var all []describedTopic
	for _, t := range topics.Sorted() {
		d := describedTopic{Topic: t.Topic, ID: idText(t.ID), Internal: t.IsInternal, Partitions: []describedPartition{}, Configs: []describedConfig{}}
		for _, p := range t.Partitions.Sorted() {
			dp := describedPartition{
				Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
				Start: starts[t.Topic][p.Partition].Offset, Stable: stable[t.Topic][p.Partition].Offset, End: ends[t.Topic][p.Partition].Offset,
			}
			if err := errors.Join(p.Err, ends[t.Topic][p.Partition].Err); err != nil {
				dp.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			d.Partitions = append(d.Partitions, dp)
		}
		for _, r := range resources {
			if r.Name == t.Topic {
				d.addConfigs(r.Configs, every)
			}
		}
		all = append(all, d)
	}
	return all, nil
}

func (d *describedTopic) addConfigs(configs []kadm.Config, every bool) {
	for _, c := range configs {
		if c.Source == kmsg.ConfigSourceDynamicTopicConfig || every {
			d.Configs = append(d.Configs, describedConfig{c.Key, c.MaybeValue(), strings.ToLower(c.Source.String())})
		}
	}
}

func (d *describedTopic) print(line row) {
	line(fmt.Sprintf("topic %s, id %s, %d partitions", d.Topic, dashed(d.ID), len(d.Partitions)))
	for _, c := range d.Configs {
		line(fmt.Sprintf("  %s=%s (%s)", c.Name, c.Value, c.Source))
	}
	line("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "STABLE", "END", "ERROR")
	for _, p := range d.Partitions {
		line(p.Partition, p.Leader, p.LeaderEpoch, numbers(p.Replicas), numbers(p.ISR), p.Start, p.Stable, p.End, dashed(p.Error))
	}
}

// numbers prints node ids as "1,2".
func numbers(ids []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}
