package broker

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// newFullDiskHarness has a topic, a group and transactions; then the process is
// killed and started again with the rules in force.
func newFullDiskHarness(t *testing.T, survives int, rules ...vfs.Rule) *harness {
	var h *harness
	full := false
	h = newHarness(t, func(*Config) {
		if full {
			h.faults.SetRules(rules...)
		}
	})
	h.topic("a", 2)
	h.put("a", 0, AcksAll, "1", "2")
	x := h.tx("x")
	x.put("a", 1, "t1")
	x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("a", 0): {Offset: 1}})
	h.ok(x.end(true))
	full = true
	h.crash(survives, "boot-1")
	return h
}

// goesOn writes, reads and commits in everything, and looks at it again after a kill.
func (h *harness) goesOn() {
	h.t.Helper()
	h.put("a", 0, AcksAll, "3")
	x := h.tx("x")
	x.put("a", 1, "t2")
	x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("a", 0): {Offset: 3}})
	h.ok(x.end(true))
	for range 2 {
		h.expect("a", 0, true, "1", "2", "3")
		h.expect("a", 1, true, "t1", "t2")
		if o := h.committed("g", tp("a", 0)); o != 3 {
			h.t.Fatalf("expected the committed offset 3, found %d", o)
		}
		h.tune = nil
		h.crash(0, "boot-1")
	}
}

// A disk without room for a new file: everything can be read after a kill,
// appends are refused, and all goes on when there is room.
func TestABrokerKilledOnAFullDiskReadsAndGoesOnWhenThereIsSpace(t *testing.T) {
	for _, ticked := range []bool{true, false} {
		h := newFullDiskHarness(t, 100, vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Name: "*.tmp", Err: syscall.ENOSPC})
		h.expect("a", 0, true, "1", "2")
		h.expect("a", 1, true, "t1")
		if o := h.committed("g", tp("a", 0)); o != 1 {
			t.Fatalf("expected the committed offset 1, found %d", o)
		}
		for range 2 {
			_, err := h.part("a", 0).Produce(batch(NoProducer, 0, false, 0, "refused"), AcksLeader)
			h.is(err, ErrStorage)
			h.is(err, syscall.ENOSPC)
			_ = h.Tick() // may find no space either
			h.now = h.now.Add(reopenInterval)
		}
		if end := h.part("a", 0).Offsets().End; end != 2 {
			t.Fatalf("nothing may be appended on a full disk: expected the end 2, found %d", end)
		}
		h.faults.SetRules()
		if ticked {
			h.ok(h.Tick())
			for _, p := range h.allPartitions() {
				if line := "partition=" + fmt.Sprint(p.tp.Partition) + " epoch=1"; p.tp.Topic == "a" && strings.Count(h.logs.String(), "topic=a "+line) != 1 {
					t.Errorf("expected one line %q in:\n%s", line, h.logs.String())
				}
			}
		}
		h.goesOn()
	}
}

// An epoch that is not written must not be promised to a clean start.
func TestACleanStopOnAFullDiskLeavesNoCleanMark(t *testing.T) {
	h := newFullDiskHarness(t, 100, vfs.Rule{Ops: vfs.OpCreate, Name: "/data/a-0/*.tmp", Err: syscall.ENOSPC})
	epoch := h.part("a", 0).Offsets().Epoch
	h.is(h.Broker.Close(), syscall.ENOSPC)
	h.tune = nil
	h.open()
	if e := h.part("a", 0).Offsets().Epoch; e < epoch {
		t.Fatalf("the epoch fell from %d to %d", epoch, e)
	}
	h.goesOn()
}

// A disk without room for what opening a partition writes: the partition is
// offline and opened by a tick when there is room.
func TestAPartitionThatAFullDiskKeptFromOpeningIsReopened(t *testing.T) {
	h := newFullDiskHarness(t, 100, vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Name: "/data/a-?/*", Err: syscall.ENOSPC})
	for n := range 2 {
		_, err := h.part("a", n).Read(0, ReadOptions{})
		h.is(err, ErrOffline)
	}
	_ = h.Tick() // the markers of x find no space either
	h.faults.SetRules()
	_ = h.Tick()
	if h.part("a", 0).Err() == nil {
		t.Fatal("each try reads files: not at every tick")
	}
	h.now = h.now.Add(reopenInterval + time.Millisecond)
	h.ok(h.Tick())
	if n := strings.Count(h.logs.String(), "partition reopened"); n != 2 {
		t.Errorf("expected a line for each of 2 partitions, found %d", n)
	}
	h.goesOn()
}

// Damage that shows only when there is space again is no case for another try.
func TestAPartitionThatIsDamagedIsNotReopened(t *testing.T) {
	h := newFullDiskHarness(t, 100, vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Name: "/data/a-?/*", Err: syscall.ENOSPC})
	h.ok(h.fs.RemoveAll("/data/a-0"))
	f, err := h.fs.OpenReadWrite("/data/a-1/partition.metadata")
	h.ok(err)
	h.ok(f.Truncate(0))
	h.ok(f.Close())
	for range 3 {
		h.now = h.now.Add(time.Minute)
		_ = h.Tick()
	}
	h.faults.SetRules()
	for range 3 {
		h.now = h.now.Add(time.Minute)
		_ = h.Tick()
	}
	for n := range 2 {
		if err := h.part("a", n).Err(); err == nil || segment.NoSpace(err) {
			t.Errorf("a-%d: expected the damage, found %v", n, err)
		}
	}
	before := h.faults.Count(vfs.OpOpen)
	h.now = h.now.Add(time.Minute)
	_ = h.Tick() // the markers of x wait for the partition
	if n := h.faults.Count(vfs.OpOpen); n != before {
		t.Fatal("a damaged partition is tried again")
	}
}

// fullDisk lets nothing be allocated: no new file, no byte more in one that is there.
var fullDisk = []vfs.Rule{{Ops: vfs.OpCreate, Err: syscall.ENOSPC}, {Ops: vfs.OpWrite, Name: "*.log", Err: syscall.ENOSPC}, {Ops: vfs.OpWrite, Name: "*.tmp", Err: syscall.ENOSPC}}

// On a full disk an operator deletes a topic, or shortens its retention, out of
// the reserve; what is on disk then survives a power cut at any time.
func TestTopicsAreDeletedAndChangedOnAFullDisk(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		h := newHarness(t, nil)
		h.topic("large", 1)
		h.topic("small", 1)
		h.put("large", 0, AcksAll, "1", "2")
		h.put("small", 0, AcksAll, "1")
		if restarted { // the reserve of the process before serves
			h.tune = func(*Config) { h.faults.SetRules(fullDisk...) }
			h.crash(100, "boot-1")
		}
		h.faults.SetRules(fullDisk...)
		h.is(h.CreatePartitions("small", 2, false), ErrStorage)
		_, err := h.CreateTopic(TopicSpec{Name: "another", Partitions: 1})
		h.is(err, ErrStorage) // which leaves the reserve alone
		h.tune = nil
		h.ok(h.set(Resource{Type: TopicResource, Name: "small"}, "retention.ms", "60000"))
		h.is(h.set(Resource{Type: TopicResource, Name: "small"}, "retention.ms", "70000"), ErrStorage) // the reserve is spent
		h.faults.SetRules()
		h.now = h.now.Add(reopenInterval)
		h.ok(h.Tick()) // a moment with space
		h.faults.SetRules(fullDisk...)
		_ = h.DeleteTopic("large") // its files are gone; that they are is written when there is space
		if _, ok := h.Topic("large"); ok {
			t.Error("the topic is still there")
		}
		if _, err := h.fs.Stat("/data/large-0"); err == nil {
			t.Error("the files of the topic are still there")
		}
		h.faults.SetRules()
		h.crash(0, "boot-1")
		if _, ok := h.Topic("large"); ok {
			t.Error("the topic is back after a power cut")
		}
		if top, ok := h.Topic("small"); !ok || top.Configs["retention.ms"] != "60000" || top.Partitions != 1 {
			t.Errorf("the other topic is %+v after a power cut", top)
		}
		h.topic("large", 1)
		h.put("large", 0, AcksAll, "again")
		h.expect("large", 0, false, "again")
		h.expect("small", 0, false, "1")
		h.ok(h.Broker.Close())
		if _, list := verifyFindings(t, h.fs, VerifyOptions{}); len(list) > 0 {
			t.Errorf("findings %v", list)
		}
		h.open()
	}
}

// The reserve grows with the metadata.
func TestTheReserveHoldsTheWholeMetadata(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 150 {
		h.topic(fmt.Sprintf("a-topic-with-a-long-name-and-a-number-%d", i), 1, "cleanup.policy", "compact")
	}
	content, err := readFile(h.fs, "/data/"+metadataFile)
	h.ok(err)
	held, err := readFile(h.fs, "/data/"+reserveFile)
	h.ok(err)
	if len(content) < reserveUnit || len(held) <= len(content) {
		t.Fatalf("%d bytes of metadata, %d of reserve", len(content), len(held))
	}
	h.faults.SetRules(fullDisk...)
	h.ok(h.set(Resource{Type: TopicResource, Name: "a-topic-with-a-long-name-and-a-number-7"}, "retention.ms", "5"))
	h.faults.SetRules()
	h.crash(0, "boot-1")
	if top, ok := h.Topic("a-topic-with-a-long-name-and-a-number-7"); !ok || top.Configs["retention.ms"] != "5" || len(h.Topics()) != 150 {
		t.Errorf("%d topics, the changed one is %+v", len(h.Topics()), top)
	}
}
