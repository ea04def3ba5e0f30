package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

func TestAFullDiskRefusesAppendsKeepsReadingAndRecovers(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "1")
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Err: syscall.ENOSPC, Short: 10})
	_, err := h.part("a", 0).Produce(batch(NoProducer, 0, false, 0, "2"), AcksAll)
	h.is(err, ErrStorage)
	if !strings.Contains(err.Error(), "a-0") {
		t.Fatalf("the error must name the partition: %v", err)
	}
	_, err = h.CreateTopic(TopicSpec{Name: "b"})
	h.is(err, ErrStorage)
	h.expect("a", 0, false, "1")
	h.faults.SetRules()
	h.put("a", 0, AcksAll, "3")
	h.topic("b", 1)
	h.expect("a", 0, false, "1", "3")
	h.crash(0, "boot-2")
	h.expect("a", 0, false, "1", "3")
}

func TestAFailedSyncTakesThePartitionOfflineUntilItIsReopened(t *testing.T) {
	var offline []string
	h := newHarness(t, func(c *Config) {
		c.Hooks.Offline = func(p record.TopicPartition, err error) { offline = append(offline, fmt.Sprint(p)) }
	})
	h.topic("a", 1)
	h.topic("b", 1)
	h.put("a", 0, AcksAll, "1")
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpSync, Name: "/data/a-0/*", Err: syscall.EIO})
	_, err := h.part("a", 0).Produce(batch(NoProducer, 0, false, 0, "2"), AcksAll)
	h.is(err, ErrOffline)
	h.faults.SetRules()
	_, err = h.part("a", 0).Produce(batch(NoProducer, 0, false, 0, "3"), AcksAll)
	h.is(err, ErrOffline)
	h.put("b", 0, AcksAll, "fine")
	if !slices.Equal(offline, []string{"{a 0}"}) {
		t.Fatalf("expected one hook for a-0, found %v", offline)
	}
	h.ok(h.part("a", 0).Reopen())
	h.put("a", 0, AcksAll, "4")
	if got := h.values("a", 0, false); got[0] != "1" || got[len(got)-1] != "4" {
		t.Fatalf("found %q", got)
	}
}

func TestATransactionOpenInAReopenedPartitionCannotCommit(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x, y := h.tx("x"), h.tx("y")
	x.put("a", 0, "maybe cut")
	x.put("a", 1, "1")
	y.put("a", 1, "y")
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpSync, Name: "/data/a-0/*", Err: syscall.EIO})
	h.is(x.end(true), ErrOffline)
	h.faults.SetRules()
	h.is(x.end(true), ErrOffline)
	h.ok(h.part("a", 0).Reopen())
	h.is(x.end(true), ErrInvalidProducerEpoch)
	h.ok(y.end(true))
	h.expect("a", 0, true)
	h.expect("a", 1, true, "y")
}

func TestACorruptPartitionIsOfflineAndTheRestServes(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.topic("b", 1)
	for i := range 10 {
		h.put("a", 0, AcksAll, fmt.Sprint(i))
	}
	h.put("b", 0, AcksAll, "fine")
	h.ok(h.RunRetention()) // the recovery point is past the data
	f, err := h.fs.OpenReadWrite("/data/a-0/00000000000000000000.log")
	h.ok(err)
	_, err = f.WriteAt([]byte{0xff}, 100)
	h.ok(err)
	h.ok(f.Close())
	h.crash(100, "boot-2")
	_, err = h.part("a", 0).Read(0, ReadOptions{})
	h.is(err, ErrOffline)
	var c *segment.CorruptionError
	if !errors.As(err, &c) {
		t.Fatalf("expected a CorruptionError, found %v", err)
	}
	h.expect("b", 0, false, "fine")
}

func TestAPartitionWhoseDirectoryIsGoneIsOffline(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	h.put("a", 1, AcksAll, "fine")
	h.ok(h.fs.RemoveAll("/data/a-0"))
	h.crash(100, "boot-1")
	_, err := h.part("a", 0).Read(0, ReadOptions{})
	h.is(err, ErrOffline)
	h.expect("a", 1, false, "fine")
	h.ok(h.Broker.Close())
	if ok, err := takeCleanMark(h.fs, "/data"); ok || err != nil {
		t.Fatal("a broker with an offline partition must not leave the clean mark")
	}
	h.open()
}

func TestTopicCreationAndDeletionAreWholeAtEveryCrash(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("old", 2)
	h.put("old", 1, AcksAll, "v")
	var clones []*vfs.Mem
	cut := func(vfs.Event) { clones = append(clones, h.fs.CrashClone(vfs.CrashConfig{})) }
	h.faults.SetHooks(cut, cut)
	h.topic("new", 3)
	h.ok(h.DeleteTopic("old"))
	h.topic("old", 1)
	h.faults.SetHooks(nil, nil)
	for i, clone := range clones {
		h2 := &harness{t: t, fs: clone, now: h.now, boot: "boot-2"}
		h2.open()
		for _, topic := range h2.Topics() {
			for n := range topic.Partitions {
				if err := h2.part(topic.Name, int(n)).Err(); err != nil {
					t.Fatalf("cut %d: %v", i, err)
				}
			}
			if topic.Name == "old" && topic.Partitions == 1 {
				h2.expect("old", 0, false)
			}
		}
		for _, name := range []string{"old", "new"} {
			_, err := h2.EnsureTopic(TopicSpec{Name: name})
			h2.ok(err)
		}
		h2.Broker.Abandon()
	}
}

func TestRetentionRemovesOldSegments(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1, "retention.ms", "60000", "segment.bytes", "1024")
	for i := range 50 {
		h.put("a", 0, AcksLeader, fmt.Sprintf("%d %s", i, strings.Repeat("x", 100)))
		h.now = h.now.Add(5 * time.Second)
	}
	h.ok(h.RunRetention())
	o := h.part("a", 0).Offsets()
	if o.Start == 0 || o.Start > 40 {
		t.Fatalf("expected some segments gone, found the start at %d", o.Start)
	}
	h.crash(0, "boot-2")
	if s := h.part("a", 0).Offsets().Start; s != o.Start {
		t.Fatalf("the start must last: expected %d, found %d", o.Start, s)
	}
}

func TestTheCleanerKeepsTheLastValueOfEachKey(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1, "cleanup.policy", "compact", "segment.bytes", "1024", "min.cleanable.dirty.ratio", "0.1")
	for i := range 100 {
		h.put("a", 0, AcksLeader, fmt.Sprintf("k%d=%d", i%5, i))
		h.now = h.now.Add(time.Second)
	}
	before := h.part("a", 0).Bytes()
	h.ok(h.RunCleaner())
	if after := h.part("a", 0).Bytes(); after >= before {
		t.Fatalf("expected fewer bytes than %d, found %d", before, after)
	}
	check := func() {
		t.Helper()
		last := map[string]string{}
		for _, kv := range h.values("a", 0, false) {
			k, v, _ := strings.Cut(kv, "=")
			last[k] = v
		}
		if len(last) != 5 || last["k4"] != "99" || last["k0"] != "95" {
			t.Fatalf("found %v", last)
		}
	}
	check()
	h.ok(h.CleanNow())
	h.crash(0, "boot-2")
	check()
}

func TestCleaningTheCoordinatorsTopicsLosesNothing(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.topic("out", 1)
	for range 20 {
		h.put("in", 0, AcksAll, "v")
	}
	x := h.tx("x")
	for i := range 20 {
		x.put("out", 0, fmt.Sprint(i))
		x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: record.Offset(i + 1)}})
		h.ok(x.end(i%4 != 3))
		h.now = h.now.Add(time.Second)
		if i%5 == 0 {
			h.ok(h.CleanNow())
		}
	}
	h.ok(h.CleanNow())
	before := h.values("out", 0, true)
	for _, boot := range []string{"boot-1", "boot-2", "boot-3"} {
		percent := 0
		if boot == "boot-1" {
			percent = 100
		}
		h.crash(percent, boot)
		if got := h.values("out", 0, true); !slices.Equal(got, before) || len(got) != 15 {
			t.Fatalf("%s: expected %q, found %q", boot, before, got)
		}
		if o := h.committed("g", tp("in", 0)); o != 19 {
			t.Fatalf("%s: expected the offset 19, found %d", boot, o)
		}
		h.ok(h.CleanNow())
	}
}

func TestGroupOffsetsExpireWithTheirGroup(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.OffsetsRetention = time.Hour })
	h.topic("in", 1)
	h.ok(h.CommitOffsets(GroupMember{Group: "g", Generation: -1}, map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 0}}))
	h.now = h.now.Add(59 * time.Minute)
	h.ok(h.Tick())
	if o := h.committed("g", tp("in", 0)); o != 0 {
		t.Fatalf("expected the offset to be there still, found %d", o)
	}
	h.now = h.now.Add(10 * time.Minute) // the look for them comes every ten minutes
	h.ok(h.Tick())
	h.crash(100, "boot-1")
	if o := h.committed("g", tp("in", 0)); o != record.NoOffset {
		t.Fatalf("expected no offset, found %d", o)
	}
}

func TestDeletingATopicForgetsItsOffsets(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.topic("b", 1)
	m := GroupMember{Group: "g", Generation: -1}
	h.ok(h.CommitOffsets(m, map[record.TopicPartition]CommittedOffset{tp("a", 0): {}, tp("b", 0): {}}))
	h.ok(h.DeleteTopic("a"))
	h.topic("a", 1)
	got, err := h.FetchOffsets(context.Background(), "g", nil, true)
	h.ok(err)
	if _, ok := got[tp("a", 0)]; ok || len(got) != 1 {
		t.Fatalf("expected only b, found %v", got)
	}
}

// The offsets are forgotten after the topic's name is free.
func TestDeletingATopicLeavesTheOffsetsOfItsSuccessor(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	m := GroupMember{Group: "g", Generation: -1}
	h.ok(h.CommitOffsets(m, map[record.TopicPartition]CommittedOffset{tp("a", 0): {}, tp("a", 1): {}}))
	first, err := h.removeTopic("a")
	h.ok(err)
	h.topic("a", 2)
	h.ok(h.CommitOffsets(m, map[record.TopicPartition]CommittedOffset{tp("a", 1): {}}))
	h.ok(h.groups.forgetTopic("a", first.id))
	h.crash(100, "boot-1")
	got, err := h.FetchOffsets(context.Background(), "g", nil, true)
	h.ok(err)
	if _, ok := got[tp("a", 1)]; !ok || len(got) != 1 {
		t.Fatalf("expected only what was committed for the new topic, found %v", got)
	}
}

func TestRecompressionAndLogAppendTime(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1, "compression.type", "zstd", "message.timestamp.type", "LogAppendTime")
	r := h.put("a", 0, AcksAll, "1", "2", "3")
	if r.LogAppendTime != h.now.UnixMilli() {
		t.Fatalf("expected the append time, found %+v", r)
	}
	h.expect("a", 0, false, "1", "2", "3")
	c, err := h.part("a", 0).Read(0, ReadOptions{})
	h.ok(err)
	defer c.Release()
	if hd, _, ok := c.NextBatch(); !ok || hd.Codec() != record.Zstd || !hd.LogAppendTime() {
		t.Fatalf("expected zstd with append time, found %+v", hd)
	}
}

func TestDirectoryFilesAreKafkas(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "1", "2")
	h.ok(h.Broker.Close())
	want := map[string]string{
		"meta.properties":                  "cluster.id=" + h.ClusterID() + "\ndirectory.id=",
		"recovery-point-offset-checkpoint": "0\n1\na 0 2\n",
		"log-start-offset-checkpoint":      "0\n1\na 0 0\n",
		"replication-offset-checkpoint":    "0\n1\na 0 2\n",
		".kafka_cleanshutdown":             `{"version":0,"brokerEpoch":-1}`,
		"LOCK":                             "pid ",
	}
	for name, part := range want {
		b, err := readFile(h.fs, "/data/"+name)
		h.ok(err)
		if !strings.Contains(string(b), part) {
			t.Errorf("%s: expected %q in %q", name, part, b)
		}
	}
	h.open()
	if _, err := h.fs.Stat("/data/.kafka_cleanshutdown"); err == nil {
		t.Error("the clean mark must go at the start")
	}
}

func TestEveryFlippedByteOfTheMetadataIsNoticed(t *testing.T) {
	b, err := encodeMetadata(&metadata{Topics: []topicEntry{{Name: "a", ID: strings.Repeat("0", 32), Partitions: 1}}, NextProducerID: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 0x20
		if _, err := decodeMetadata("f", bad); err == nil {
			t.Fatalf("byte %d (%q) flipped unnoticed", i, b[i])
		}
	}
}
