package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// inAnotherThan is a group in another partition than p.
func inAnotherThan(t *testing.T, b *Broker, p *Partition) string {
	t.Helper()
	for _, name := range []string{"g", "h", "i", "j", "k", "l", "m", "n"} {
		if q := must(b.internalPartition(offsetsTopic, name)); q != p {
			return name
		}
	}
	t.Fatal("all groups are in one partition")
	return ""
}

// A group in a partition of __consumer_offsets that could not be opened is told so
// at once: nothing would ever answer a member that was taken in.
func TestAGroupWhosePartitionIsOfflineIsRefused(t *testing.T) {
	h := newHarness(t, nil)
	ctx := context.Background()
	h.topic("a", 1)
	lead(h, "g")
	p := must(h.internalPartition(offsetsTopic, "g"))
	h.ok(h.fs.RemoveAll(h.partitionDir(p.tp)))
	h.crash(100, "boot-1")
	offsets := map[record.TopicPartition]CommittedOffset{tp("a", 0): {}}
	for what, f := range map[string]func() error{
		"join":          func() error { _, err := h.JoinGroup(ctx, joinOf("g", "")); return err },
		"sync":          func() error { _, err := h.SyncGroup(ctx, group.SyncRequest{Group: "g"}); return err },
		"heartbeat":     func() error { return h.Heartbeat(GroupMember{Group: "g"}) },
		"consumer":      func() error { _, err := h.ConsumerHeartbeat(ctx, beatOf("g", "x", 0)); return err },
		"leave":         func() error { _, err := h.LeaveGroup("g", []group.Leaver{{MemberID: "x"}}); return err },
		"commit":        func() error { return h.CommitOffsets(GroupMember{Group: "g", Generation: -1}, offsets) },
		"fetch":         func() error { _, err := h.FetchOffsets(ctx, "g", nil, false); return err },
		"delete":        func() error { return h.DeleteGroup("g") },
		"delete offset": func() error { _, err := h.DeleteGroupOffsets("g", []record.TopicPartition{tp("a", 0)}); return err },
		"describe":      func() error { return h.GroupErr("g") },
		"transaction": func() error {
			return h.AddOffsetsToTxn("x", must(h.InitProducerID("x", 0, NoProducer)), "g")
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", what)
		} else {
			h.is(err, ErrOffline)
		}
	}
	other := inAnotherThan(t, h.Broker, must(h.internalPartition(offsetsTopic, "g")))
	h.ok(h.CommitOffsets(GroupMember{Group: other, Generation: -1}, offsets))
	h.ok(h.GroupErr(other))
}

// A partition of __consumer_offsets is given up after its groups were read: the
// timers of their members must not keep a core busy.
func TestTimersOfGroupsWhosePartitionIsOfflineRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10_000
		var reads atomic.Int64
		var once sync.Once
		busy := make(chan struct{})
		files := vfs.NewMem()
		faults := vfs.Faulty(files)
		open := func() *Broker {
			return must(Open(Config{Dir: "/data", FS: faults, BootID: "b", Now: func() time.Time {
				if reads.Add(1) > most {
					once.Do(func() { close(busy) })
				}
				return time.Now()
			}}))
		}
		b := open()
		create(t, b, "a", 1)
		j := must(b.JoinGroup(t.Context(), joinOf("g", "")))
		must(b.SyncGroup(t.Context(), group.SyncRequest{Group: "g", Generation: j.Generation, MemberID: j.MemberID}))
		// An offset past the end is to be brought back at the next start, which a full disk refuses.
		m := GroupMember{Group: "g", Generation: j.Generation, Member: j.MemberID}
		if err := b.CommitOffsets(m, map[record.TopicPartition]CommittedOffset{tp("a", 0): {Offset: 7}}); err != nil {
			t.Fatal(err)
		}
		b.Abandon()
		faults.SetRules(vfs.Rule{Ops: vfs.OpWrite, Name: "/data/__consumer_offsets-*/*.log", Err: syscall.ENOSPC})
		b = open()
		defer b.Abandon()
		if b.GroupErr("g") == nil {
			t.Fatal("expected the partition of the group to be offline")
		}
		reads.Store(0)
		select {
		case <-time.After(time.Minute): // the member's session is long over
		case <-busy:
			t.Errorf("the clock was read %d times", most)
		}
	})
}
