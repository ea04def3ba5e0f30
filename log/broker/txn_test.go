package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// tx is a transactional producer in a test.
type tx struct {
	h   *harness
	id  string
	who ProducerIdentity
	seq map[record.TopicPartition]int32
}

func (h *harness) tx(id string) *tx {
	h.t.Helper()
	who, err := h.InitProducerID(id, time.Minute, NoProducer)
	h.ok(err)
	return &tx{h: h, id: id, who: who, seq: map[record.TopicPartition]int32{}}
}

func (x *tx) tryPut(topic string, n int, values ...string) error {
	if err := x.h.AddPartitionsToTxn(x.id, x.who, []record.TopicPartition{tp(topic, n)}); err != nil {
		return err
	}
	_, err := x.h.part(topic, n).Produce(batch(x.who, x.seq[tp(topic, n)], true, x.h.now.UnixMilli(), values...), AcksLeader)
	if err == nil {
		x.seq[tp(topic, n)] += int32(len(values))
	}
	return err
}

func (x *tx) put(topic string, n int, values ...string) {
	x.h.t.Helper()
	x.h.ok(x.tryPut(topic, n, values...))
}

func (x *tx) offsets(group string, offsets map[record.TopicPartition]CommittedOffset) {
	x.h.t.Helper()
	x.h.ok(x.h.AddOffsetsToTxn(x.id, x.who, group))
	x.h.ok(x.h.TxnOffsetCommit(x.id, x.who, GroupMember{Group: group, Generation: -1}, offsets))
}

func (x *tx) end(commit bool) error {
	_, err := x.h.EndTxn(x.id, x.who, commit)
	return err
}

func (h *harness) committed(group string, p record.TopicPartition) record.Offset {
	h.t.Helper()
	m, err := h.FetchOffsets(context.Background(), group, nil, false)
	h.ok(err)
	if o, ok := m[p]; ok {
		return o.Offset
	}
	return record.NoOffset
}

func TestReadCommittedEndsAtTheLastStableOffsetAndPassesOverAborted(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x, y := h.tx("x"), h.tx("y")
	x.put("a", 0, "x1")
	y.put("a", 0, "y1")
	h.put("a", 0, AcksLeader, "plain")
	h.expect("a", 0, true)
	h.expect("a", 0, false, "x1", "y1", "plain")
	h.ok(y.end(false))
	h.expect("a", 0, true) // x is open and began first
	h.ok(x.end(true))
	h.expect("a", 0, true, "x1", "plain")
	x.put("a", 0, "x2")
	h.ok(x.end(false))
	x.put("a", 0, "x3")
	h.ok(x.end(true))
	h.expect("a", 0, true, "x1", "plain", "x3")
	h.reopen()
	h.expect("a", 0, true, "x1", "plain", "x3")
}

func TestACommitIsOnDiskWithAllThatItCovers(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.topic("out", 3)
	h.put("in", 0, AcksLeader, "1", "2", "3")
	x := h.tx("x")
	x.put("out", 0, "a")
	x.put("out", 2, "b")
	x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 2, Metadata: "m"}})
	h.ok(x.end(true))
	x.put("out", 0, "open")
	h.crash(0, "boot-2")
	h.expect("out", 0, true, "a")
	h.expect("out", 2, true, "b")
	if got := h.values("in", 0, false); len(got) < 2 {
		t.Fatalf("the input must be on disk up to the committed offset 2, found %q", got)
	}
	if o := h.committed("g", tp("in", 0)); o != 2 {
		t.Fatalf("expected the committed offset 2, found %d", o)
	}
	// The producer believes that it is in a transaction; part of it may be gone.
	if err := x.end(true); !errors.Is(err, ErrInvalidProducerEpoch) {
		t.Fatalf("after a new boot EndTxn must be refused, found %v", err)
	}
	h.expect("out", 0, true, "a")
}

func TestANewBootRefusesAlsoWhoWasIdleInTheLog(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	x.put("a", 0, "gone") // neither this nor the record of the partition is synced
	h.crash(0, "boot-2")
	err := h.AddPartitionsToTxn("x", x.who, []record.TopicPartition{tp("a", 0)})
	h.is(err, ErrInvalidProducerEpoch)
	who, err := h.InitProducerID("x", time.Minute, x.who) // KIP-360: it may go on
	h.ok(err)
	x.who, x.seq = who, map[record.TopicPartition]int32{}
	x.put("a", 0, "1")
	h.ok(x.end(true))
	h.expect("a", 0, true, "1")
}

func TestAnOpenTransactionContinuesAfterAProcessCrash(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.topic("a", 2)
	h.put("in", 0, AcksLeader, "1")
	x := h.tx("x")
	x.put("a", 0, "1")
	x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 1}})
	h.crash(100, "boot-1")
	h.expect("a", 0, true)
	x.put("a", 1, "2")
	h.ok(x.end(true))
	h.expect("a", 0, true, "1")
	h.expect("a", 1, true, "2")
	if o := h.committed("g", tp("in", 0)); o != 1 {
		t.Fatalf("expected the committed offset 1, found %d", o)
	}
}

func TestANewProducerFencesTheOldOne(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	old := h.tx("x")
	old.put("a", 0, "old")
	x := h.tx("x")
	h.expect("a", 0, true) // its transaction was aborted
	if o := h.part("a", 0).Offsets(); o.Stable != o.End {
		t.Fatalf("the predecessor's transaction must be over: %+v", o)
	}
	h.is(old.tryPut("a", 0, "zombie"), ErrProducerFenced)
	_, err := h.part("a", 0).Produce(batch(old.who, 1, true, 0, "zombie"), AcksLeader)
	h.is(err, ErrInvalidProducerEpoch)
	h.is(old.end(true), ErrProducerFenced)
	_, err = h.InitProducerID("x", time.Minute, old.who)
	h.is(err, ErrProducerFenced)
	x.put("a", 0, "new")
	h.ok(x.end(true))
	h.ok(x.end(true)) // repeated
	h.is(x.end(false), ErrInvalidTxnState)
	h.expect("a", 0, true, "new")
}

func TestATransactionalBatchNeedsItsPartitionInTheTransaction(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	_, err := h.part("a", 1).Produce(batch(x.who, 0, true, 0, "v"), AcksLeader)
	h.is(err, ErrNotInTransaction)
	x.put("a", 0, "1")
	_, err = h.part("a", 1).Produce(batch(x.who, 0, true, 0, "v"), AcksLeader)
	h.is(err, ErrNotInTransaction)
	_, err = h.part("a", 1).Produce(batch(ProducerIdentity{999, 0}, 0, true, 0, "v"), AcksLeader)
	h.is(err, ErrUnknownProducerID)
	h.is(h.TxnOffsetCommit("x", x.who, GroupMember{Group: "g", Generation: -1}, nil), ErrNotInTransaction)
}

func TestTransactionsOverTimeAreAborted(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	x.put("a", 0, "1")
	h.now = h.now.Add(59 * time.Second)
	h.ok(h.Tick())
	h.expect("a", 0, false, "1")
	h.now = h.now.Add(2 * time.Second)
	h.ok(h.Tick())
	h.is(x.end(true), ErrInvalidProducerEpoch)
	h.put("a", 0, AcksLeader, "plain")
	h.expect("a", 0, true, "plain")
	who, err := h.InitProducerID("x", time.Minute, x.who) // KIP-588: not fenced for good
	h.ok(err)
	x.who, x.seq = who, map[record.TopicPartition]int32{}
	x.put("a", 0, "2")
	h.ok(x.end(true))
	h.expect("a", 0, true, "plain", "2")
}

func TestDuplicatesOfAnIdempotentProducerAreNotWrittenTwice(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	who, err := h.InitProducerID("", 0, NoProducer)
	h.ok(err)
	p := h.part("a", 0)
	for range 2 {
		_, err := p.Produce(batch(who, 0, false, 0, "1", "2"), AcksAll)
		h.ok(err)
	}
	r, err := p.Produce(batch(who, 0, false, 0, "1", "2"), AcksAll)
	h.ok(err)
	if !r.Duplicate || r.BaseOffset != 0 {
		t.Fatalf("expected a duplicate at 0, found %+v", r)
	}
	_, err = p.Produce(batch(who, 7, false, 0, "gap"), AcksAll)
	h.is(err, segment.ErrOutOfOrderSequence)
	h.expect("a", 0, false, "1", "2")
}

func TestProducerIDsAreNeverHandedOutTwice(t *testing.T) {
	h := newHarness(t, nil)
	seen := map[record.ProducerID]bool{}
	for round := range 3 {
		for range 5 {
			who, err := h.InitProducerID("", 0, NoProducer)
			h.ok(err)
			if seen[who.ID] {
				t.Fatalf("producer id %d was handed out twice", who.ID)
			}
			seen[who.ID] = true
		}
		h.crash(0, fmt.Sprint("boot", round))
	}
}

func TestFetchOffsetsWithRequireStableWaitsForTheMarker(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.put("in", 0, AcksLeader, "1", "2")
	h.ok(h.CommitOffsets(GroupMember{Group: "g", Generation: -1}, map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 1}}))
	x := h.tx("x")
	x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 2}})
	if o := h.committed("g", tp("in", 0)); o != 1 {
		t.Fatalf("a pending offset must not show: expected 1, found %d", o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := h.FetchOffsets(ctx, "g", nil, true)
	h.is(err, context.Canceled)
	got := make(chan record.Offset)
	go func() {
		m, _ := h.FetchOffsets(context.Background(), "g", []record.TopicPartition{tp("in", 0)}, true)
		got <- m[tp("in", 0)].Offset
	}()
	h.ok(x.end(true))
	if o := <-got; o != 2 {
		t.Fatalf("expected 2 after the commit, found %d", o)
	}
}

// TestRecoveryAtEachStepOfACommit cuts the power (and, with the same boot id,
// only the process) before each change that a commit makes to the file system.
func TestRecoveryAtEachStepOfACommit(t *testing.T) {
	for _, boot := range []string{"boot-1", "boot-2"} {
		for _, percent := range []int{0, 50, 100} {
			if boot == "boot-1" && percent != 100 {
				continue // the page cache survives a process
			}
			t.Run(fmt.Sprintf("%s/%d", boot, percent), func(t *testing.T) { commitCutEverywhere(t, boot, percent) })
		}
	}
}

func commitCutEverywhere(t *testing.T, boot string, percent int) {
	var clones []*vfs.Mem
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.topic("out", 2)
	h.put("in", 0, AcksLeader, "1", "2")
	x := h.tx("x")
	run := func() {
		x.put("out", 0, "a0")
		x.put("out", 1, "a1")
		x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 1}})
	}
	run()
	h.ok(x.end(true))
	x.put("out", 0, "b0")
	x.put("out", 1, "b1")
	x.offsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 2}})
	acked := -1
	rng := rand.New(rand.NewPCG(7, uint64(percent)))
	cut := func(vfs.Event) {
		clones = append(clones, h.fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: rng}))
	}
	h.faults.SetHooks(cut, cut)
	h.ok(x.end(true))
	acked = len(clones)
	x.put("out", 0, "c0") // the next transaction begins before Complete is written
	h.ok(h.Tick())
	h.faults.SetHooks(nil, nil)
	if acked < 4 {
		t.Fatalf("expected several steps in a commit, found %d", acked)
	}
	for i, clone := range clones {
		for range 2 { // recovery must also be repeatable
			h2 := &harness{t: t, fs: clone, now: h.now, boot: boot}
			h2.open()
			second := slices.Contains(h2.values("out", 0, true), "b0")
			want := func(n int) []string {
				if second {
					return []string{fmt.Sprint("a", n), fmt.Sprint("b", n)}
				}
				return []string{fmt.Sprint("a", n)}
			}
			if i >= acked && !second {
				t.Fatalf("step %d of %d: an acknowledged commit is gone", i, len(clones))
			}
			h2.expect("out", 0, true, want(0)...)
			h2.expect("out", 1, true, want(1)...)
			offset := record.Offset(1)
			if second {
				offset = 2
			}
			if o := h2.committed("g", tp("in", 0)); o != offset {
				t.Fatalf("step %d: transaction committed=%v, but the group's offset is %d", i, second, o)
			}
			if boot != "boot-1" {
				for n := range 2 {
					if o := h2.part("out", n).Offsets(); o.Stable != o.End {
						t.Fatalf("step %d: a transaction is still open in out-%d after a new boot: %+v", i, n, o)
					}
				}
			}
			h2.Broker.Abandon()
			clone = clone.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: rng})
		}
	}
}

func TestPlainOffsetsPastTheEndAreBroughtBackAndLogged(t *testing.T) {
	var resets []string
	h := newHarness(t, func(c *Config) {
		c.Hooks.OffsetReset = func(g string, p record.TopicPartition, from, to record.Offset) {
			resets = append(resets, fmt.Sprint(g, p, from, to))
		}
	})
	h.topic("in", 1)
	h.put("in", 0, AcksAll, "1")
	h.put("in", 0, AcksLeader, "2", "3")
	h.ok(h.CommitOffsets(GroupMember{Group: "g", Generation: -1}, map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 3}}))
	h.crash(0, "boot-2")
	if o := h.committed("g", tp("in", 0)); o != 1 {
		t.Fatalf("expected the offset brought back to 1, found %d", o)
	}
	if len(resets) != 1 || !strings.Contains(h.logs.String(), "past the end") {
		t.Fatalf("expected one reset that is logged, found %v and %s", resets, h.logs.String())
	}
	h.crash(0, "boot-3")
	if o := h.committed("g", tp("in", 0)); o != 1 {
		t.Fatalf("the reset itself must last: found %d", o)
	}
}

func TestAFailedSyncOfADecisionIsAnUnknownOutcome(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	x.put("a", 0, "1")
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpSync, Name: "/data/__transaction_state-*/*", Err: errDisk})
	h.is(x.end(true), ErrUnknownOutcome)
	h.faults.SetRules()
	h.expect("a", 0, true)
	h.is(x.end(true), ErrOffline)
	h.crash(0, "boot-2")
	h.expect("a", 0, true)
}

func TestADecisionIsNotOnDiskBeforeTheMarkersOfTheOneBefore(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	x.put("a", 0, "first")
	h.ok(x.end(true)) // its marker is in the page cache
	x.put("a", 1, "second")
	h.ok(x.end(true)) // from here on recovery looks at this decision only
	h.crash(0, "boot-2")
	h.expect("a", 0, true, "first")
	h.expect("a", 1, true, "second")
}

func TestTheCleanerDropsNoDecisionWhoseMarkersAreNotOnDisk(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	x.put("a", 0, "first")
	h.ok(x.end(true))
	x.put("a", 1, "open") // a record of the same id that overtakes the decision
	h.now = h.now.Add(time.Hour)
	h.ok(h.CleanNow())
	h.crash(0, "boot-2")
	h.expect("a", 0, true, "first")
	h.expect("a", 1, true)
}
