package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func newTopicAlter() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alter TOPIC...",
		Short: "Change configuration or number of partitions of topics",
		Example: `  millstream topic alter orders -c retention.ms=86400000 --unset segment.ms
  millstream topic alter orders --partitions 12`,
		Args: atLeastOne("the names of the topics"),
		RunE: runTopicAlter,
	}
	addClientSettings(cmd)
	cmd.Flags().StringArrayP("set", "c", nil, "configuration NAME=VALUE; may be repeated")
	cmd.Flags().StringArray("unset", nil, "configuration to put back to its default; may be repeated")
	cmd.Flags().IntP("partitions", "p", 0, "new number of partitions, not less than now; keys move to other partitions")
	cmd.Flags().Bool("dry-run", false, "only ask the broker whether it would")
	return cmd
}

// alteredTopic is an element of `topic alter -o json`.
type alteredTopic struct {
	Topic      string   `json:"topic"`
	Set        []string `json:"set,omitempty"`
	Unset      []string `json:"unset,omitempty"`
	Partitions int      `json:"partitions,omitempty"`
	DryRun     bool     `json:"dry_run"`
}

func runTopicAlter(cmd *cobra.Command, names []string) error {
	var want alteredTopic
	want.Set, _ = cmd.Flags().GetStringArray("set")
	want.Unset, _ = cmd.Flags().GetStringArray("unset")
	want.Partitions, _ = cmd.Flags().GetInt("partitions")
	want.DryRun, _ = cmd.Flags().GetBool("dry-run")
	if len(want.Set)+len(want.Unset)+want.Partitions == 0 {
		return usagef("topic alter: nothing to change: give --set, --unset or --partitions")
	}
	var configs []kadm.AlterConfig
	for _, kv := range want.Set {
		name, value, err := assignment("--set", kv)
		if err != nil {
			return err
		}
		configs = append(configs, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	for _, name := range want.Unset {
		configs = append(configs, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	if _, err := c.topics(ctx, names); err != nil {
		return err
	}
	done := []alteredTopic{}
	var errs []error
	for _, name := range names {
		if err := c.alterTopic(ctx, name, configs, want); err != nil {
			errs = append(errs, err)
			continue
		}
		altered := want
		altered.Topic = name
		done = append(done, altered)
	}
	err = render(cmd, done, func(line row) {
		for _, t := range done {
			verb := "altered"
			if t.DryRun {
				verb = "would alter"
			}
			line(fmt.Sprintf("%s topic %s", verb, t.Topic))
		}
	})
	return errors.Join(append(errs, err)...)
}

func (c *client) alterTopic(ctx context.Context, name string, configs []kadm.AlterConfig, want alteredTopic) error {
	alter, update := c.admin.AlterTopicConfigs, c.admin.UpdatePartitions
	if want.DryRun {
		alter, update = c.admin.ValidateAlterTopicConfigs, c.admin.ValidateUpdatePartitions
	}
	if len(configs) > 0 {
		r, err := kadm.FirstE(alter(ctx, configs, name))
		if err != nil {
			return c.explain(err)
		}
		if r.Err != nil {
			return refused("topic", name, r.Err, r.ErrMessage)
		}
	}
	if want.Partitions > 0 {
		r, err := kadm.AnyE(update(ctx, want.Partitions, name))
		if err != nil {
			return c.explain(err)
		}
		if r.Err != nil {
			return refused("topic", name, r.Err, r.ErrMessage)
		}
	}
	return nil
}
