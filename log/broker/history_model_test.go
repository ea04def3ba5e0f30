package broker_test

import (
	"cmp"
	"slices"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// This file is what the broker promised: a list of every record that was
// handed to it, of every decision, and of how far each promise of durability
// reaches. It shares no code with recovery; it does not even read the disk.

// fate of a transaction.
type fate uint8

const (
	ongoing    fate = iota
	committing      // EndTxn(commit) was called and has not returned: all or nothing
	aborting        // EndTxn(abort) or a fencing InitProducerID has not returned
	committed
	aborted
)

// txnModel is one transaction.
type txnModel struct {
	implicit bool // of KIP-890's protocol
	owner    *producerModel
	fate     fate
	parts    []record.TopicPartition // sorted; those of __consumer_offsets are not modelled
	// offsets pending, by group.
	offsets map[string]map[record.TopicPartition]position
}

// position is a committed offset; seq orders commits as the log of offsets does.
type position struct {
	at  record.Offset
	seq int
}

// entry is what stands at one offset.
type entry struct {
	key, value string
	tombstone  bool
	ms         int64
	txn        *txnModel // nil: outside of any transaction
	control    bool      // a marker
	marker     record.ControlType
}

// partModel is one partition.
//
// Invariant: log is indexed by offset. Offsets below acked were acknowledged,
// the rest is what a call in progress may have written. Below durable all was
// promised to survive a power cut.
type partModel struct {
	tp             record.TopicPartition
	compact        bool
	retention      int64 // retention.bytes, 0 is none
	flushOS        bool  // the topic's own flush=os
	log            []entry
	acked, durable record.Offset
	// start is the log start; after a crash it may be lower, down to startLow,
	// and during a call higher, up to startHigh.
	start, startLow, startHigh record.Offset
	cleanedBelow               record.Offset // the cleaner may have worked below this
	epoch                      record.LeaderEpoch
}

func (p *partModel) end() record.Offset { return record.Offset(len(p.log)) }

// topicModel is one topic. While maybe is set, a call that makes or deletes it is in progress.
type topicModel struct {
	name  string
	id    [16]byte // zero while it is being made
	maybe bool
	parts []*partModel
	more  int // partitions that a call in progress adds
}

// producerModel is one transactional id.
type producerModel struct {
	id    string
	who   broker.ProducerIdentity
	stale bool // who is fenced: it must initialise again
	// before are identities that it had; none of them can do anything.
	before []broker.ProducerIdentity
	txn    *txnModel
	seq    map[record.TopicPartition]int32
}

// sentBatch is what an idempotent producer may send again.
type sentBatch struct {
	raw        []byte
	base, next record.Offset
}

// idempotentModel is a producer without a transactional id.
type idempotentModel struct {
	who  broker.ProducerIdentity
	sent map[record.TopicPartition][]sentBatch
	seq  map[record.TopicPartition]int32
}

// model is one broker.
type model struct {
	flush  broker.Flush
	topics []*topicModel
	txns   []*producerModel
	idem   []*idempotentModel
	// groups' positions; maybe holds what a plain commit in progress writes.
	groups map[string]map[record.TopicPartition]position
	maybe  map[string]map[record.TopicPartition]position
	handed map[broker.ProducerIdentity]bool
	seq    int
	nowMS  int64
	// a broker's configuration as set, and as a call in progress sets it
	setting, nextSetting string
	// after a power cut, while the next start is in progress: only durable data counts
	cut bool
}

func (m *model) topic(name string) *topicModel {
	for _, t := range m.topics {
		if t.name == name {
			return t
		}
	}
	return nil
}

func (m *model) part(tp record.TopicPartition) *partModel {
	if t := m.topic(tp.Topic); t != nil {
		if int(tp.Partition) < len(t.parts) {
			return t.parts[tp.Partition]
		}
	}
	return nil
}

func (m *model) allParts() (all []*partModel) {
	for _, t := range m.topics {
		all = append(all, t.parts...)
	}
	return all
}

func (m *model) forget(t *topicModel) {
	m.topics = slices.DeleteFunc(m.topics, func(o *topicModel) bool { return o == t })
	for _, offs := range m.groups {
		for tp := range offs {
			if tp.Topic == t.name {
				delete(offs, tp)
			}
		}
	}
	for _, i := range m.idem {
		for _, p := range t.parts {
			delete(i.sent, p.tp)
			delete(i.seq, p.tp)
		}
	}
	for _, pr := range m.txns {
		for _, p := range t.parts {
			delete(pr.seq, p.tp)
		}
	}
}

// position is a group's, if it has one.
func (m *model) position(group string, tp record.TopicPartition) (position, bool) {
	o, ok := m.groups[group][tp]
	return o, ok
}

// ended acknowledges everything that a call wrote.
func (m *model) ended() {
	for _, p := range m.allParts() {
		p.acked = p.end()
		p.startHigh = p.start
	}
	m.maybe = nil
}

// decide says what a transaction's end is going to write: its markers.
func (m *model) decide(t *txnModel, f fate) {
	t.fate = f
	typ := record.AbortMarker
	if f == committing {
		typ = record.CommitMarker
	}
	for _, tp := range t.parts {
		if p := m.part(tp); p != nil {
			p.log = append(p.log, entry{control: true, marker: typ})
		}
	}
}

// decided acknowledges it. ends are where the partitions ended before.
func (m *model) decided(t *txnModel) {
	t.owner.txn = nil
	if t.fate == aborting {
		t.fate = aborted
		return
	}
	t.fate = committed
	for _, tp := range t.parts {
		// All that it covers is on disk; its marker need not be.
		if p := m.part(tp); p != nil && m.flush == broker.FlushCommit {
			p.durable = max(p.durable, p.end()-1)
		}
	}
	for group, offs := range t.offsets {
		for tp, o := range offs {
			if old, ok := m.position(group, tp); !ok || old.seq < o.seq {
				m.groups[group][tp] = o
			}
			if p := m.part(tp); p != nil && m.flush == broker.FlushCommit && !p.flushOS {
				p.durable = max(p.durable, o.at)
			}
		}
	}
}

func (t *txnModel) add(tps []record.TopicPartition) {
	for _, tp := range tps {
		if !slices.Contains(t.parts, tp) {
			t.parts = append(t.parts, tp)
		}
	}
	slices.SortFunc(t.parts, func(a, b record.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// What became of transactions of which a power cut under flush=os took parts.
var (
	someCommitted = &txnModel{fate: committed}
	someAborted   = &txnModel{fate: aborted}
)
