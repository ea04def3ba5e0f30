package broker_test

import (
	"context"
	"errors"
	"slices"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// probe goes on with the reopened broker as its clients would.
func (j *judge) probe(turn int) error {
	for _, pr := range j.m.txns {
		t := pr.txn
		if t == nil || !j.strict {
			continue
		}
		_, err := j.b.EndTxn(pr.id, pr.who, true)
		if j.newBoot && err == nil {
			j.bad("%s: the open transaction of before the boot was committed", pr.id)
		}
		if !j.newBoot && err != nil {
			j.bad("%s: the open transaction cannot be committed: %w", pr.id, err)
		}
	}
	if !j.newBoot && j.strict {
		j.whole()
	}
	for _, i := range j.m.idem {
		for tp, sent := range i.sent {
			j.resend(i, tp, sent)
		}
	}
	if j.strict && len(j.m.txns) > 0 {
		pr := j.m.txns[turn%len(j.m.txns)]
		who, err := j.b.InitProducerID(pr.id, txnTimeout, broker.NoProducer)
		if err != nil || j.m.handed[who] {
			j.bad("%s: expected a fresh identity, found %v (%v)", pr.id, who, err)
		}
	}
	if turn%4 != 0 {
		return j.why
	}
	who, err := j.b.InitProducerID("", 0, broker.NoProducer)
	if err != nil || j.m.handed[who] {
		j.bad("expected a fresh producer id, found %v (%v)", who, err)
	}
	return j.why
}

// whole: what was just committed is visible, all of it.
func (j *judge) whole() {
	for _, p := range j.m.allParts() {
		f, before := &found{visible: make([]bool, p.end())}, j.parts[p.tp]
		bp, err := j.b.Partition(p.tp)
		if err != nil || before == nil {
			continue
		}
		f.Offsets = bp.Offsets()
		if f.Stable != f.End {
			j.bad("%v: expected all to be stable when no transaction is open, found %d below the end %d", p.tp, f.Stable, f.End)
			return
		}
		j.committedView(bp, p, f)
		for o := before.Start; o < p.end(); o++ {
			if t := p.log[o].txn; t != nil && (t.fate == ongoing || t.fate == committed) && before.present[o] && !f.visible[o] {
				j.bad("%v: offset %d %v of a transaction committed after the crash is not visible", p.tp, o, &p.log[o])
			}
		}
	}
	for _, pr := range j.m.txns {
		if pr.txn == nil {
			continue
		}
		for group, offs := range pr.txn.offsets {
			got, err := j.b.FetchOffsets(context.Background(), group, nil, false)
			for tp, o := range offs {
				cur, has := j.m.position(group, tp)
				later := has && cur.seq > o.seq
				for _, other := range j.m.txns {
					if other.txn != nil {
						q, ok := other.txn.offsets[group][tp]
						later = later || ok && q.seq > o.seq
					}
				}
				if j.parts[tp] != nil && !later && (err != nil || got[tp].Offset != o.at) {
					j.bad("group %s: expected position %d in %v of the transaction committed after the crash, found %d (%v)", group, o.at, tp, got[tp].Offset, err)
				}
			}
		}
	}
}

// resend repeats an idempotent producer's last batch, or its first that is lost.
func (j *judge) resend(i *idempotentModel, tp record.TopicPartition, sent []sentBatch) {
	f := j.parts[tp]
	if f == nil || len(sent) == 0 {
		return
	}
	lost := slices.IndexFunc(sent, func(s sentBatch) bool { return s.base >= f.cut })
	s := sent[len(sent)-1]
	if lost >= 0 {
		s = sent[lost]
	}
	if s.base < f.Start || lost == 0 && f.Start > 0 {
		return // the start may have passed what the producer state was made of
	}
	p, err := j.b.Partition(tp)
	if err != nil {
		return
	}
	res, err := p.Produce(slices.Clone(s.raw), broker.AcksLeader)
	switch {
	case err != nil:
		j.bad("%v: producer %v repeats its batch of offset %d (cut %d): %w", tp, i.who, s.base, f.cut, err)
	case lost < 0 && (!res.Duplicate || res.BaseOffset != s.base):
		j.bad("%v: producer %v repeats its batch of offset %d: expected a duplicate, found it at %d", tp, i.who, s.base, res.BaseOffset)
	case lost >= 0 && res.Duplicate:
		j.bad("%v: producer %v repeats its lost batch of offset %d: found a duplicate of %d", tp, i.who, s.base, res.BaseOffset)
	}
}

// adopt takes what a history goes on with after a crash. What a start found
// counts as durable under flush=commit.
func (j *judge) adopt() error {
	m := j.m
	for _, p := range m.allParts() {
		f := j.parts[p.tp]
		if f == nil {
			return errors.New("a partition was not inspected")
		}
		if !j.strict {
			for o := range min(f.cut, p.end()) {
				switch e := &p.log[o]; {
				case e.txn == nil || !f.present[o] && e.txn.fate == committed: // compacted away
				case f.visible[o]:
					e.txn = someCommitted
				default:
					e.txn = someAborted
				}
			}
		}
		p.log = p.log[:f.cut]
		for _, typ := range f.controls {
			p.log = append(p.log, entry{control: true, marker: typ})
		}
		p.acked, p.durable = p.end(), min(p.durable, p.end())
		if m.flush == broker.FlushCommit && !j.clean {
			p.durable = f.cut
		}
		p.start, p.startLow, p.startHigh, p.epoch = f.Start, f.Start, f.Start, f.Epoch
		for _, i := range m.idem {
			i.cutTo(p.tp, f.cut)
		}
	}
	for group, offs := range j.offsets {
		for tp, o := range offs {
			cur := m.groups[group][tp]
			cur.at = o
			m.groups[group][tp] = cur
		}
		for tp := range m.groups[group] {
			if _, ok := offs[tp]; !ok {
				delete(m.groups[group], tp)
			}
		}
	}
	if !j.strict { // epochs handed out may be gone, too
		clear(m.handed)
		for _, i := range m.idem {
			m.handed[i.who] = true
		}
	}
	for _, pr := range m.txns {
		if !j.newBoot {
			continue
		}
		if pr.stale = true; !j.strict {
			pr.before, pr.who = nil, broker.NoProducer
		}
		if pr.txn != nil {
			pr.txn.fate, pr.txn = aborted, nil
		}
	}
	return nil
}

// cutTo forgets what an idempotent producer lost; it goes on from there.
func (i *idempotentModel) cutTo(tp record.TopicPartition, cut record.Offset) {
	sent := i.sent[tp]
	lost := slices.IndexFunc(sent, func(s sentBatch) bool { return s.base >= cut })
	if lost < 0 {
		return
	}
	h, _ := record.ParseHeader(sent[lost].raw)
	i.seq[tp] = h.BaseSequence
	i.sent[tp] = sent[:lost]
}
