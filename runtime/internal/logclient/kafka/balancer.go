package kafka

import (
	"sort"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer deals partitions out by number: partition p of every topic goes to the
// same member, so that the inputs of one task, and the stores of one partition
// number, are together. A number stays with its owner while the owner has no
// more than its share.
type balancer struct{}

// protocol is the assignor's name in the group; members must agree on it.
const protocol = "millstream-by-number"

// ProtocolName implements kgo.GroupBalancer.
func (balancer) ProtocolName() string { return protocol }

// IsCooperative implements kgo.GroupBalancer: only what moves stops.
func (balancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements kgo.GroupBalancer.
func (balancer) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation = 3, topics, generation
	for topic, parts := range owned {
		p := kmsg.NewConsumerMemberMetadataOwnedPartition()
		p.Topic, p.Partitions = topic, parts
		meta.OwnedPartitions = append(meta.OwnedPartitions, p)
	}
	sort.Slice(meta.OwnedPartitions, func(i, j int) bool { return meta.OwnedPartitions[i].Topic < meta.OwnedPartitions[j].Topic })
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	return kgo.ParseConsumerSyncAssignment(assignment)
}

// MemberBalancer implements kgo.GroupBalancer.
func (b balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, err
	}
	return cb, cb.MemberTopics(), nil
}

// Balance implements kgo.ConsumerBalancerBalance. All members of an application
// have the same topics; one that lacks a topic gets what it has of a number.
func (balancer) Balance(cb *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	most := int32(0)
	for _, n := range topics {
		most = max(most, n)
	}
	n := len(cb.Members())
	owners := make([]map[int32]bool, n)
	for i := range n {
		owners[i] = map[int32]bool{}
		_, meta := cb.MemberAt(i)
		for _, owned := range meta.OwnedPartitions {
			for _, p := range owned.Partitions {
				owners[i][p] = true
			}
		}
	}
	to := deal(most, owners)
	plan := cb.NewPlan()
	for i := range n {
		m, meta := cb.MemberAt(i)
		for _, topic := range meta.Topics {
			for p := range topics[topic] {
				if to[p] == i {
					plan.AddPartition(m, topic, p)
				}
			}
		}
	}
	// Nobody gets a number before its owner has let it go.
	plan.AdjustCooperative(cb)
	return plan
}

// deal gives each number one of the members: as even as can be, and as few moves
// from the present owners as that allows.
func deal(numbers int32, owners []map[int32]bool) []int {
	to := make([]int, numbers)
	if len(owners) == 0 {
		return to
	}
	share, more := int(numbers)/len(owners), int(numbers)%len(owners)
	has := make([]int, len(owners))
	room := func(i int) bool { return has[i] < share || has[i] == share && more > 0 }
	give := func(p int32, i int) {
		if has[i] == share {
			more--
		}
		has[i]++
		to[p] = i
	}
	for p := range numbers {
		to[p] = -1
		for i, owned := range owners {
			if owned[p] && room(i) {
				give(p, i)
				break
			}
		}
	}
	for p := range numbers {
		for i := 0; to[p] < 0; i++ {
			if room(i) {
				give(p, i)
			}
		}
	}
	return to
}
