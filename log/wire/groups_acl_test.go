package wire

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// TestGroupsNeedAuthorization: who may do nothing is told so by every request
// about groups, and learns nothing.
func TestGroupsNeedAuthorization(t *testing.T) {
	ts := newTestServer(t, func(_ *broker.Config, c *Config) { c.Security.Authorization = &Authorization{} })
	ts.topic("a", 1)
	c := ts.dial()
	refused := func(what string, found, want int16) {
		t.Helper()
		if found != want {
			t.Errorf("%s: expected code %d, found %d", what, want, found)
		}
	}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group = 9, "g"
	commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "a", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
	refused("OffsetCommit", c.do(commit).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, codeGroupAuthorizationFailed)
	for _, v := range []int16{1, 7, 9} {
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Version, fetch.Group = v, "g"
		fetch.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "a", Partitions: []int32{0}}}
		fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
		resp := c.do(fetch).(*kmsg.OffsetFetchResponse)
		code := resp.ErrorCode
		switch {
		case v == 1:
			code = resp.Topics[0].Partitions[0].ErrorCode
		case v >= 8:
			code = resp.Groups[0].ErrorCode
		}
		refused("OffsetFetch", code, codeGroupAuthorizationFailed)
	}
	for typ, want := range map[int8]int16{0: codeGroupAuthorizationFailed, 1: codeTransactionalIDAuthorizationFailed, 2: codeInvalidRequest} {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorType, find.CoordinatorKeys = 6, typ, []string{"g"}
		refused("FindCoordinator", c.do(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode, want)
	}
	refused("JoinGroup", c.do(join("", 9)).(*kmsg.JoinGroupResponse).ErrorCode, codeGroupAuthorizationFailed)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group = 5, "g"
	refused("SyncGroup", c.do(sync).(*kmsg.SyncGroupResponse).ErrorCode, codeGroupAuthorizationFailed)
	hb := kmsg.NewPtrHeartbeatRequest()
	hb.Version, hb.Group = 4, "g"
	refused("Heartbeat", c.do(hb).(*kmsg.HeartbeatResponse).ErrorCode, codeGroupAuthorizationFailed)
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 5, "g"
	refused("LeaveGroup", c.do(leave).(*kmsg.LeaveGroupResponse).ErrorCode, codeGroupAuthorizationFailed)
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = 6, []string{"g"}
	refused("DescribeGroups", c.do(describe).(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode, codeGroupAuthorizationFailed)
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Version, del.Groups = 2, []string{"g"}
	refused("DeleteGroups", c.do(del).(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode, codeGroupAuthorizationFailed)
	odel := kmsg.NewPtrOffsetDeleteRequest()
	odel.Group = "g"
	refused("OffsetDelete", c.do(odel).(*kmsg.OffsetDeleteResponse).ErrorCode, codeGroupAuthorizationFailed)
	refused("ConsumerGroupHeartbeat", c.do(beat("m", 1)).(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode, codeGroupAuthorizationFailed)
	cd := kmsg.NewPtrConsumerGroupDescribeRequest()
	cd.Version, cd.Groups = 1, []string{"g"}
	refused("ConsumerGroupDescribe", c.do(cd).(*kmsg.ConsumerGroupDescribeResponse).Groups[0].ErrorCode, codeGroupAuthorizationFailed)
	if err := ts.b.CommitOffsets(broker.GroupMember{Group: "g", Generation: -1}, nil); err != nil {
		t.Fatal(err)
	}
	if list := c.do(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse); len(list.Groups) != 0 {
		t.Errorf("ListGroups: expected nothing, found %+v", list.Groups)
	}
}
