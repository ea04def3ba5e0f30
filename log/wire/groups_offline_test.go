package wire

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Clients look for another coordinator and come again; any other code they would
// take for a fact about the group.
func TestAGroupWhosePartitionIsOfflineHasNoCoordinator(t *testing.T) {
	files := vfs.NewMem()
	b, err := broker.Open(broker.Config{Dir: "data", FS: files, MaintenanceInterval: -1, TickInterval: -1, BootID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	top, err := b.CreateTopic(broker.TopicSpec{Name: "a", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.CommitOffsets(broker.GroupMember{Group: "g", Generation: -1}, map[record.TopicPartition]broker.CommittedOffset{topicPartition("a", 0): {}}); err != nil {
		t.Fatal(err)
	}
	offsets, _ := b.TopicView("__consumer_offsets")
	b.Abandon()
	for n := range offsets.Partitions {
		if err := files.RemoveAll(fmt.Sprint("data/__consumer_offsets-", n)); err != nil {
			t.Fatal(err)
		}
	}
	ts := newTestServer(t, func(b *broker.Config, _ *Config) { b.FS = files })
	c := ts.dial()
	unavailable := func(what string, found int16) {
		t.Helper()
		expectCode(t, what, found, codeCoordinatorNotAvailable)
	}
	unavailable("JoinGroup", c.do(join("", 9)).(*kmsg.JoinGroupResponse).ErrorCode)
	unavailable("ConsumerGroupHeartbeat", c.do(beat("m", 1)).(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode)
	commit := offsetCommit("a")
	commit.Group = "g"
	unavailable("OffsetCommit", c.do(commit).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.Groups = 8, []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
	unavailable("OffsetFetch", c.do(fetch).(*kmsg.OffsetFetchResponse).Groups[0].ErrorCode)
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = 5, []string{"g"}
	unavailable("DescribeGroups", c.do(describe).(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode)
	of := kmsg.NewPtrConsumerGroupDescribeRequest()
	of.Groups = []string{"g"}
	unavailable("ConsumerGroupDescribe", c.do(of).(*kmsg.ConsumerGroupDescribeResponse).Groups[0].ErrorCode)
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Groups = []string{"g"}
	unavailable("DeleteGroups", c.do(del).(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode)
	for _, d := range dialects {
		p := ts.wireProducer(d, "x")
		unavailable("AddOffsetsToTxn, "+d.name, c.do(p.addOffsetsRequest("g")).(*kmsg.AddOffsetsToTxnResponse).ErrorCode)
		unavailable("TxnOffsetCommit, "+d.name, offsetsCode(c.do(p.offsetsRequest("g", topicPartition("a", 0), 1))))
		expectCode(t, "a transaction without the group, "+d.name, p.put(top, 0, "v"), codeNone)
		expectCode(t, "its end, "+d.name, p.finish(true), codeNone)
	}
}
