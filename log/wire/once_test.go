package wire

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// named gives the numbers of partitions, or names, as an answer has them.
func named[T any, N any](list []T, name func(T) N) (out []N) {
	for _, e := range list {
		out = append(out, name(e))
	}
	return out
}

func expectNamed[N comparable](t *testing.T, what string, got []N, want ...N) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: answered %v, expected each once: %v", what, got, want)
	}
}

func TestAGroupThatIsNamedAgainIsDescribedOnce(t *testing.T) {
	ts := newTestServer(t)
	c := ts.dial()
	names := []string{"g", "h", "g", "g", "i", "h"}
	versions(t, 15, func(t *testing.T, v int16) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = v, names
		got := c.do(req).(*kmsg.DescribeGroupsResponse).Groups
		expectNamed(t, "DescribeGroups", named(got, func(g kmsg.DescribeGroupsResponseGroup) string { return g.Group }), "g", "h", "i")
	})
	versions(t, 69, func(t *testing.T, v int16) {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups = v, names
		got := c.do(req).(*kmsg.ConsumerGroupDescribeResponse).Groups
		expectNamed(t, "ConsumerGroupDescribe", named(got, func(g kmsg.ConsumerGroupDescribeResponseGroup) string { return g.Group }), "g", "h", "i")
	})
}

func TestAnOffsetThatIsAskedForAgainIsAnsweredOnce(t *testing.T) {
	ts := newTestServer(t)
	top, other := ts.topic("t", 3), ts.topic("u", 1)
	err := ts.b.CommitOffsets(broker.GroupMember{Group: "g", Generation: -1}, map[record.TopicPartition]broker.CommittedOffset{
		topicPartition("t", 0): {Offset: 0, Metadata: "m"}, topicPartition("t", 2): {Offset: 0, Metadata: "n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := ts.dial()
	versions(t, 9, func(t *testing.T, v int16) {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group = v, "g"
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		for _, ask := range []struct {
			top        broker.Topic
			partitions []int32
		}{{top, []int32{2, 0, 2}}, {other, []int32{0}}, {top, []int32{0, 2}}, {top, []int32{0, 1}}} {
			req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: ask.top.Name, Partitions: ask.partitions})
			g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: ask.top.Name, TopicID: ask.top.ID, Partitions: ask.partitions})
		}
		h := g
		h.Group = "h"
		req.Groups = []kmsg.OffsetFetchRequestGroup{g, h, g, g}
		resp := c.do(req).(*kmsg.OffsetFetchResponse)
		var got [][]int32
		for _, t := range resp.Topics {
			got = append(got, named(t.Partitions, func(p kmsg.OffsetFetchResponseTopicPartition) int32 { return p.Partition }))
		}
		if v >= 8 {
			expectNamed(t, "OffsetFetch", named(resp.Groups, func(g kmsg.OffsetFetchResponseGroup) string { return g.Group }), "g", "h")
			for _, t := range resp.Groups[0].Topics {
				got = append(got, named(t.Partitions, func(p kmsg.OffsetFetchResponseGroupTopicPartition) int32 { return p.Partition }))
			}
		}
		if want := [][]int32{{2, 0}, {0}, {1}}; !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("version %d: partitions %v, expected %v", v, got, want)
		}
	})
}

func TestAResourceThatIsNamedAgainIsDescribedOnce(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	ts.topic("1", 1)
	c := ts.dial()
	versions(t, 32, func(t *testing.T, v int16) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Version = v
		for _, r := range []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}, {ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "1"}, {ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}} {
			req.Resources = append(req.Resources, r, r)
		}
		req.Resources = append(req.Resources, req.Resources...)
		got := c.do(req).(*kmsg.DescribeConfigsResponse).Resources
		expectNamed(t, "DescribeConfigs", named(got, func(r kmsg.DescribeConfigsResponseResource) string {
			return r.ResourceType.String() + " " + r.ResourceName
		}), "TOPIC t", "TOPIC 1", "BROKER 1")
	})
}

func TestTheProducersOfAPartitionAreToldOnce(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 3)
	ts.topic("u", 1)
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{1, 0, 1}}, {Topic: "u", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{0, 2}}}
	var got [][]int32
	for _, top := range ts.dial().do(req).(*kmsg.DescribeProducersResponse).Topics {
		got = append(got, named(top.Partitions, func(p kmsg.DescribeProducersResponseTopicPartition) int32 { return p.Partition }))
	}
	if want := [][]int32{{1, 0}, {0}, {2}}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("partitions %v, expected %v", got, want)
	}
}
