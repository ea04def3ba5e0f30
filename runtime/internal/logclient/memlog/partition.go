package memlog

import (
	"bytes"
	"sort"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// stored is a record as it is kept: its memory belongs to the log.
type stored struct {
	offset    record.Offset
	timestamp int64
	key       []byte
	value     []byte
	headers   []record.Header
}

// fate of a batch.
//
//	open ──commit──▶ committed
//	  └────abort───▶ aborted        markers are control from the start
type fate uint8

const (
	committed fate = iota
	open
	aborted
	control
)

// batch is a run of records handed over at once.
//
// Invariant: base <= offset < next for each of its records, and they ascend.
// Compaction leaves batches without records, so that offsets stay as they were.
type batch struct {
	base, next record.Offset
	epoch      record.LeaderEpoch
	pid        record.ProducerID
	fate       fate
	commit     bool // of control: the marker is a commit
	records    []stored
	bytes      int
}

// epochStart says at which offset a leader epoch begins.
type epochStart struct {
	epoch record.LeaderEpoch
	start record.Offset
}

// partition is one partition's batches.
//
// Invariant: batches ascend without gaps from the first one kept to end;
// start <= stable() <= end; open holds each producer with a batch whose fate is
// open, with the base of the first.
type partition struct {
	tp      record.TopicPartition
	start   record.Offset
	end     record.Offset
	batches []batch
	open    map[record.ProducerID]record.Offset
	epochs  []epochStart
	hold    record.Offset
}

func newPartition(tp record.TopicPartition) *partition {
	return &partition{
		tp:     tp,
		open:   map[record.ProducerID]record.Offset{},
		epochs: []epochStart{{epoch: 0, start: 0}},
		hold:   record.NoOffset,
	}
}

// stable is the last stable offset: nothing at or above it is decided.
func (p *partition) stable() record.Offset {
	lso := p.end
	for _, first := range p.open {
		lso = min(lso, first)
	}
	return max(lso, p.start)
}

func (p *partition) epoch() record.LeaderEpoch { return p.epochs[len(p.epochs)-1].epoch }

// append gives offsets to the records and keeps them.
func (p *partition) append(records []stored, bytes int, pid record.ProducerID, f fate) {
	b := batch{base: p.end, epoch: p.epoch(), pid: pid, fate: f, records: records, bytes: bytes}
	for i := range records {
		records[i].offset = p.end + record.Offset(i)
	}
	b.next = p.end + record.Offset(len(records))
	if _, is := p.open[pid]; f == open && !is {
		p.open[pid] = b.base
	}
	p.end = b.next
	p.batches = append(p.batches, b)
}

// mark appends a marker and decides the producer's open batches.
func (p *partition) mark(pid record.ProducerID, commit bool) {
	first, is := p.open[pid]
	if !is {
		first = p.end
	}
	f := aborted
	if commit {
		f = committed
	}
	for i := p.at(first); i < len(p.batches); i++ {
		if b := &p.batches[i]; b.pid == pid && b.fate == open {
			b.fate = f
		}
	}
	delete(p.open, pid)
	p.batches = append(p.batches, batch{
		base: p.end, next: p.end + 1, epoch: p.epoch(), pid: pid, fate: control, commit: commit, bytes: 78,
	})
	p.end++
}

// at is the index of the batch that holds offset o, or of the first above it.
func (p *partition) at(o record.Offset) int {
	return sort.Search(len(p.batches), func(i int) bool { return p.batches[i].next > o })
}

func (p *partition) lookup(at logclient.At) logclient.OffsetEpoch {
	switch at.Kind {
	case logclient.AtStart:
		return p.withEpoch(p.start)
	case logclient.AtStable:
		return p.withEpoch(p.stable())
	case logclient.AtTime:
		for i := range p.batches {
			for _, r := range p.batches[i].records {
				if r.offset >= p.start && r.timestamp >= at.Timestamp {
					return p.withEpoch(r.offset)
				}
			}
		}
		return p.withEpoch(p.end)
	case logclient.AtEndOfEpoch:
		return p.endOfEpoch(at.Epoch)
	}
	return p.withEpoch(p.end)
}

// withEpoch adds the epoch of the record before o.
func (p *partition) withEpoch(o record.Offset) logclient.OffsetEpoch {
	oe := logclient.OffsetEpoch{Offset: o, Epoch: record.NoLeaderEpoch}
	for i := range p.batches {
		if b := &p.batches[i]; b.base < o && o > p.start {
			oe.Epoch = b.epoch
		}
	}
	return oe
}

func (p *partition) endOfEpoch(e record.LeaderEpoch) logclient.OffsetEpoch {
	if e < 0 || e > p.epoch() {
		return logclient.OffsetEpoch{Offset: record.NoOffset, Epoch: record.NoLeaderEpoch}
	}
	if e < p.epochs[0].epoch {
		return logclient.OffsetEpoch{Offset: p.epochs[0].start, Epoch: e}
	}
	for i := len(p.epochs) - 1; ; i-- {
		if p.epochs[i].epoch > e {
			continue
		}
		end := p.end
		if i+1 < len(p.epochs) {
			end = p.epochs[i+1].start
		}
		return logclient.OffsetEpoch{Offset: end, Epoch: p.epochs[i].epoch}
	}
}

// raiseEpoch begins a new leader epoch at the end.
func (p *partition) raiseEpoch() {
	last := &p.epochs[len(p.epochs)-1]
	if last.start == p.end {
		last.epoch++
		return
	}
	p.epochs = append(p.epochs, epochStart{epoch: last.epoch + 1, start: p.end})
}

// deleteBefore raises the start and forgets batches wholly below it.
func (p *partition) deleteBefore(o record.Offset) {
	if o <= p.start {
		return
	}
	p.start = o
	p.batches = append([]batch(nil), p.batches[p.at(o):]...)
	for len(p.epochs) > 1 && p.epochs[1].start <= o {
		p.epochs = p.epochs[1:]
	}
	p.epochs[0].start = max(p.epochs[0].start, o)
	for pid, first := range p.open {
		p.open[pid] = max(first, o)
	}
}

// truncate forgets everything from o on, as a cut after a power loss does.
func (p *partition) truncate(o record.Offset) {
	o = max(o, p.start)
	if o >= p.end {
		return
	}
	i := p.at(o)
	o = max(p.batches[i].base, p.start) // whole batches only
	p.batches = p.batches[:i]
	p.end = o
	for len(p.epochs) > 1 && p.epochs[len(p.epochs)-1].start > o {
		p.epochs = p.epochs[:len(p.epochs)-1]
	}
	// What the lost markers had decided is open again, as the bytes that are left say.
	p.open = map[record.ProducerID]record.Offset{}
	for i := len(p.batches) - 1; i >= 0; i-- {
		b := &p.batches[i]
		if b.pid < 0 || b.fate == control || p.markedAfter(i) {
			continue
		}
		b.fate = open
		p.open[b.pid] = b.base
	}
}

// markedAfter says whether a marker of batch i's producer follows it.
func (p *partition) markedAfter(i int) bool {
	for j := i + 1; j < len(p.batches); j++ {
		if p.batches[j].fate == control && p.batches[j].pid == p.batches[i].pid {
			return true
		}
	}
	return false
}

// compact keeps, below the last stable offset, the last committed record of
// each key; tombstones below the hold go too if dropTombstones. It returns how
// many records went.
func (p *partition) compact(dropTombstones bool) int {
	lso, gone := p.stable(), 0
	last := map[string]record.Offset{}
	p.eachDecided(lso, func(b *batch, r *stored) {
		if b.fate == committed && r.key != nil {
			last[string(r.key)] = r.offset
		}
	})
	for i := range p.batches {
		b := &p.batches[i]
		if b.next > lso {
			break
		}
		kept := make([]stored, 0, len(b.records))
		for _, r := range b.records {
			tombstone := r.value == nil && dropTombstones && (p.hold < 0 || r.offset < p.hold)
			if b.fate == committed && r.key != nil && (last[string(r.key)] != r.offset || tombstone) || b.fate == aborted {
				gone++
				continue
			}
			kept = append(kept, r)
		}
		b.records = kept
	}
	return gone
}

func (p *partition) eachDecided(lso record.Offset, f func(*batch, *stored)) {
	for i := range p.batches {
		if b := &p.batches[i]; b.next <= lso {
			for j := range b.records {
				f(b, &b.records[j])
			}
		}
	}
}

// keep copies a record; its memory belongs to the log from here on.
func keep(v *record.View) (stored, int) {
	r := stored{timestamp: v.Timestamp, key: bytes.Clone(v.Key), value: bytes.Clone(v.Value)}
	size := len(v.Key) + len(v.Value) + 12
	for _, h := range v.Headers {
		r.headers = append(r.headers, record.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
		size += len(h.Key) + len(h.Value) + 4
	}
	return r, size
}
