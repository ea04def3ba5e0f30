package wire

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// beat is a ConsumerGroupHeartbeat that joins.
func beat(member string, version int16) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID = version, "g", member
	r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.Topics = 60_000, []string{"a"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return r
}

func withoutInterval(b *broker.Config, _ *Config) {
	b.Properties = map[string]string{"group.consumer.assignment.interval.ms": "0"}
}

// TestAMemberOfTheConsumerProtocolAtEachVersion: version 0 gets a member id, from
// version 1 on it must bring one.
func TestAMemberOfTheConsumerProtocolAtEachVersion(t *testing.T) {
	ts := newTestServer(t, withoutInterval)
	topic := ts.topic("a", 3)
	c := ts.dial()
	one := c.do(beat("", 0)).(*kmsg.ConsumerGroupHeartbeatResponse)
	if one.ErrorCode != 0 || orEmpty(one.MemberID) == "" || one.MemberEpoch != 1 || one.HeartbeatIntervalMillis != 5000 {
		t.Fatalf("v0: %+v", one)
	}
	if a := one.Assignment; a == nil || len(a.Topics) != 1 || a.Topics[0].TopicID != topic.ID || !slices.Equal(a.Topics[0].Partitions, []int32{0, 1, 2}) {
		t.Fatalf("v0: expected all of a, found %+v", a)
	}
	if resp := c.do(beat("", 1)).(*kmsg.ConsumerGroupHeartbeatResponse); resp.ErrorCode != codeInvalidRequest || orEmpty(resp.ErrorMessage) == "" {
		t.Fatalf("v1 without a member id: %+v", resp)
	}
	two := c.do(beat("two", 1)).(*kmsg.ConsumerGroupHeartbeatResponse)
	if two.ErrorCode != 0 || two.MemberEpoch != 2 || two.Assignment == nil || len(two.Assignment.Topics) != 0 {
		t.Fatalf("v1: %+v", two)
	}
	steady := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	steady.Version, steady.Group, steady.MemberID, steady.MemberEpoch, steady.RebalanceTimeoutMillis = 1, "g", "two", 2, -1
	if resp := c.do(steady).(*kmsg.ConsumerGroupHeartbeatResponse); resp.ErrorCode != 0 || resp.Assignment != nil {
		t.Fatalf("a heartbeat that brings no news: %+v", resp)
	}
	for change, want := range map[string]int16{"epoch": codeFencedMemberEpoch, "member": codeUnknownMemberID, "assignor": codeUnsupportedAssignor, "group": codeGroupIDNotFound, "regex": codeInvalidRegularExpression} {
		bad := *steady
		switch change {
		case "epoch":
			bad.MemberEpoch = 9
		case "member":
			bad.MemberID = "nobody"
		case "assignor":
			bad.ServerAssignor = kmsg.StringPtr("mine")
		case "group":
			bad.Group = "none"
		case "regex":
			bad.SubscribedTopicRegex = kmsg.StringPtr("a(")
		}
		if resp := c.do(&bad).(*kmsg.ConsumerGroupHeartbeatResponse); resp.ErrorCode != want {
			t.Errorf("another %s: expected code %d, found %d", change, want, resp.ErrorCode)
		}
	}
	for v := int16(0); v <= 1; v++ {
		d := kmsg.NewPtrConsumerGroupDescribeRequest()
		d.Version, d.Groups, d.IncludeAuthorizedOperations = v, []string{"g", "none"}, true
		resp := c.do(d).(*kmsg.ConsumerGroupDescribeResponse)
		g := resp.Groups[0]
		if g.State != "Reconciling" || g.Epoch != 2 || g.AssignmentEpoch != 2 || g.AssignorName != "uniform" || len(g.Members) != 2 || g.AuthorizedOperations == 0 {
			t.Fatalf("ConsumerGroupDescribe v%d: %+v", v, g)
		}
		i := slices.IndexFunc(g.Members, func(m kmsg.ConsumerGroupDescribeResponseGroupMember) bool { return m.MemberID == "two" })
		if m := g.Members[i]; len(m.Assignment.TopicPartitions) != 0 || m.TargetAssignment.TopicPartitions[0].Topic != "a" || v >= 1 && m.MemberType != 1 {
			t.Errorf("ConsumerGroupDescribe v%d: member %+v", v, m)
		}
		if resp.Groups[1].ErrorCode != codeGroupIDNotFound {
			t.Errorf("ConsumerGroupDescribe v%d of no group: %+v", v, resp.Groups[1])
		}
	}
	leave := *steady
	leave.MemberEpoch = -1
	if resp := c.do(&leave).(*kmsg.ConsumerGroupHeartbeatResponse); resp.ErrorCode != 0 || resp.MemberEpoch != -1 {
		t.Errorf("leave: %+v", resp)
	}
}

// TestOffsetsOfAnOpenTransactionAreUnstable, and those of topics that are read stay.
func TestOffsetsOfAnOpenTransactionAreUnstable(t *testing.T) {
	ts := newTestServer(t, withoutInterval)
	topic := ts.topic("a", 2)
	c := ts.dial()
	who, err := ts.b.InitProducerID("x", 0, broker.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.b.AddOffsetsToTxn("x", who, "g"); err != nil {
		t.Fatal(err)
	}
	pending := map[record.TopicPartition]broker.CommittedOffset{{Topic: "a"}: {Offset: 5}}
	if err := ts.b.TxnOffsetCommit("x", who, broker.GroupMember{Group: "g", Generation: -1}, pending); err != nil {
		t.Fatal(err)
	}
	fetch := func(stable bool) (offset int64, code int16) {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.RequireStable = 10, stable
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{TopicID: topic.ID, Partitions: []int32{0}}, {TopicID: [16]byte{1}, Partitions: []int32{0}}}
		req.Groups = append(req.Groups, g)
		got := c.do(req).(*kmsg.OffsetFetchResponse).Groups[0]
		if got.Topics[1].Partitions[0].ErrorCode != codeUnknownTopicID {
			t.Errorf("expected UNKNOWN_TOPIC_ID, found %+v", got.Topics[1])
		}
		return got.Topics[0].Partitions[0].Offset, got.Topics[0].Partitions[0].ErrorCode
	}
	if o, code := fetch(true); o != -1 || code != codeUnstableOffsetCommit {
		t.Errorf("stable: expected UNSTABLE_OFFSET_COMMIT, found offset %d, code %d", o, code)
	}
	if o, code := fetch(false); o != -1 || code != 0 {
		t.Errorf("not stable: expected no offset, found %d, code %d", o, code)
	}
	if _, err := ts.b.EndTxn("x", who, true); err != nil {
		t.Fatal(err)
	}
	if o, code := fetch(true); o != 5 || code != 0 {
		t.Errorf("expected offset 5, found %d, code %d", o, code)
	}
	del := kmsg.NewPtrOffsetDeleteRequest()
	del.Group = "g"
	for _, name := range []string{"a", "none"} {
		del.Topics = append(del.Topics, kmsg.OffsetDeleteRequestTopic{Topic: name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}})
	}
	c.do(beat("m", 1))
	codes := func() []int16 {
		resp := c.do(del).(*kmsg.OffsetDeleteResponse)
		return []int16{resp.ErrorCode, resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[1].Partitions[0].ErrorCode}
	}
	if got, want := codes(), []int16{0, codeGroupSubscribedToTopic, codeUnknownTopicOrPartition}; !slices.Equal(got, want) {
		t.Errorf("OffsetDelete: expected codes %v, found %v", want, got)
	}
	leave := beat("m", 1)
	leave.MemberEpoch = -1
	c.do(leave)
	if got, want := codes(), []int16{0, 0, codeUnknownTopicOrPartition}; !slices.Equal(got, want) {
		t.Errorf("OffsetDelete of an empty group: expected codes %v, found %v", want, got)
	}
	if o, _ := fetch(true); o != -1 {
		t.Errorf("expected no offset after OffsetDelete, found %d", o)
	}
}
