package broker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// The operations of a history. Each tells the model what may be on disk from
// now on, calls the broker, and then tells the model what was acknowledged.

const (
	retentionMS       = 60_000
	deleteRetentionMS = 10_000
	keepBytes         = 2500
	txnTimeout        = 10 * time.Minute // longer than a history without "time out"
)

type operation struct {
	name   string
	weight int
	run    func(h *history) error
}

var operations = []operation{
	{"append", 14, (*history).opAppend},
	{"idempotent append", 12, (*history).opIdempotent},
	{"transactional append", 24, (*history).opTxnAppend},
	{"transactional offsets", 8, (*history).opTxnOffsets},
	{"commit", 12, func(h *history) error { return h.opEnd(true) }},
	{"abort", 5, func(h *history) error { return h.opEnd(false) }},
	{"zombie", 4, (*history).opZombie},
	{"init producer", 3, (*history).opInit},
	{"offsets", 6, (*history).opOffsets},
	{"sync", 3, (*history).opSync},
	{"delete records", 4, (*history).opDeleteRecords},
	{"retention", 4, (*history).opRetention},
	{"clean", 4, (*history).opClean},
	{"create topic", 3, (*history).opCreate},
	{"delete topic", 2, (*history).opDelete},
	{"alter topic", 1, (*history).opAlter},
	{"grow topic", 2, (*history).opGrow},
	{"alter broker", 1, (*history).opAlterBroker},
	{"tick", 3, (*history).opTick},
	{"time out", 1, (*history).opTimeOut},
	{"close and open", 4, (*history).opReopen},
	{"crash", 5, (*history).opCrash},
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%4d  ", h.op)+fmt.Sprintf(format, args...))
}

// records makes 1 to 3 records for a partition; every value is written once only.
func (h *history) records(p *partModel) []entry {
	list := make([]entry, 1+h.rng.IntN(3))
	for i := range list {
		h.values++
		e := entry{key: fmt.Sprintf("k%d", h.rng.IntN(5)), value: fmt.Sprintf("v%d", h.values), ms: h.m.nowMS}
		switch h.rng.IntN(8) {
		case 0:
			e.value += strings.Repeat("x", 300)
		case 1:
			if e.tombstone = p.compact; e.tombstone {
				e.value = ""
			}
		}
		list[i] = e
	}
	return list
}

// encode makes one batch of them.
func encode(list []entry, who broker.ProducerIdentity, seq int32, txn bool) []byte {
	b := record.NewBuilder()
	if who != broker.NoProducer {
		b.SetProducer(who.ID, who.Epoch, seq)
		b.SetTransactional(txn)
	}
	for _, e := range list {
		v := record.View{Timestamp: e.ms, Key: []byte(e.key), Value: []byte(e.value)}
		if e.tombstone {
			v.Value = nil
		}
		b.Append(&v)
	}
	raw, err := b.Finish(record.None)
	if err != nil {
		panic(err)
	}
	return slices.Clone(raw)
}

// produce hands batches to the broker and their records to the model.
func (h *history) produce(p *partModel, list []entry, raw []byte, acks broker.Acks) error {
	base := p.end()
	p.log = append(p.log, list...)
	bp, err := h.b.Partition(p.tp)
	if err != nil {
		return err
	}
	res, err := bp.Produce(raw, acks)
	if err != nil {
		return err
	}
	if res.BaseOffset != base || res.NextOffset != p.end() || res.Duplicate {
		return fmt.Errorf("%v: expected offsets [%d, %d), found %+v", p.tp, base, p.end(), res)
	}
	if acks == broker.AcksAll && list[0].txn == nil && h.m.flush == broker.FlushCommit && !p.flushOS {
		p.durable = p.end()
	}
	return nil
}

func (h *history) acks() broker.Acks { return broker.Acks(h.rng.IntN(2)) }

var acksNames = []string{"leader", "all"}

func (h *history) opAppend() error {
	p, acks := pick(h.rng, h.m.allParts()), h.acks()
	list := h.records(p)
	raw := encode(list, broker.NoProducer, 0, false)
	if h.rng.IntN(4) == 0 { // two batches in one call
		more := h.records(p)
		list, raw = append(list, more...), append(raw, encode(more, broker.NoProducer, 0, false)...)
	}
	h.note("append %v acks=%s %d records at %d", p.tp, acksNames[acks], len(list), p.end())
	return h.produce(p, list, raw, acks)
}

func (h *history) opIdempotent() error {
	p, acks := pick(h.rng, h.m.allParts()), h.acks()
	if len(h.m.idem) < 2 {
		h.note("init an idempotent producer")
		who, err := h.b.InitProducerID("", 0, broker.NoProducer)
		if err != nil {
			return err
		}
		if h.m.handed[who] {
			return fmt.Errorf("producer id %v was handed out before", who)
		}
		h.m.handed[who] = true
		h.m.idem = append(h.m.idem, &idempotentModel{who: who, sent: map[record.TopicPartition][]sentBatch{}, seq: map[record.TopicPartition]int32{}})
		return nil
	}
	i := pick(h.rng, h.m.idem)
	if sent := i.sent[p.tp]; len(sent) > 0 && h.rng.IntN(4) == 0 && sent[len(sent)-1].base >= p.start {
		s := sent[len(sent)-1]
		h.note("repeat %v producer %d, the batch of offset %d, acks=%s", p.tp, i.who.ID, s.base, acksNames[acks])
		bp, err := h.b.Partition(p.tp)
		if err != nil {
			return err
		}
		res, err := bp.Produce(slices.Clone(s.raw), acks)
		if err == nil && (!res.Duplicate || res.BaseOffset != s.base) {
			err = fmt.Errorf("%v: expected a duplicate of offset %d, found %+v", p.tp, s.base, res)
		}
		if err == nil && acks == broker.AcksAll && h.m.flush == broker.FlushCommit && !p.flushOS {
			p.durable = max(p.durable, s.next)
		}
		return err
	}
	list := h.records(p)
	raw := encode(list, i.who, i.seq[p.tp], false)
	base := p.end()
	h.note("append %v producer %d seq %d acks=%s %d records at %d", p.tp, i.who.ID, i.seq[p.tp], acksNames[acks], len(list), base)
	if err := h.produce(p, list, slices.Clone(raw), acks); err != nil {
		return err
	}
	i.seq[p.tp] += int32(len(list))
	i.sent[p.tp] = append(i.sent[p.tp], sentBatch{raw, base, p.end()})
	return nil
}

// ready is a transactional id that may go on; nil if it was initialised instead.
func (h *history) ready() (*producerModel, error) {
	if len(h.m.txns) < 3 {
		h.m.txns = append(h.m.txns, &producerModel{id: fmt.Sprintf("tx%d", len(h.m.txns)), who: broker.NoProducer, stale: true})
	}
	pr := pick(h.rng, h.m.txns)
	if pr.stale {
		return nil, h.initProducer(pr)
	}
	return pr, nil
}

func (h *history) opInit() error {
	pr, err := h.ready()
	if pr == nil {
		return err
	}
	return h.initProducer(pr)
}

func (h *history) initProducer(pr *producerModel) error {
	h.note("init %s, was %v, open %v", pr.id, pr.who, pr.txn != nil)
	t := pr.txn
	if t != nil {
		h.m.decide(t, aborting)
	}
	who, err := h.b.InitProducerID(pr.id, txnTimeout, broker.NoProducer)
	if err != nil {
		return err
	}
	if t != nil {
		h.m.decided(t)
	}
	return h.took(pr, who)
}

// took notes the identity to go on with; never again is it given to another.
func (h *history) took(pr *producerModel, who broker.ProducerIdentity) error {
	if h.m.handed[who] {
		return fmt.Errorf("%s: identity %v was handed out before", pr.id, who)
	}
	h.m.handed[who] = true
	if pr.who != broker.NoProducer {
		pr.before = append(pr.before, pr.who)
	}
	pr.who, pr.stale, pr.seq = who, false, map[record.TopicPartition]int32{}
	return nil
}

// begun makes sure that a transaction is open.
func (h *history) begun(pr *producerModel) *txnModel {
	if pr.txn == nil {
		pr.txn = &txnModel{owner: pr, implicit: h.rng.IntN(2) == 0, offsets: map[string]map[record.TopicPartition]position{}}
	}
	return pr.txn
}

// opZombie is an identity that is not current any more: nothing that it asks for happens.
func (h *history) opZombie() error {
	pr, err := h.ready()
	if pr == nil || len(pr.before) == 0 {
		return err
	}
	who, p := pick(h.rng, pr.before), pick(h.rng, h.m.allParts())
	h.note("zombie %s %v, now %v, and %v", pr.id, who, pr.who, p.tp)
	bp, err := h.b.Partition(p.tp)
	if err != nil {
		return err
	}
	tps := []record.TopicPartition{p.tp}
	_, produce := bp.Produce(encode(h.records(p), who, 0, true), broker.AcksLeader)
	_, end := h.b.EndTxn(pr.id, who, true)
	for what, err := range map[string]error{
		"add": h.b.AddPartitionsToTxn(pr.id, who, tps), "join": h.b.JoinTxn(pr.id, who, tps), "produce": produce, "end": end,
		"offsets": h.b.AddOffsetsToTxn(pr.id, who, "g0"),
	} {
		if err == nil {
			return fmt.Errorf("%s: %s by %v succeeded, the producer is %v", pr.id, what, who, pr.who)
		}
	}
	// An EndTxn again is answered, where it was the last decision, with what goes on; it decides nothing.
	if found, err := h.b.EndTxnAndBump(pr.id, who, true); err == nil && found != pr.who {
		return fmt.Errorf("%s: EndTxn by %v gives %v, the producer is %v", pr.id, who, found, pr.who)
	}
	return nil
}

func (h *history) opTxnAppend() error {
	pr, err := h.ready()
	if pr == nil {
		return err
	}
	ps := slices.DeleteFunc(h.m.allParts(), func(p *partModel) bool { return p.flushOS })
	h.rng.Shuffle(len(ps), func(a, b int) { ps[a], ps[b] = ps[b], ps[a] })
	ps = ps[:1+h.rng.IntN(3)]
	var tps []record.TopicPartition
	for _, p := range ps {
		tps = append(tps, p.tp)
	}
	h.note("%s %v appends to %v", pr.id, pr.who, tps)
	t := h.begun(pr)
	t.add(tps)
	add := h.b.AddPartitionsToTxn
	if t.implicit {
		add = h.b.JoinTxn
	}
	if err := add(pr.id, pr.who, tps); err != nil {
		return err
	}
	for _, p := range ps[:1+h.rng.IntN(len(ps))] {
		list := h.records(p)
		for i := range list {
			list[i].txn = t
		}
		if err := h.produce(p, list, encode(list, pr.who, pr.seq[p.tp], true), h.acks()); err != nil {
			return err
		}
		pr.seq[p.tp] += int32(len(list))
	}
	return nil
}

func (h *history) somePosition() (group string, tp record.TopicPartition, o position) {
	p := pick(h.rng, h.m.allParts())
	h.m.seq++
	return pick(h.rng, []string{"g0", "g1"}), p.tp, position{record.Offset(h.rng.Int64N(int64(p.end()) + 1)), h.m.seq}
}

func committedOffsets(tp record.TopicPartition, o position) map[record.TopicPartition]broker.CommittedOffset {
	return map[record.TopicPartition]broker.CommittedOffset{tp: {Offset: o.at, Epoch: record.NoLeaderEpoch}}
}

func (h *history) opTxnOffsets() error {
	pr, err := h.ready()
	if pr == nil {
		return err
	}
	group, tp, o := h.somePosition()
	h.note("%s %v sends position %d of %v for %s", pr.id, pr.who, o.at, tp, group)
	t := h.begun(pr)
	add := h.b.AddOffsetsToTxn
	if t.implicit {
		add = h.b.JoinTxnOffsets
	}
	if err := add(pr.id, pr.who, group); err != nil {
		return err
	}
	if t.offsets[group] == nil {
		t.offsets[group] = map[record.TopicPartition]position{}
	}
	t.offsets[group][tp] = o
	return h.b.TxnOffsetCommit(pr.id, pr.who, broker.GroupMember{Group: group, Generation: -1}, committedOffsets(tp, o))
}

func (h *history) opEnd(commit bool) error {
	var open []*producerModel
	for _, pr := range h.m.txns {
		if pr.txn != nil {
			open = append(open, pr)
		}
	}
	if len(open) == 0 {
		return h.opTxnAppend()
	}
	pr := pick(h.rng, open)
	t := pr.txn
	h.note("%s %v ends commit=%v over %v and %d groups", pr.id, pr.who, commit, t.parts, len(t.offsets))
	if commit {
		h.m.decide(t, committing)
	} else {
		h.m.decide(t, aborting)
	}
	if t.implicit {
		err := h.endAndBump(pr, commit)
		if err == nil {
			h.m.decided(t)
		}
		return err
	}
	who, err := h.b.EndTxn(pr.id, pr.who, commit)
	if err != nil {
		return err
	}
	if who != pr.who {
		return fmt.Errorf("%s: expected to stay %v, found %v", pr.id, pr.who, who)
	}
	h.m.decided(t)
	return nil
}

// endAndBump ends a transaction of KIP-890's protocol, perhaps asking twice.
func (h *history) endAndBump(pr *producerModel, commit bool) error {
	who, err := h.b.EndTxnAndBump(pr.id, pr.who, commit)
	if err != nil {
		return err
	}
	if next := (broker.ProducerIdentity{ID: pr.who.ID, Epoch: pr.who.Epoch + 1}); who != next {
		return fmt.Errorf("%s: expected to go on as %v, found %v", pr.id, next, who)
	}
	if h.rng.IntN(3) == 0 {
		if again, err := h.b.EndTxnAndBump(pr.id, pr.who, commit); err != nil || again != who {
			return fmt.Errorf("%s: asked again by %v expected %v, found %v: %w", pr.id, pr.who, who, again, err)
		}
	}
	return h.took(pr, who)
}

func (h *history) opOffsets() error {
	group, tp, o := h.somePosition()
	h.note("group %s commits %d of %v", group, o.at, tp)
	h.m.maybe = map[string]map[record.TopicPartition]position{group: {tp: o}}
	if err := h.b.CommitOffsets(broker.GroupMember{Group: group, Generation: -1}, committedOffsets(tp, o)); err != nil {
		return err
	}
	h.m.groups[group][tp] = o
	return nil
}

func (h *history) opSync() error {
	p := pick(h.rng, h.m.allParts())
	h.note("sync %v up to %d", p.tp, p.end())
	bp, err := h.b.Partition(p.tp)
	if err == nil {
		err = bp.Sync()
	}
	p.durable = p.acked
	return err
}

func (h *history) opDeleteRecords() error {
	p := pick(h.rng, h.m.allParts())
	o := p.start + record.Offset(h.rng.Int64N(int64(p.end()-p.start)+1))
	if h.rng.IntN(2) == 0 {
		o = p.start + (o-p.start)/4
	}
	h.note("delete records of %v before %d", p.tp, o)
	bp, err := h.b.Partition(p.tp)
	if err != nil {
		return err
	}
	p.startHigh = o
	start, err := bp.DeleteBefore(o)
	if err == nil && start != o {
		err = fmt.Errorf("%v: expected the start at %d, found %d", p.tp, o, start)
	}
	p.start = o
	return err
}

func (h *history) opRetention() error {
	h.note("retention and checkpoint")
	for _, p := range h.m.allParts() {
		if p.retention > 0 {
			p.startHigh = p.end()
		}
	}
	if err := h.b.RunRetention(); err != nil {
		return err
	}
	for _, p := range h.m.allParts() {
		bp, err := h.b.Partition(p.tp)
		if err != nil {
			return err
		}
		start := bp.Offsets().Start
		if p.retention == 0 && start != p.start || start < p.start {
			return fmt.Errorf("%v: retention moved the start from %d to %d", p.tp, p.start, start)
		}
		for o := p.start; o < start; o++ {
			if e := &p.log[o]; !e.control && bp.Bytes() < p.retention && e.ms+retentionMS >= h.m.nowMS {
				return fmt.Errorf("%v: retention removed offset %d of %d ms ago and left %d bytes", p.tp, o, h.m.nowMS-e.ms, bp.Bytes())
			}
		}
		p.start, p.startLow = start, start
	}
	return nil
}

func (h *history) opClean() error {
	force := h.rng.IntN(2) == 0
	h.note("clean, force=%v", force)
	for _, p := range h.m.allParts() {
		if p.compact {
			p.cleanedBelow = p.end()
		}
	}
	if force {
		return h.b.CleanNow()
	}
	return h.b.RunCleaner()
}

func (h *history) opCreate() error {
	var free []string
	for _, name := range []string{"d0", "d1"} {
		if h.m.topic(name) == nil {
			free = append(free, name)
		}
	}
	if len(free) == 0 {
		return h.opAppend()
	}
	return h.create(pick(h.rng, free), 1+h.rng.Int32N(2), nil)
}

// create makes a topic with small segments.
func (h *history) create(name string, n int32, configs map[string]string) error {
	h.note("create topic %s with %d partitions %v", name, n, configs)
	spec := broker.TopicSpec{Name: name, Partitions: n, Configs: map[string]string{
		"segment.bytes": "1024", "index.interval.bytes": "200", "retention.ms": "-1"}}
	for k, v := range configs {
		spec.Configs[k] = v
	}
	t := &topicModel{name: name, maybe: true}
	for i := range n {
		p := &partModel{tp: record.TopicPartition{Topic: name, Partition: record.Partition(i)},
			compact: configs["cleanup.policy"] == "compact", flushOS: configs["millstream.flush"] == "os"}
		if configs["retention.bytes"] != "" {
			p.retention = keepBytes
		}
		t.parts = append(t.parts, p)
	}
	h.m.topics = append(h.m.topics, t)
	got, err := h.b.CreateTopic(spec)
	t.id, t.maybe = got.ID, false
	return err
}

func (h *history) opDelete() error {
	var some []*topicModel
	for _, t := range h.m.topics {
		if strings.HasPrefix(t.name, "d") && !h.inTransaction(t) {
			some = append(some, t)
		}
	}
	if len(some) == 0 {
		return h.opCreate()
	}
	t := pick(h.rng, some)
	h.note("delete topic %s", t.name)
	t.maybe = true
	if err := h.b.DeleteTopic(t.name); err != nil {
		return err
	}
	h.m.forget(t)
	return nil
}

// inTransaction says that an open transaction has to do with the topic.
func (h *history) inTransaction(t *topicModel) bool {
	for _, pr := range h.m.txns {
		if pr.txn == nil {
			continue
		}
		for _, p := range t.parts {
			if slices.Contains(pr.txn.parts, p.tp) {
				return true
			}
			for _, offs := range pr.txn.offsets {
				if _, ok := offs[p.tp]; ok {
					return true
				}
			}
		}
	}
	return false
}

func (h *history) opAlter() error {
	t := pick(h.rng, h.m.topics)
	v := fmt.Sprint(1024 + h.rng.IntN(1024))
	h.note("alter topic %s segment.bytes=%s", t.name, v)
	return h.b.AlterTopic(t.name, map[string]*string{"segment.bytes": &v})
}

func (h *history) opGrow() error {
	var some []*topicModel
	for _, t := range h.m.topics {
		if strings.HasPrefix(t.name, "d") && len(t.parts) < 5 {
			some = append(some, t)
		}
	}
	if len(some) == 0 {
		return h.opCreate()
	}
	t := pick(h.rng, some)
	t.more = 1 + h.rng.IntN(2)
	n := len(t.parts) + t.more
	h.note("grow topic %s to %d partitions", t.name, n)
	if err := h.b.CreatePartitions(t.name, int32(n), false); err != nil {
		return err
	}
	for len(t.parts) < n {
		t.parts = append(t.parts, &partModel{tp: record.TopicPartition{Topic: t.name, Partition: record.Partition(len(t.parts))}})
	}
	t.more = 0
	return nil
}

// opAlterBroker changes a configuration of all brokers that changes nothing else.
func (h *history) opAlterBroker() error {
	h.m.nextSetting = fmt.Sprint(1 + h.rng.IntN(100))
	h.note("alter broker log.cleaner.threads=%s", h.m.nextSetting)
	err := h.b.AlterConfig(broker.Resource{Type: broker.BrokerResource},
		[]broker.ConfigChange{{Name: "log.cleaner.threads", Value: h.m.nextSetting}}, false)
	h.m.setting = h.m.nextSetting
	return err
}

func (h *history) opTick() error {
	h.note("tick")
	if err := h.b.Tick(); err != nil {
		return err
	}
	for _, p := range h.m.allParts() {
		p.startLow = p.start
	}
	return nil
}

// opTimeOut lets every open transaction run out.
func (h *history) opTimeOut() error {
	h.note("a long pause and a tick: open transactions are over time")
	h.m.nowMS += txnTimeout.Milliseconds()
	for _, pr := range h.m.txns {
		if pr.txn != nil {
			h.m.decide(pr.txn, aborting)
			pr.stale = true
		}
	}
	if err := h.b.Tick(); err != nil {
		return err
	}
	for _, pr := range h.m.txns {
		if pr.txn != nil {
			h.m.decided(pr.txn)
		}
	}
	return nil
}
