package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newGroupDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "describe GROUP...",
		Short:   "Show members, offsets and lag of groups",
		Example: "  millstream group describe billing",
		Args:    atLeastOne("the names of the groups"),
		RunE:    runGroupDescribe,
	}
	addClientSettings(cmd)
	return cmd
}

// describedGroup is an element of `group describe -o json`.
type describedGroup struct {
	Group       string            `json:"group"`
	State       string            `json:"state"`
	Type        string            `json:"type"` // classic or consumer
	Assignor    string            `json:"assignor"`
	Epoch       *int32            `json:"epoch,omitempty"` // of a consumer group
	Coordinator int32             `json:"coordinator"`
	Members     []describedMember `json:"members"`
	Offsets     []describedOffset `json:"offsets"`
	Lag         int64             `json:"lag"` // of all partitions with an offset
}

type describedMember struct {
	Member   string             `json:"member"`
	Instance string             `json:"instance,omitempty"`
	Client   string             `json:"client"`
	Host     string             `json:"host"`
	Assigned map[string][]int32 `json:"assigned"`
}

type describedOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // null: none
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	Lag       *int64 `json:"lag"`
	Metadata  string `json:"metadata,omitempty"`
	Member    string `json:"member,omitempty"`
}

func runGroupDescribe(cmd *cobra.Command, names []string) error {
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	described := []*describedGroup{}
	var errs []error
	for _, name := range names {
		g, err := c.describeGroup(ctx, name)
		if err == nil {
			err = c.describeOffsets(ctx, g)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		described = append(described, g)
	}
	err = render(cmd, described, func(line row) {
		for i, g := range described {
			if i > 0 {
				line("")
			}
			g.print(line)
		}
	})
	return errors.Join(append(errs, err)...)
}

// describeGroup asks for a group of either protocol.
func (c *client) describeGroup(ctx context.Context, name string) (*describedGroup, error) {
	next, err := kadm.AnyE(c.admin.DescribeConsumerGroups(ctx, name))
	if err == nil && next.Err == nil {
		g := &describedGroup{Group: name, State: next.State, Type: "consumer", Assignor: next.AssignorName, Epoch: &next.Epoch, Coordinator: next.Coordinator.NodeID, Members: []describedMember{}}
		for _, m := range next.Members {
			g.addMember(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost, m.Assignment)
		}
		return g, nil
	}
	classic, err := kadm.AnyE(c.admin.DescribeGroups(ctx, name))
	if err == nil {
		err = classic.Err
	}
	switch {
	case errors.Is(err, kerr.GroupIDNotFound), err == nil && classic.State == "Dead":
		return nil, c.unknownGroup(ctx, name)
	case err != nil:
		return nil, refused("group", name, c.explain(err), "")
	}
	g := &describedGroup{Group: name, State: classic.State, Type: "classic", Assignor: classic.Protocol, Coordinator: classic.Coordinator.NodeID, Members: []describedMember{}}
	for _, m := range classic.Members {
		set := kadm.TopicsSet{}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				set.Add(t.Topic, t.Partitions...)
			}
		}
		g.addMember(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost, set)
	}
	return g, nil
}

func (g *describedGroup) addMember(id string, instance *string, clientID, host string, assigned kadm.TopicsSet) {
	m := describedMember{Member: id, Client: clientID, Host: strings.TrimPrefix(host, "/"), Assigned: map[string][]int32{}}
	if instance != nil {
		m.Instance = *instance
	}
	for _, t := range assigned.Sorted() {
		m.Assigned[t.Topic] = t.Partitions
	}
	g.Members = append(g.Members, m)
}

// describeOffsets adds what is committed, and assigned without a commit.
func (c *client) describeOffsets(ctx context.Context, g *describedGroup) error {
	committed, err := c.admin.FetchOffsets(ctx, g.Group)
	if err != nil {
		return refused("group", g.Group, c.explain(err), "")
	}
	member := map[string]map[int32]string{}
	for _, m := range g.Members {
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				if member[topic] == nil {
					member[topic] = map[int32]string{}
				}
				member[topic][p] = m.Member
				if _, ok := committed.Lookup(topic, p); !ok {
					committed.Add(kadm.OffsetResponse{Offset: kadm.Offset{Topic: topic, Partition: p, At: -1}})
				}
			}
		}
	}
	g.Offsets = []describedOffset{}
	starts, ends, err := c.bounds(ctx, committed.Offsets().TopicsSet().Topics())
	if err != nil {
		return err
	}
	for _, o := range committed.Sorted() {
		d := describedOffset{Topic: o.Topic, Partition: o.Partition, Metadata: o.Metadata, Member: member[o.Topic][o.Partition],
			Start: starts[o.Topic][o.Partition].Offset, End: ends[o.Topic][o.Partition].Offset}
		if o.At >= 0 {
			lag := max(0, d.End-max(o.At, d.Start))
			d.Committed, d.Lag = &o.At, &lag
			g.Lag += lag
		}
		g.Offsets = append(g.Offsets, d)
	}
	return nil
}

func (g *describedGroup) print(line row) {
	line(fmt.Sprintf("group %s, %s, %s protocol, assignor %s, coordinator %d, %d members, lag %d",
		g.Group, dashed(g.State), g.Type, dashed(g.Assignor), g.Coordinator, len(g.Members), g.Lag))
	line("TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG", "MEMBER")
	for _, o := range g.Offsets {
		line(o.Topic, o.Partition, orDash(o.Committed), o.Start, o.End, orDash(o.Lag), dashed(o.Member))
	}
	if len(g.Members) == 0 {
		return
	}
	line("")
	line("MEMBER", "CLIENT", "HOST", "INSTANCE", "PARTITIONS")
	for _, m := range g.Members {
		n := 0
		for _, p := range m.Assigned {
			n += len(p)
		}
		line(m.Member, dashed(m.Client), dashed(m.Host), dashed(m.Instance), n)
	}
}
