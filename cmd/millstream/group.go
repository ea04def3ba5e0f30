package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newGroup() *cobra.Command {
	return verbOf("group", "List, describe, reset and delete consumer groups of any Kafka-protocol broker", "verb of group",
		newGroupList(), newGroupDescribe(), newGroupReset(), newGroupDelete())
}

func newGroupList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List consumer groups",
		Example: "  millstream group list",
		Args:    exactly(0, "no arguments"),
		RunE:    runGroupList,
	}
	addClientSettings(cmd)
	return cmd
}

// listedGroup is an element of `group list -o json`.
type listedGroup struct {
	Group        string `json:"group"`
	State        string `json:"state"`
	Type         string `json:"type,omitempty"` // classic or consumer
	ProtocolType string `json:"protocol_type"`
	Coordinator  int32  `json:"coordinator"`
}

func runGroupList(cmd *cobra.Command, _ []string) error {
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	groups, err := c.groups(ctx)
	if err != nil {
		return err
	}
	return render(cmd, groups, func(line row) {
		line("GROUP", "STATE", "TYPE", "PROTOCOL TYPE", "COORDINATOR")
		for _, g := range groups {
			line(g.Group, dashed(g.State), dashed(g.Type), dashed(g.ProtocolType), g.Coordinator)
		}
	})
}

// groups asks every broker for its groups.
func (c *client) groups(ctx context.Context) ([]listedGroup, error) {
	groups := []listedGroup{}
	for _, shard := range c.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		if shard.Err != nil {
			return nil, c.explain(shard.Err)
		}
		answer := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
			return nil, refused("broker", fmt.Sprint(shard.Meta.NodeID), err, "")
		}
		for _, g := range answer.Groups {
			groups = append(groups, listedGroup{g.Group, g.GroupState, strings.ToLower(g.GroupType), g.ProtocolType, shard.Meta.NodeID})
		}
	}
	slices.SortFunc(groups, func(a, b listedGroup) int { return cmp.Compare(a.Group, b.Group) })
	return groups, nil
}

// unknownGroup is the error for a group that is not there, with the nearest that is.
func (c *client) unknownGroup(ctx context.Context, name string) error {
	groups, err := c.groups(ctx)
	if err != nil {
		return fmt.Errorf("group %q does not exist", name)
	}
	var names []string
	for _, g := range groups {
		names = append(names, g.Group)
	}
	return notThere("group", name, names)
}

func newGroupDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete groups without members, or their offsets of some topics",
		Example: `  millstream group delete billing
  millstream group delete billing --topic orders`,
		Args: atLeastOne("the names of the groups"),
		RunE: runGroupDelete,
	}
	addClientSettings(cmd)
	cmd.Flags().StringArrayP("topic", "t", nil, "delete only the offsets of TOPIC or TOPIC:PARTITION,...; may be repeated")
	return cmd
}

// deletedGroup is an element of `group delete -o json`.
type deletedGroup struct {
	Group  string   `json:"group"`
	Topics []string `json:"topics,omitempty"`
}

func runGroupDelete(cmd *cobra.Command, names []string) error {
	topics, _ := cmd.Flags().GetStringArray("topic")
	wanted, err := parseTopics(topics)
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
	deleted := []deletedGroup{}
	var errs []error
	for _, name := range names {
		if len(wanted) > 0 {
			err = c.deleteOffsets(ctx, name, wanted)
		} else {
			err = c.deleteGroup(ctx, name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		deleted = append(deleted, deletedGroup{name, topics})
	}
	err = render(cmd, deleted, func(line row) {
		for _, g := range deleted {
			if len(g.Topics) > 0 {
				line(fmt.Sprintf("deleted the offsets of group %s for %s", g.Group, strings.Join(g.Topics, " ")))
			} else {
				line(fmt.Sprintf("deleted group %s", g.Group))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

func (c *client) deleteGroup(ctx context.Context, name string) error {
	r, err := c.admin.DeleteGroup(ctx, name)
	switch err := cmp.Or(err, r.Err); {
	case errors.Is(err, kerr.GroupIDNotFound):
		return c.unknownGroup(ctx, name)
	case errors.Is(err, kerr.NonEmptyGroup):
		return fmt.Errorf("group %s has members: stop them first", name)
	case err != nil:
		return refused("group", name, c.explain(err), "")
	}
	return nil
}

func (c *client) deleteOffsets(ctx context.Context, name string, wanted map[string][]int32) error {
	set := kadm.TopicsSet{}
	for topic, partitions := range wanted {
		if len(partitions) == 0 {
			topics, err := c.topics(ctx, []string{topic})
			if err != nil {
				return err
			}
			partitions = topics[topic].Partitions.Numbers()
		}
		set.Add(topic, partitions...)
	}
	answers, err := c.admin.DeleteOffsets(ctx, name, set)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return c.unknownGroup(ctx, name)
	}
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return refused("group", name, c.explain(err), "")
	}
	return nil
}
