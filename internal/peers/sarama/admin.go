package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/IBM/sarama"
)

type adminArgs struct {
	Topic, Group          string
	Partitions, Partition int32
	Offset, At            int64
	Configs               map[string]*string
}

// administer opens sarama's admin client for one call.
func (d *driver) administer(f func(sarama.ClusterAdmin) (any, error)) (any, error) {
	admin, err := sarama.NewClusterAdmin(d.brokers, config())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return f(admin)
}

func (d *driver) create(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		detail := &sarama.TopicDetail{NumPartitions: a.Partitions, ReplicationFactor: 1, ConfigEntries: a.Configs}
		return nil, c.CreateTopic(a.Topic, detail, false)
	})
}

func (d *driver) describe(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		topics, err := c.DescribeTopics([]string{a.Topic})
		if err != nil {
			return nil, err
		}
		if topics[0].Err != sarama.ErrNoError {
			return nil, topics[0].Err
		}
		entries, err := c.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: a.Topic})
		if err != nil {
			return nil, err
		}
		configs := map[string]string{}
		for _, e := range entries {
			if e.Source == sarama.SourceTopic {
				configs[e.Name] = e.Value
			}
		}
		return map[string]any{"partitions": len(topics[0].Partitions), "configs": configs}, nil
	})
}

func (d *driver) alter(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{}
		for k, v := range a.Configs {
			e := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: v}
			if v == nil {
				e.Operation = sarama.IncrementalAlterConfigsOperationDelete
			}
			entries[k] = e
		}
		return nil, c.IncrementalAlterConfig(sarama.TopicResource, a.Topic, entries, false)
	})
}

func (d *driver) grow(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		return nil, c.CreatePartitions(a.Topic, a.Partitions, nil, false)
	})
}

func (d *driver) trim(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		return nil, c.DeleteRecords(a.Topic, map[int32]int64{a.Partition: a.Offset})
	})
}

func (d *driver) drop(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) { return nil, c.DeleteTopic(a.Topic) })
}

func (d *driver) topics(struct{}) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		topics, err := c.ListTopics()
		return slices.Sorted(maps.Keys(topics)), err
	})
}

// offset asks by time; -1 is the end and -2 the start.
func (d *driver) offset(a adminArgs) (any, error) {
	client, err := sarama.NewClient(d.brokers, config())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.GetOffset(a.Topic, a.Partition, a.At)
}

func (d *driver) groups(struct{}) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		groups, err := c.ListConsumerGroups()
		return slices.Sorted(maps.Keys(groups)), err
	})
}

func (d *driver) group(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		groups, err := c.DescribeConsumerGroups([]string{a.Group})
		if err != nil {
			return nil, err
		}
		return map[string]any{"state": groups[0].State, "members": len(groups[0].Members)}, nil
	})
}

func (d *driver) committed(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) {
		found, err := c.ListConsumerGroupOffsets(a.Group, nil)
		if err != nil {
			return nil, err
		}
		offsets := map[string]int64{}
		for topic, blocks := range found.Blocks {
			for p, b := range blocks {
				offsets[fmt.Sprintf("%s-%d", topic, p)] = b.Offset
			}
		}
		return offsets, nil
	})
}

func (d *driver) forget(a adminArgs) (any, error) {
	return d.administer(func(c sarama.ClusterAdmin) (any, error) { return nil, c.DeleteConsumerGroup(a.Group) })
}
