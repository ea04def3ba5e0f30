package broker_test

import (
	"testing"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// What random histories found, each as its shortest history.

// played is a broker whose operations must succeed.
type played struct {
	*history
	t *testing.T
}

func play(t *testing.T, flush broker.Flush) *played {
	h := newHistory(1)
	h.m.flush = flush
	p := &played{h, t}
	p.ok(h.open())
	t.Cleanup(func() { h.b.Abandon() })
	return p
}

func (p *played) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *played) topic(name string) *partModel {
	p.t.Helper()
	p.ok(p.create(name, 1, nil))
	return p.m.topic(name).parts[0]
}

func (p *played) init(id string) broker.ProducerIdentity {
	p.t.Helper()
	who, err := p.b.InitProducerID(id, 0, broker.NoProducer)
	p.ok(err)
	return who
}

func (p *played) appendIn(id string, who broker.ProducerIdentity, seq int32, to *partModel) {
	p.t.Helper()
	p.ok(p.b.AddPartitionsToTxn(id, who, []record.TopicPartition{to.tp}))
	bp, err := p.b.Partition(to.tp)
	p.ok(err)
	_, err = bp.Produce(encode(p.records(to)[:1], who, seq, true), broker.AcksLeader)
	p.ok(err)
}

func (p *played) sync(tps ...record.TopicPartition) {
	p.t.Helper()
	for _, tp := range tps {
		bp, err := p.b.Partition(tp)
		p.ok(err)
		p.ok(bp.Sync())
	}
}

func (p *played) internal(topic string) (tps []record.TopicPartition) {
	t, _ := p.b.Topic(topic)
	for i := range t.Partitions {
		tps = append(tps, record.TopicPartition{Topic: topic, Partition: record.Partition(i)})
	}
	return tps
}

// powerCut goes on with what was synced.
func (p *played) powerCut() {
	p.t.Helper()
	clone := p.mem.CrashClone(vfs.CrashConfig{})
	p.b.Abandon()
	p.mem = clone
	p.boot++
	p.ok(p.open())
}

func TestACoordinatorThatLostItsRecordsUnderFlushOSStillOpensAndFences(t *testing.T) {
	p := play(t, broker.FlushOS)
	a := p.topic("a")
	old := p.init("tx")
	p.appendIn("tx", old, 0, a)
	p.sync(p.internal("__transaction_state")...)
	p.init("tx")
	who := p.init("tx")
	p.appendIn("tx", who, 0, a)
	p.sync(a.tp)
	p.powerCut() // the coordinator knows the first epoch, the partition the third
	if _, err := p.b.EndTxn("tx", who, true); err == nil {
		t.Fatal("a producer of before the boot committed")
	}
	if next := p.init("tx"); next.ID != who.ID || next.Epoch <= who.Epoch {
		t.Fatalf("expected an epoch above %v, found %v", who, next)
	}
	bp, err := p.b.Partition(a.tp)
	p.ok(err)
	if o := bp.Offsets(); o.Stable != o.End {
		t.Fatalf("the open transaction was not aborted: %+v", o)
	}
}

// end ends a transaction.
func (p *played) end(id string, who broker.ProducerIdentity, commit bool) {
	p.t.Helper()
	_, err := p.b.EndTxn(id, who, commit)
	p.ok(err)
}

func TestADecisionDoesNotReachIntoTheNextTopicOfTheSameName(t *testing.T) {
	for _, c := range []crash{{100, false}, {100, true}} {
		p := play(t, broker.FlushCommit)
		d := p.topic("d")
		who := p.init("tx")
		p.appendIn("tx", who, 0, d)
		p.appendIn("tx", who, 1, d)
		p.end("tx", who, true)
		p.ok(p.b.DeleteTopic("d"))
		p.m.forget(p.m.topic("d"))
		d = p.topic("d")
		p.appendIn("tx", who, 0, d) // below where the first transaction ended in the old topic

		clone, boot := p.crashClone(c), p.bootID()
		if c.newBoot {
			boot = "another boot"
		}
		b, err := broker.Open(p.config(clone, boot))
		p.ok(err)
		defer b.Abandon()
		bp, err := b.Partition(d.tp)
		p.ok(err)
		chunk, err := bp.Read(0, broker.ReadOptions{Committed: true})
		p.ok(err)
		if _, _, any := chunk.NextBatch(); any {
			t.Fatalf("%v: the open transaction's record is given to read_committed", c)
		}
	}
}

// Seed 4099: after two power cuts under flush=os the coordinator knows the decision
// of before the first one alone, and the partition a transaction of after it, at
// offsets that the decision had.
func TestADecisionDoesNotReachIntoALaterTransactionAtItsOffsets(t *testing.T) {
	p := play(t, broker.FlushOS)
	a := p.topic("a")
	who := p.init("tx")
	p.appendIn("tx", who, 0, a)
	p.appendIn("tx", who, 1, a)
	p.end("tx", who, true)
	p.sync(p.internal("__transaction_state")...)
	p.powerCut() // takes all of the partition
	who = p.init("tx")
	p.appendIn("tx", who, 0, a)
	p.sync(a.tp)
	p.powerCut() // takes what the coordinator wrote since
	bp, err := p.b.Partition(a.tp)
	p.ok(err)
	if o := bp.Offsets(); o.End < 2 || o.Stable != o.End {
		t.Fatalf("the open transaction was not aborted: %+v", o)
	}
	if next := p.init("tx"); next.ID != who.ID || next.Epoch <= who.Epoch {
		t.Fatalf("expected an epoch above %v, found %v", who, next)
	}
	c, err := bp.Read(0, broker.ReadOptions{Committed: true})
	p.ok(err)
	if _, _, any := c.NextBatch(); any {
		t.Error("the record of the open transaction is given to read_committed")
	}
}

func TestPositionsInADeletedTopicDoNotComeBackWithAPowerCut(t *testing.T) {
	p := play(t, broker.FlushOS)
	d := p.topic("d")
	p.ok(p.b.CommitOffsets(broker.GroupMember{Group: "g0", Generation: -1}, committedOffsets(d.tp, position{})))
	p.sync(p.internal("__consumer_offsets")...)
	p.ok(p.b.DeleteTopic("d"))
	p.powerCut() // the deletion is on disk, the forgetting of the position is not
	p.m.forget(p.m.topic("d"))
	p.topic("d")
	got, err := p.b.FetchOffsets(t.Context(), "g0", nil, false)
	p.ok(err)
	if len(got) != 0 {
		t.Fatalf("the new topic has the old one's positions: %v", got)
	}
}
