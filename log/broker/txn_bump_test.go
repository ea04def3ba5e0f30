package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// tryJoined appends to partitions that join the transaction by it (KIP-890).
func (x *tx) tryJoined(topic string, n int, values ...string) error {
	p := tp(topic, n)
	if err := x.h.JoinTxn(x.id, x.who, []record.TopicPartition{p}); err != nil {
		return err
	}
	_, err := x.h.part(topic, n).Produce(batch(x.who, x.seq[p], true, x.h.now.UnixMilli(), values...), AcksLeader)
	if err == nil {
		x.seq[p] += int32(len(values))
	}
	return err
}

func (x *tx) joined(topic string, n int, values ...string) {
	x.h.t.Helper()
	x.h.ok(x.tryJoined(topic, n, values...))
}

func (x *tx) joinedOffsets(group string, offsets map[record.TopicPartition]CommittedOffset) {
	x.h.t.Helper()
	x.h.ok(x.h.JoinTxnOffsets(x.id, x.who, group))
	x.h.ok(x.h.TxnOffsetCommit(x.id, x.who, GroupMember{Group: group, Generation: -1}, offsets))
}

// bump ends the transaction and goes on with the identity that it gets.
func (x *tx) bump(commit bool) ProducerIdentity {
	x.h.t.Helper()
	old := x.who
	who, err := x.h.EndTxnAndBump(x.id, x.who, commit)
	x.h.ok(err)
	x.who, x.seq = who, map[record.TopicPartition]int32{}
	return old
}

func TestEachTransactionHasAnEpochOfItsOwn(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	x.joined("a", 0, "1")
	x.joined("a", 0, "2")
	old := x.bump(true)
	if x.who != (ProducerIdentity{old.ID, old.Epoch + 1}) {
		t.Fatalf("expected to go on one epoch above %v, found %v", old, x.who)
	}
	h.expect("a", 0, true, "1", "2")
	// A batch of the first transaction that is late: in it neither the next transaction nor none.
	_, err := h.part("a", 0).Produce(batch(old, 2, true, 0, "late"), AcksLeader)
	h.is(err, ErrInvalidProducerEpoch)
	x.joined("a", 0, "3")
	_, err = h.part("a", 0).Produce(batch(old, 2, true, 0, "late"), AcksLeader)
	h.is(err, ErrInvalidProducerEpoch)
	h.is(h.JoinTxn("x", old, []record.TopicPartition{tp("a", 1)}), ErrInvalidProducerEpoch)
	_, err = h.EndTxnAndBump("x", old, true)
	h.is(err, ErrProducerFenced)
	x.bump(false)
	// The same request again.
	x.joined("a", 1, "4")
	old = x.bump(true)
	again, err := h.EndTxnAndBump("x", old, true)
	h.ok(err)
	if again != x.who {
		t.Fatalf("asked again: expected %v, found %v", x.who, again)
	}
	_, err = h.EndTxnAndBump("x", old, false)
	h.is(err, ErrInvalidTxnState)
	h.expect("a", 0, true, "1", "2")
	h.expect("a", 1, true, "4")
	h.expect("a", 0, false, "1", "2", "3")
}

func TestAZombieDoesNotWriteIntoItsSuccessorsTransaction(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	old := h.tx("x")
	x := h.tx("x")
	// The partition has seen neither of them, and is in the transaction of the newer one.
	h.ok(h.JoinTxn("x", x.who, []record.TopicPartition{tp("a", 0)}))
	_, err := h.part("a", 0).Produce(batch(old.who, 0, true, 0, "zombie"), AcksLeader)
	h.is(err, ErrInvalidProducerEpoch)
	x.bump(true)
	h.expect("a", 0, false)
}

func TestAProducerOfTheBumpingProtocolBeginsEachTransactionWithSequence0(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	x.seq[tp("a", 0)] = 3
	h.is(x.tryJoined("a", 0, "gap"), segment.ErrOutOfOrderSequence)
	x.seq[tp("a", 0)] = 0
	x.joined("a", 0, "1")
	x.bump(true)
	x.seq[tp("a", 0)] = 1
	h.is(x.tryJoined("a", 0, "2"), segment.ErrOutOfOrderSequence)
	y := h.tx("y") // by the first protocol its batches may all have been deleted
	y.seq[tp("a", 0)] = 3
	y.put("a", 0, "3")
	h.ok(y.end(true))
	h.expect("a", 0, true, "1", "3")
}

func TestABatchDoesNotTakeThePlaceOfOneThatWasRefused(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	p, x := h.part("a", 0), h.tx("x")
	put := func(seq int32) error {
		_, err := p.Produce(batch(x.who, seq, true, 0, fmt.Sprint(seq)), AcksLeader)
		return err
	}
	h.is(put(0), ErrNotInTransaction) // the first of several in flight
	h.ok(h.AddPartitionsToTxn("x", x.who, []record.TopicPartition{tp("a", 0)}))
	h.is(put(1), segment.ErrOutOfOrderSequence)
	h.ok(put(0))
	h.ok(put(1))
	h.ok(x.end(true))

	y := h.tx("y")
	x = y
	h.ok(h.AddPartitionsToTxn("y", y.who, []record.TopicPartition{tp("a", 0)}))
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpWrite, Name: "/data/a-0/*.log", Err: errDisk})
	h.is(put(5), ErrStorage)
	h.faults.SetRules()
	h.is(put(6), segment.ErrOutOfOrderSequence)
	h.ok(put(5))
	h.ok(put(6))
	h.ok(y.end(true))
	h.expect("a", 0, true, "0", "1", "5", "6")
}

func TestAnAbortWithoutATransactionIsTakenByTheBumpingProtocol(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	_, err := h.EndTxnAndBump("x", x.who, true)
	h.is(err, ErrInvalidTxnState)
	x.bump(false)
	x.joined("a", 0, "1")
	x.bump(true)
	x.bump(false)
	x.joined("a", 0, "2")
	x.bump(true)
	h.expect("a", 0, true, "1", "2")
	h.crash(100, "boot-1")
	x.joined("a", 0, "3")
	x.bump(true)
	h.expect("a", 0, true, "1", "2", "3")
}

// exhaust brings an id to the last epoch that is handed out, as 32,766 transactions do.
func (x *tx) exhaust() {
	x.h.t.Helper()
	x.who.Epoch = 32766
	e := x.h.txns.lock(x.id, false)
	defer x.h.txns.unlock(e)
	t := *e.t
	t.Identity, t.State, t.Unlogged = txn.Identity(x.who), txn.Empty, false
	x.h.ok(x.h.txns.run(e, txn.Step{Next: &t, Sync: true}))
}

func TestWhereEpochsAreUsedUpTheProducerGoesOnWithANewID(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Flush = FlushOS })
	h.topic("in", 1)
	h.put("in", 0, AcksLeader, "1", "2")
	h.topic("a", 2)
	x := h.tx("x")
	x.exhaust()
	x.joined("a", 0, "1")
	x.joinedOffsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 1}})
	old := x.bump(true)
	if x.who.ID == old.ID || x.who.Epoch != 0 {
		t.Fatalf("expected another producer id at epoch 0 after %v, found %v", old, x.who)
	}
	h.expect("a", 0, true, "1")
	_, err := h.part("a", 0).Produce(batch(old, 1, true, 0, "late"), AcksLeader)
	h.is(err, ErrUnknownProducerID)
	for _, boot := range []string{"", "boot-1"} {
		if boot != "" {
			h.crash(100, boot)
		}
		again, err := h.EndTxnAndBump("x", old, true)
		h.ok(err)
		if again != x.who {
			t.Fatalf("asked again: expected %v, found %v", x.who, again)
		}
	}
	x.joined("a", 0, "2")
	x.joined("a", 1, "3")
	x.bump(true)
	h.expect("a", 0, true, "1", "2")
	h.expect("a", 1, true, "3")
	if o := h.committed("g", tp("in", 0)); o != 1 {
		t.Fatalf("expected the committed offset 1, found %d", o)
	}
	// A newcomer at the last epoch.
	x.exhaust()
	x.joined("a", 0, "zombie")
	y := h.tx("x")
	if y.who.ID == x.who.ID {
		t.Fatalf("expected another producer id than %v, found %v", x.who, y.who)
	}
	h.is(x.tryJoined("a", 0, "zombie"), ErrUnknownProducerID)
	y.joined("a", 0, "4")
	y.bump(true)
	h.expect("a", 0, true, "1", "2", "4")
}

func TestATransactionOverTimeIsAbortedAndItsProducerMayGoOn(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	x := h.tx("x")
	x.joined("a", 0, "1")
	h.now = h.now.Add(61 * time.Second)
	h.ok(h.Tick())
	h.is(x.tryJoined("a", 0, "2"), ErrInvalidProducerEpoch)
	_, err := h.EndTxnAndBump("x", x.who, true)
	h.is(err, ErrInvalidTxnState)
	x.bump(false) // the abort that it wanted is made: it is told where to go on
	x.joined("a", 0, "3")
	x.bump(true)
	h.expect("a", 0, true, "3")
}

func TestAnEpochThatWasHandedOutIsNotGivenAgainAfterAPowerCut(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	x.joined("a", 0, "1")
	x.bump(false)
	x.joined("a", 0, "gone")
	h.crash(0, "boot-2")
	h.is(x.tryJoined("a", 1, "2"), ErrInvalidProducerEpoch)
	if _, err := h.EndTxnAndBump("x", x.who, true); err == nil {
		t.Fatal("part of the transaction is gone, and it was committed")
	}
	h.expect("a", 1, true)

	y := h.tx("y") // the same where the coordinator aborted it
	y.joined("a", 0, "1")
	h.now = h.now.Add(61 * time.Second)
	h.ok(h.Tick())
	y.bump(false)
	y.joined("a", 0, "gone")
	h.crash(0, "boot-3")
	h.is(y.tryJoined("a", 1, "2"), ErrInvalidProducerEpoch)
	h.expect("a", 1, true)
}

// TestRecoveryAtEachStepOfABumpingTransaction stops the process, and the machine,
// before and after each change that a transaction of KIP-890's protocol and its
// end make to the file system; its producer then asks again.
func TestRecoveryAtEachStepOfABumpingTransaction(t *testing.T) {
	for _, last := range []bool{false, true} {
		for _, commit := range []bool{true, false} {
			t.Run(fmt.Sprintf("last epoch=%v/commit=%v", last, commit), func(t *testing.T) { bumpCutEverywhere(t, last, commit) })
		}
	}
}

func bumpCutEverywhere(t *testing.T, last, commit bool) {
	var clones []*vfs.Mem
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.topic("out", 2)
	h.put("in", 0, AcksAll, "1", "2")
	x := h.tx("x")
	if last {
		x.exhaust()
	}
	rng := rand.New(rand.NewPCG(7, 9))
	cut := func(vfs.Event) {
		clones = append(clones, h.fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: 100, Rand: rng}))
	}
	h.faults.SetHooks(cut, cut)
	x.joined("out", 0, "a")
	first := len(clones)
	x.joined("out", 1, "b")
	x.joinedOffsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 2}})
	written := len(clones)
	old := x.bump(commit)
	acked := len(clones)
	h.ok(h.Tick())
	h.faults.SetHooks(nil, nil)
	if first == 0 || written == first || acked < written+4 {
		t.Fatalf("expected several steps, found %d, %d, %d", first, written, acked)
	}
	for i, clone := range clones {
		h2 := &harness{t: t, fs: clone, now: h.now, boot: "boot-1"}
		h2.open()
		z := &tx{h: h2, id: "x", who: old, seq: map[record.TopicPartition]int32{}}
		if i < written { // its transaction may not have begun; whatever there is of it ends as an abort
			who, err := h2.EndTxnAndBump("x", old, false)
			h2.ok(err)
			z.who = who
			h2.expect("out", 0, true)
		} else {
			who, err := h2.EndTxnAndBump("x", old, commit)
			h2.ok(err)
			z.who = who
			want := []string{"a"}
			offset := record.Offset(2)
			if !commit {
				want, offset = nil, record.NoOffset
			}
			h2.expect("out", 0, true, want...)
			if o := h2.committed("g", tp("in", 0)); o != offset {
				t.Fatalf("step %d of %d: expected the group's offset %d, found %d", i, len(clones), offset, o)
			}
			if i >= acked && who.ID != x.who.ID {
				t.Fatalf("step %d of %d: it was told to go on as %v, and now as %v", i, len(clones), x.who, who)
			}
		}
		if z.who == old {
			t.Fatalf("step %d: the epoch was not raised", i)
		}
		z.joined("out", 0, "next")
		z.bump(true)
		if got := h2.values("out", 0, true); !slices.Contains(got, "next") {
			t.Fatalf("step %d: expected the next transaction's record, found %q", i, got)
		}
		for n := range 2 {
			if o := h2.part("out", n).Offsets(); o.Stable != o.End {
				t.Fatalf("step %d: a transaction is still open in out-%d: %+v", i, n, o)
			}
		}
		h2.Broker.Abandon()
	}
}

func TestADecisionWhoseMarkersCannotBeWrittenIsCompletedLater(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	x.joined("a", 0, "1")
	x.joined("a", 1, "2")
	h.ok(h.part("a", 1).syncTo(h.part("a", 1).log.Load(), 1))
	h.ok(h.part("a", 0).syncTo(h.part("a", 0).log.Load(), 1))
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpWrite, Name: "/data/a-1/*.log", Err: errDisk})
	old := x.bump(true) // the decision counts
	h.expect("a", 0, true, "1")
	h.expect("a", 1, true)
	h.is(x.tryJoined("a", 0, "3"), ErrConcurrentTransaction)
	_, err := h.EndTxnAndBump("x", old, true)
	h.is(err, ErrConcurrentTransaction)
	_, err = h.EndTxnAndBump("x", old, false)
	h.is(err, ErrInvalidTxnState)
	_, err = h.InitProducerID("x", time.Minute, NoProducer)
	h.is(err, ErrConcurrentTransaction)
	h.faults.SetRules()
	h.ok(h.Tick())
	h.expect("a", 1, true, "2")
	x.joined("a", 0, "3")
	x.bump(true)
	h.expect("a", 0, true, "1", "3")
}

func TestAMadeUpTransactionalIDLeavesNothingBehind(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	who := ProducerIdentity{7, 0}
	h.is(h.AddPartitionsToTxn("no", who, []record.TopicPartition{tp("a", 0)}), ErrUnknownProducerID)
	h.is(h.JoinTxn("no", who, []record.TopicPartition{tp("a", 0)}), ErrUnknownProducerID)
	h.is(h.AddOffsetsToTxn("no", who, "g"), ErrUnknownProducerID)
	_, err := h.EndTxn("no", who, true)
	h.is(err, ErrUnknownProducerID)
	_, err = h.EndTxnAndBump("no", who, false)
	h.is(err, ErrUnknownProducerID)
	_, err = h.InitProducerID("no", time.Hour, NoProducer)
	h.is(err, ErrInvalidTimeout)
	if n := len(h.txns.byID); n != 0 {
		t.Fatalf("expected no entry, found %d", n)
	}
	x := h.tx("x")
	h.now = h.now.Add(8 * 24 * time.Hour)
	h.ok(h.Tick())
	if n, m := len(h.txns.byID), len(h.txns.byPID); n != 0 || m != 0 {
		t.Fatalf("expected a forgotten id to leave no entry, found %d and %d", n, m)
	}
	h.is(x.tryJoined("a", 0, "1"), ErrUnknownProducerID)
	who, err = h.InitProducerID("x", time.Minute, x.who)
	h.ok(err)
	if who.ID == x.who.ID {
		t.Fatalf("expected a new producer id for a forgotten transactional id, found %v again", who)
	}
	h.reopen()
	if _, ok := h.Transaction("x"); !ok {
		t.Fatal("the transactional id is gone after a restart")
	}
}

func TestAnAdministratorEndsATransactionThatHangs(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	p := h.part("a", 0)
	// As brokers before KIP-890 could leave one: no coordinator knows of it.
	_, err := p.log.Load().Append(batch(ProducerIdentity{4242, 3}, 0, true, h.now.UnixMilli(), "hangs"), segment.AppendOptions{Now: 1})
	h.ok(err)
	h.put("a", 0, AcksLeader, "behind")
	h.expect("a", 0, true)
	states, err := p.Producers()
	h.ok(err)
	if len(states) != 1 || states[0].TxnFirst != 0 || states[0].ProducerID != 4242 {
		t.Fatalf("expected one producer with a transaction open from 0, found %+v", states)
	}
	who := ProducerIdentity{4242, 3}
	m := record.Marker{Type: record.AbortMarker, CoordinatorEpoch: 5}
	h.is(h.WriteTxnMarker(tp("a", 0), ProducerIdentity{4242, 2}, m, false), ErrInvalidProducerEpoch)
	h.is(h.WriteTxnMarker(tp("a", 0), who, m, true), ErrInvalidProducerEpoch)
	h.is(h.WriteTxnMarker(tp("none", 0), who, m, false), ErrUnknownTopic)
	h.ok(h.WriteTxnMarker(tp("a", 0), who, m, false))
	h.expect("a", 0, true, "behind")
	h.is(h.WriteTxnMarker(tp("a", 0), who, record.Marker{CoordinatorEpoch: 4}, false), segment.ErrCoordinatorFenced)
	h.ok(h.WriteTxnMarker(tp("a", 0), who, m, true)) // again: nothing is open
	h.crash(0, "boot-2")
	h.expect("a", 0, true, "behind")
}

func TestAnAdministratorEndsOffsetsThatHang(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("in", 1)
	h.put("in", 0, AcksLeader, "1", "2")
	x := h.tx("x")
	x.joinedOffsets("g", map[record.TopicPartition]CommittedOffset{tp("in", 0): {Offset: 2}})
	group, err := h.internalPartition(offsetsTopic, "g")
	h.ok(err)
	h.ok(h.WriteTxnMarker(group.tp, x.who, record.Marker{Type: record.AbortMarker}, false))
	m, err := h.FetchOffsets(t.Context(), "g", nil, true)
	h.ok(err)
	if len(m) != 0 {
		t.Fatalf("expected no offset, found %v", m)
	}
	x.bump(true) // what it commits now is nothing
	if o := h.committed("g", tp("in", 0)); o != record.NoOffset {
		t.Fatalf("expected no offset, found %d", o)
	}
}

func TestTransactionsAreDescribed(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	x := h.tx("x")
	h.tx("idle")
	x.joined("a", 1, "1")
	x.joined("a", 0, "1")
	info, ok := h.Transaction("x")
	if !ok || info.State != "Ongoing" || info.Producer != x.who || info.Timeout != time.Minute || info.StartMS != h.now.UnixMilli() ||
		!slices.Equal(info.Partitions, []record.TopicPartition{tp("a", 0), tp("a", 1)}) {
		t.Fatalf("found %+v", info)
	}
	x.bump(true)
	if info, _ := h.Transaction("x"); info.State != "CompleteCommit" || len(info.Partitions) != 0 || info.Producer != x.who {
		t.Fatalf("found %+v", info)
	}
	all := h.Transactions()
	if len(all) != 2 || all[0].TransactionalID != "idle" || all[0].State != "Empty" || all[0].StartMS != record.NoTimestamp {
		t.Fatalf("found %+v", all)
	}
	if _, ok := h.Transaction("none"); ok {
		t.Fatal("found a transaction that nobody made")
	}
	missing, err := h.VerifyTxn("x", x.who, []record.TopicPartition{tp("a", 0)})
	h.ok(err)
	if len(missing) != 1 {
		t.Fatalf("expected a-0 not to be in a transaction, found %v", missing)
	}
	if _, err := h.VerifyTxn("x", ProducerIdentity{x.who.ID, 99}, nil); !errors.Is(err, ErrProducerFenced) {
		t.Fatalf("found %v", err)
	}
}
