package clients

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin answers as the other drivers do, by way of JSON.
func (f *franzGo) admin(op string, a adminArgs, result any) error {
	cl, err := f.open()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := soon()
	defer cancel()
	answer, err := franzAdmin(ctx, kadm.NewClient(cl), op, a)
	if err != nil || result == nil {
		return err
	}
	return throughJSON(answer, result)
}

func throughJSON(answer, result any) error {
	b, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, result)
}

func franzAdmin(ctx context.Context, adm *kadm.Client, op string, a adminArgs) (any, error) {
	switch op {
	case "create":
		_, err := adm.CreateTopic(ctx, a.Partitions, 1, a.Configs, a.Topic)
		return nil, err
	case "describe":
		return franzDescribe(ctx, adm, a.Topic)
	case "alter":
		var changes []kadm.AlterConfig
		for k, v := range a.Configs {
			c := kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: v}
			if v == nil {
				c.Op = kadm.DeleteConfig
			}
			changes = append(changes, c)
		}
		rs, err := adm.AlterTopicConfigs(ctx, changes, a.Topic)
		if err != nil {
			return nil, err
		}
		return nil, rs[0].Err
	case "grow":
		rs, err := adm.UpdatePartitions(ctx, int(a.Partitions), a.Topic)
		if err != nil {
			return nil, err
		}
		return nil, rs.Error()
	case "trim":
		var os kadm.Offsets
		os.AddOffset(a.Topic, a.Partition, a.Offset, -1)
		rs, err := adm.DeleteRecords(ctx, os)
		if err != nil {
			return nil, err
		}
		return nil, rs.Error()
	case "drop":
		rs, err := adm.DeleteTopics(ctx, a.Topic)
		if err != nil {
			return nil, err
		}
		return nil, rs.Error()
	case "topics":
		ts, err := adm.ListTopics(ctx)
		return ts.Names(), err
	case "offset":
		return franzOffset(ctx, adm, a)
	default:
		return franzGroupAdmin(ctx, adm, op, a)
	}
}

func franzDescribe(ctx context.Context, adm *kadm.Client, topic string) (any, error) {
	ts, err := adm.ListTopics(ctx, topic)
	if err == nil {
		err = ts.Error()
	}
	if err != nil {
		return nil, err
	}
	rs, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, c := range rs[0].Configs {
		if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
			configs[c.Key] = c.MaybeValue()
		}
	}
	return map[string]any{"partitions": len(ts[topic].Partitions), "configs": configs}, rs[0].Err
}

func franzOffset(ctx context.Context, adm *kadm.Client, a adminArgs) (any, error) {
	var rs kadm.ListedOffsets
	var err error
	switch a.At {
	case -1:
		rs, err = adm.ListEndOffsets(ctx, a.Topic)
	case -2:
		rs, err = adm.ListStartOffsets(ctx, a.Topic)
	case -3:
		rs, err = adm.ListMaxTimestampOffsets(ctx, a.Topic)
	default:
		rs, err = adm.ListOffsetsAfterMilli(ctx, a.At, a.Topic)
	}
	if err != nil {
		return nil, err
	}
	o, ok := rs.Lookup(a.Topic, a.Partition)
	if !ok {
		return nil, fmt.Errorf("no answer for %s-%d", a.Topic, a.Partition)
	}
	return o.Offset, o.Err
}

func franzGroupAdmin(ctx context.Context, adm *kadm.Client, op string, a adminArgs) (any, error) {
	switch op {
	case "groups":
		gs, err := adm.ListGroups(ctx)
		return gs.Groups(), err
	case "group":
		gs, err := adm.DescribeGroups(ctx, a.Group)
		if err != nil {
			return nil, err
		}
		return map[string]any{"state": gs[a.Group].State, "members": len(gs[a.Group].Members)}, gs[a.Group].Err
	case "committed":
		os, err := adm.FetchOffsets(ctx, a.Group)
		offsets := map[string]int64{}
		os.Each(func(o kadm.OffsetResponse) { offsets[fmt.Sprintf("%s-%d", o.Topic, o.Partition)] = o.At })
		return offsets, err
	case "reset":
		var os kadm.Offsets
		os.AddOffset(a.Topic, a.Partition, a.Offset, -1)
		rs, err := adm.CommitOffsets(ctx, a.Group, os)
		if err != nil {
			return nil, err
		}
		return nil, rs.Error()
	case "forget":
		rs, err := adm.DeleteGroups(ctx, a.Group)
		if err != nil {
			return nil, err
		}
		return nil, rs.Error()
	}
	return nil, fmt.Errorf("no operation %s", op)
}
