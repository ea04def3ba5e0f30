package broker

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

func joinOf(name, member string) group.JoinRequest {
	return group.JoinRequest{Group: name, MemberID: member, ClientID: "c", SessionMS: 10_000, RebalanceMS: 20_000, ProtocolType: "consumer",
		Protocols: []group.Protocol{{Name: "range", Metadata: group.Subscription([]string{"a"})}}}
}

func beatOf(name, member string, epoch int32) group.HeartbeatRequest {
	return group.HeartbeatRequest{Group: name, MemberID: member, Epoch: epoch, RebalanceMS: 20_000, Topics: []string{"a"}, Owned: group.Assignment{}}
}

// withoutInterval lets target assignments follow each other at once.
func withoutInterval(c *Config) {
	c.Properties = map[string]string{"group.consumer.assignment.interval.ms": "0"}
}

// lead joins a group and gives all of a-0 and a-1 to the one member.
func lead(h *harness, name string) *group.JoinResult {
	h.t.Helper()
	ctx := context.Background()
	j := must(h.JoinGroup(ctx, joinOf(name, "")))
	assigned := must(group.AssignRange(j.Members, func(string) int32 { return 2 }))
	must(h.SyncGroup(ctx, group.SyncRequest{Group: name, Generation: j.Generation, MemberID: j.MemberID, Assignments: assigned}))
	return j
}

func TestMembersOfBothProtocolsSurviveARestart(t *testing.T) {
	ctx := context.Background()
	for _, boot := range []string{"boot-1", "boot-2"} { // of the process, of the machine
		h := newHarness(t, nil)
		h.topic("a", 2)
		j := lead(h, "classic")
		r := must(h.ConsumerHeartbeat(ctx, beatOf("consumer", "x", 0)))
		if len(r.Assignment) != 1 {
			t.Fatalf("expected both partitions, found %v", r.Assignment)
		}
		h.crash(0, boot)
		h.ok(h.Heartbeat(GroupMember{Group: "classic", Generation: j.Generation, Member: j.MemberID}))
		again := must(h.ConsumerHeartbeat(ctx, beatOf("consumer", "x", r.Epoch)))
		if again.Epoch != r.Epoch {
			t.Errorf("expected epoch %d, found %d", r.Epoch, again.Epoch)
		}
		h.now = h.now.Add(time.Minute)
		h.ok(h.Tick())
		h.is(h.Heartbeat(GroupMember{Group: "classic", Generation: j.Generation, Member: j.MemberID}), ErrUnknownMember)
		_, err := h.ConsumerHeartbeat(ctx, beatOf("consumer", "x", r.Epoch))
		h.is(err, ErrUnknownMember)
		h.Abandon()
	}
}

// TestAnAnswerOfTheCoordinatorIsNotGivenBeforeItsRecordIsOnDisk: also not one that
// needs no record itself.
func TestAnAnswerOfTheCoordinatorIsNotGivenBeforeItsRecordIsOnDisk(t *testing.T) {
	h := newHarness(t, nil)
	ctx := context.Background()
	h.topic("a", 2)
	must(h.ConsumerHeartbeat(ctx, beatOf("g", "x", 0)))
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpSync, Name: "/data/__consumer_offsets-*/*", Err: syscall.EIO})
	_, err := h.ConsumerHeartbeat(ctx, beatOf("g", "y", 0))
	h.is(err, ErrOffline)
	h.faults.SetRules()
	_, err = h.ConsumerHeartbeat(ctx, beatOf("g", "x", 1))
	h.is(err, ErrOffline)
	h.crash(0, "boot-2")
	if info, _ := h.DescribeGroup("g"); len(info.Members) != 1 {
		t.Errorf("expected the member x only, found %+v", info)
	}
}

func TestARecordOfAGroupThatCannotBeWrittenChangesNothing(t *testing.T) {
	h := newHarness(t, withoutInterval)
	ctx := context.Background()
	h.topic("a", 2)
	must(h.ConsumerHeartbeat(ctx, beatOf("g", "x", 0)))
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpWrite, Name: "/data/__consumer_offsets-*/*", Err: syscall.ENOSPC})
	_, err := h.ConsumerHeartbeat(ctx, beatOf("g", "y", 0))
	if err == nil {
		t.Fatal("expected an error")
	}
	h.faults.SetRules()
	if r := must(h.ConsumerHeartbeat(ctx, beatOf("g", "x", 1))); r.Epoch != 1 {
		t.Errorf("expected epoch 1 still, found %d", r.Epoch)
	}
	if r := must(h.ConsumerHeartbeat(ctx, beatOf("g", "y", 0))); r.Epoch != 2 {
		t.Errorf("expected epoch 2 now, found %d", r.Epoch)
	}
}

func TestTimersOfGroupsRunWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := must(Open(Config{Dir: "/data", FS: vfs.NewMem(), BootID: "b", GroupInitialDelay: 70 * time.Millisecond}))
		create(t, b, "a", 2)
		begin := time.Now()
		must(b.JoinGroup(t.Context(), joinOf("g", "")))
		if d := time.Since(begin); d != 70*time.Millisecond {
			t.Errorf("expected the first rebalance after 70 ms of the bubble's clock, found %v", d)
		}
		late, cancel := context.WithTimeout(t.Context(), 21*time.Second)
		defer cancel()
		if _, err := b.JoinGroup(late, joinOf("g", "")); err != nil || time.Since(begin) > 10100*time.Millisecond {
			t.Errorf("expected to be alone after the other's session of 10 s, found %v after %v", err, time.Since(begin))
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGroupsFollowTheTopics(t *testing.T) {
	h := newHarness(t, withoutInterval)
	ctx := context.Background()
	one := must(h.ConsumerHeartbeat(ctx, beatOf("g", "x", 0)))
	h.topic("a", 2)
	two := must(h.ConsumerHeartbeat(ctx, beatOf("g", "x", one.Epoch)))
	a, _ := h.Topic("a")
	if two.Epoch != one.Epoch+1 || len(two.Assignment[a.ID]) != 2 {
		t.Fatalf("expected the new topic in the next epoch, found %+v", two)
	}
	h.ok(h.CommitOffsets(GroupMember{Group: "g", Generation: two.Epoch, Member: "x"}, map[record.TopicPartition]CommittedOffset{tp("a", 1): {Offset: 0}}))
	if errs := must(h.DeleteGroupOffsets("g", []record.TopicPartition{tp("a", 1)})); errs[tp("a", 1)] == nil {
		t.Error("expected the offset of a topic that is read to stay")
	}
	h.is(h.DeleteGroup("g"), ErrGroupNotEmpty)
	h.ok(h.DeleteTopic("a"))
	if o := h.committed("g", tp("a", 1)); o != record.NoOffset {
		t.Errorf("expected no offset of a deleted topic, found %d", o)
	}
	if errs, err := h.LeaveGroup("g", []group.Leaver{{MemberID: "x"}, {MemberID: "y"}}); err != nil || errs[0] != nil || !errors.Is(errs[1], ErrUnknownMember) {
		t.Errorf("found %v, %v", errs, err)
	}
	h.ok(h.DeleteGroup("g"))
	h.is(h.DeleteGroup("g"), ErrUnknownGroup)
	if got := h.ListGroups(nil, nil); len(got) != 0 {
		t.Errorf("expected no group, found %v", got)
	}
}
