package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// Range is the name of the assignment that every client of the classic protocol knows.
const Range = "range"

// Subscription encodes what a consumer tells the leader (consumer protocol, version 0).
func Subscription(topics []string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

// DecodeAssignment reads what Sync gave a consumer; nothing assigned is nil.
func DecodeAssignment(b []byte) ([]record.TopicPartition, error) {
	if len(b) == 0 {
		return nil, nil
	}
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("group: assignment: %w", err)
	}
	var out []record.TopicPartition
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			out = append(out, record.TopicPartition{Topic: t.Topic, Partition: record.Partition(p)})
		}
	}
	return out, nil
}

// AssignRange spreads each topic's partitions over its subscribers in runs, by
// member order: the first ones get one more where it does not divide. It is
// what the leader of a group does, with the members' subscriptions and the
// number of partitions per topic (0: unknown).
func AssignRange(members []JoinedMember, partitions func(topic string) int32) (map[string][]byte, error) {
	subscribers := map[string][]string{}
	out := map[string]*kmsg.ConsumerMemberAssignment{}
	for _, m := range members {
		var meta kmsg.ConsumerMemberMetadata
		if err := meta.ReadFrom(m.Metadata); err != nil {
			return nil, fmt.Errorf("group: subscription of member %s: %w", m.ID, err)
		}
		a := kmsg.NewConsumerMemberAssignment()
		out[m.ID] = &a
		for _, t := range meta.Topics {
			subscribers[t] = append(subscribers[t], m.ID)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(subscribers)) {
		ids := subscribers[topic]
		slices.Sort(ids)
		ids = slices.Compact(ids)
		n, next := int(partitions(topic)), int32(0)
		for i, id := range ids {
			count := n / len(ids)
			if i < n%len(ids) {
				count++
			}
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic = topic
			for range count {
				t.Partitions = append(t.Partitions, next)
				next++
			}
			if count > 0 {
				out[id].Topics = append(out[id].Topics, t)
			}
		}
	}
	encoded := make(map[string][]byte, len(out))
	for id, a := range out {
		encoded[id] = a.AppendTo(nil)
	}
	return encoded, nil
}
