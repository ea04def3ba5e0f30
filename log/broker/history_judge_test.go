package broker_test

import (
	"context"
	"fmt"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// crash is how a history is cut.
//
// The boot id stays the same only with 100 %: the page cache survives a
// process, and what it loses, it loses with the boot.
type crash struct {
	percent int
	newBoot bool
}

func (c crash) String() string {
	boot := "same boot"
	if c.newBoot {
		boot = "new boot"
	}
	return fmt.Sprintf("%d%% of the unsynced, %s", c.percent, boot)
}

var crashes = []crash{{0, true}, {100, false}, {50, true}, {100, true}}

// found is what a reopened partition shows.
type found struct {
	broker.Offsets
	cut      record.Offset // the end of what was there before the start
	controls []record.ControlType
	present  []bool // by offset: in the log
	visible  []bool // by offset: to read_committed
}

// judge compares a reopened broker with the model.
type judge struct {
	m       *model
	b       *broker.Broker
	clean   bool // the mark of a clean shutdown was there
	power   bool // unsynced data may be lost
	newBoot bool // and open transactions with it
	strict  bool // transactions and positions keep their promise
	parts   map[record.TopicPartition]*found
	offsets map[string]map[record.TopicPartition]record.Offset
	outcome map[*txnModel]uint8 // of committing ones: 1 seen as committed, 2 as not, 3 both
	why     error
}

func newJudge(m *model, b *broker.Broker, c crash, clean bool) *judge {
	j := &judge{m: m, b: b, clean: clean, newBoot: c.newBoot && !clean, power: (c.percent < 100 || m.cut) && !clean,
		parts: map[record.TopicPartition]*found{}, offsets: map[string]map[record.TopicPartition]record.Offset{},
		outcome: map[*txnModel]uint8{}}
	j.strict = !j.power || m.flush == broker.FlushCommit
	return j
}

// bad notes the first complaint.
func (j *judge) bad(format string, args ...any) {
	if j.why == nil {
		j.why = fmt.Errorf(format, args...)
	}
}

// inspect judges without changing anything.
func (j *judge) inspect() error {
	j.topics()
	for _, t := range j.m.topics {
		if _, ok := j.b.Topic(t.name); !ok {
			continue
		}
		for _, p := range t.parts {
			j.partition(p)
		}
	}
	for group := range j.m.groups {
		j.group(group)
	}
	for t, seen := range j.outcome {
		if seen == 3 {
			j.bad("the transaction of %s over %v that was being committed: expected all of it or nothing, found a part", t.owner.id, t.parts)
		}
	}
	return j.why
}

func (j *judge) topics() {
	for _, got := range j.b.Topics() {
		t := j.m.topic(got.Name)
		switch {
		case got.Internal:
		case t == nil:
			j.bad("topic %s is back after its deletion", got.Name)
		case int(got.Partitions) != len(t.parts) && int(got.Partitions) != len(t.parts)+t.more || got.ID != t.id && t.id != [16]byte{}:
			j.bad("topic %s: expected id %x and %d partitions, found %x and %d", got.Name, t.id, len(t.parts), got.ID, got.Partitions)
		}
	}
	for _, t := range j.m.topics {
		if _, ok := j.b.Topic(t.name); !ok && !t.maybe {
			j.bad("topic %s is gone", t.name)
		}
	}
	if v := j.b.Setting("log.cleaner.threads"); v != j.m.setting && v != j.m.nextSetting && !(v == "1" && j.m.setting == "") {
		j.bad("log.cleaner.threads is %s, expected %q or %q", v, j.m.setting, j.m.nextSetting)
	}
}

func (j *judge) partition(p *partModel) {
	bp, err := j.b.Partition(p.tp)
	if err == nil {
		err = bp.Err()
	}
	if err != nil {
		j.bad("%v: expected it to serve, found %w", p.tp, err)
		return
	}
	f := &found{Offsets: bp.Offsets(), cut: -1, present: make([]bool, p.end()), visible: make([]bool, p.end())}
	j.parts[p.tp] = f
	j.raw(bp, p, f)
	j.committedView(bp, p, f)
	if j.why == nil {
		j.limits(bp, p, f)
	}
	if j.why == nil && j.strict {
		j.transactions(p, f)
	}
	if j.why == nil {
		j.complete(p, f)
	}
}

// raw compares every batch with what was written at its offset. What recovery
// adds is recognised by its leader epoch.
func (j *judge) raw(bp *broker.Partition, p *partModel, f *found) {
	expect := f.Start
	for at := f.Start; at < f.End && j.why == nil; {
		c, err := bp.Read(at, broker.ReadOptions{MaxBytes: 1 << 16})
		if err != nil {
			j.bad("%v: read at %d of [%d, %d): %w", p.tp, at, f.Start, f.End, err)
			return
		}
		for data := c.Data; len(data) > 0; {
			h, err := record.ParseHeader(data)
			if err != nil {
				j.bad("%v: after offset %d: %w", p.tp, expect, err)
				break
			}
			if !p.compact && h.BaseOffset != expect && h.BaseOffset > f.Start {
				j.bad("%v: expected a batch at offset %d, found the next at %d", p.tp, expect, h.BaseOffset)
			}
			expect = h.NextOffset()
			j.batch(p, f, &h, data[:h.Size()])
			data = data[h.Size():]
		}
		if c.Next <= at {
			j.bad("%v: nothing at offset %d below the end %d", p.tp, at, f.End)
		}
		at = c.Next
		c.Release()
	}
	if j.why == nil && expect != f.End {
		j.bad("%v: the last batch ends at %d, the log at %d", p.tp, expect, f.End)
	}
	if f.cut < 0 {
		f.cut = f.End
	}
}

func (j *judge) batch(p *partModel, f *found, h *record.BatchHeader, raw []byte) {
	it := record.NewIterator(raw, record.ReadOptions{})
	defer it.Release()
	var v record.View
	if h.LeaderEpoch > p.epoch {
		if f.cut < 0 {
			f.cut = h.BaseOffset
		}
		if !it.Next(&v) || !h.Control() {
			j.bad("%v: offset %d has epoch %d, above %d, and is no marker", p.tp, h.BaseOffset, h.LeaderEpoch, p.epoch)
			return
		}
		m, err := record.ParseMarker(&v)
		if err != nil {
			j.bad("%v: offset %d: %w", p.tp, h.BaseOffset, err)
		}
		f.controls = append(f.controls, m.Type)
		return
	}
	if f.cut >= 0 {
		j.bad("%v: offset %d has the old epoch %d behind markers of recovery from %d", p.tp, h.BaseOffset, h.LeaderEpoch, f.cut)
		return
	}
	for it.Next(&v) {
		if v.Offset < f.Start {
			continue
		}
		if v.Offset >= p.end() {
			j.bad("%v: a record at offset %d, but only %d were written", p.tp, v.Offset, p.end())
			return
		}
		if err := p.log[v.Offset].matches(h, &v); err != nil {
			j.bad("%v: offset %d: %w", p.tp, v.Offset, err)
			return
		}
		f.present[v.Offset] = true
	}
	if it.Err() != nil {
		j.bad("%v: %w", p.tp, it.Err())
	}
}

func (e *entry) matches(h *record.BatchHeader, v *record.View) error {
	if h.Control() {
		m, err := record.ParseMarker(v)
		if err != nil || !e.control || m.Type != e.marker {
			return fmt.Errorf("expected %v, found a marker %v (%v)", e, m.Type, err)
		}
		return nil
	}
	if e.control || string(v.Key) != e.key || string(v.Value) != e.value || (v.Value == nil) != e.tombstone {
		return fmt.Errorf("expected %v, found %q=%q", e, v.Key, v.Value)
	}
	if (e.txn != nil) != h.Transactional() && e.txn != someAborted && e.txn != someCommitted {
		return fmt.Errorf("expected transactional %v of %v", e.txn != nil, e)
	}
	return nil
}

func (e *entry) String() string {
	switch {
	case e.control:
		return "marker " + e.marker.String()
	case e.tombstone:
		return fmt.Sprintf("%q=null", e.key)
	}
	return fmt.Sprintf("%q=%q", e.key, e.value)
}

// committedView notes what read_committed gives.
func (j *judge) committedView(bp *broker.Partition, p *partModel, f *found) {
	for at := f.Start; j.why == nil; {
		c, err := bp.Read(at, broker.ReadOptions{MaxBytes: 1 << 16, Committed: true})
		if err != nil {
			j.bad("%v: read_committed at %d: %w", p.tp, at, err)
			return
		}
		if len(c.Data) == 0 {
			c.Release()
			if at < f.Stable {
				j.bad("%v: read_committed ends at %d below the last stable offset %d", p.tp, at, f.Stable)
			}
			return
		}
		for {
			_, raw, ok := c.NextBatch()
			if !ok {
				break
			}
			it := record.NewIterator(raw, record.ReadOptions{SkipCRC: true})
			var v record.View
			for it.Next(&v) {
				if v.Offset >= at && v.Offset < p.end() {
					f.visible[v.Offset] = true
				}
			}
			it.Release()
		}
		if c.Err() != nil {
			j.bad("%v: %w", p.tp, c.Err())
		}
		at = c.Next
		c.Release()
	}
}

// limits are what the offsets of a partition may be.
func (j *judge) limits(bp *broker.Partition, p *partModel, f *found) {
	must := p.acked
	if j.power {
		must = p.durable
	}
	if f.cut < must {
		j.bad("%v: expected all below offset %d to survive, found the end at %d", p.tp, must, f.cut)
	}
	if f.cut > p.end() {
		j.bad("%v: expected an end of at most %d, found %d", p.tp, p.end(), f.cut)
	}
	if f.Start < p.startLow || f.Start > p.startHigh {
		j.bad("%v: expected the start in [%d, %d], found %d", p.tp, p.startLow, p.startHigh, f.Start)
	}
	if f.Start > f.Stable || f.Stable > f.End {
		j.bad("%v: expected start <= stable <= end, found %d, %d, %d", p.tp, f.Start, f.Stable, f.End)
	}
	switch {
	case j.clean && f.Epoch != p.epoch:
		j.bad("%v: expected epoch %d after a clean end, found %d", p.tp, p.epoch, f.Epoch)
	case !j.clean && f.Epoch <= p.epoch:
		j.bad("%v: expected an epoch above %d after an unclean end, found %d", p.tp, p.epoch, f.Epoch)
	}
	if e, end := bp.EndOfEpoch(p.epoch); !j.clean && e != record.NoLeaderEpoch && end != f.cut {
		j.bad("%v: expected epoch %d to end where the log was cut, %d, found %d of epoch %d", p.tp, p.epoch, f.cut, end, e)
	}
}

// transactions: committed ones are visible, others are not, and readers are
// held up by those alone that are open.
func (j *judge) transactions(p *partModel, f *found) {
	low, high := f.End, f.End // of the last stable offset
	for o := p.end() - 1; o >= 0; o-- {
		t := p.log[o].txn
		if t == nil || j.newBoot || o >= f.cut {
			continue
		}
		switch t.fate {
		case ongoing:
			low, high = o, o
		case committing, aborting:
			low = o
		}
	}
	low, high = max(low, f.Start), max(high, f.Start)
	if f.Stable < low || f.Stable > high {
		j.bad("%v: expected the last stable offset in [%d, %d], found %d", p.tp, low, high, f.Stable)
	}
	for o := f.Start; o < p.end(); o++ {
		t := p.log[o].txn
		if t == nil {
			continue
		}
		switch {
		case t.fate == committed && !f.visible[o] && o < f.Stable && (f.present[o] || !p.compact):
			j.bad("%v: offset %d %v was committed, read_committed does not give it", p.tp, o, &p.log[o])
		case t.fate != committed && t.fate != committing && f.visible[o]:
			j.bad("%v: offset %d %v was not committed, read_committed gives it", p.tp, o, &p.log[o])
		case t.fate == committing && f.visible[o]:
			j.outcome[t] |= 1
		case t.fate == committing && (o < high || o >= f.cut):
			j.outcome[t] |= 2
		}
	}
}

// complete: nothing is missing between start and cut but what compaction may take.
func (j *judge) complete(p *partModel, f *found) {
	later := map[string]bool{} // keys that have a later value
	buried := map[string]record.Offset{}
	for o := f.cut - 1; o >= f.Start; o-- {
		e := &p.log[o]
		if e.control {
			continue
		}
		old := e.txn != nil && (e.txn.fate == aborted || e.txn.fate == aborting)
		if t, ok := buried[e.key]; ok && f.visible[o] && p.compact {
			j.bad("%v: offset %d %v is back, its tombstone at %d is gone", p.tp, o, e, t)
		}
		switch {
		case f.present[o]:
			if (e.txn == nil || old) && f.visible[o] != (e.txn == nil && o < f.Stable) && j.strict {
				j.bad("%v: offset %d %v: expected to read_committed %v, found %v (stable %d)", p.tp, o, e, e.txn == nil && o < f.Stable, f.visible[o], f.Stable)
			}
		case !p.compact || o >= p.cleanedBelow:
			j.bad("%v: offset %d %v is missing in [%d, %d)", p.tp, o, e, f.Start, f.cut)
		case old || later[e.key]:
		case e.tombstone && e.ms+deleteRetentionMS <= j.m.nowMS:
			buried[e.key] = o
		default:
			j.bad("%v: offset %d %v was compacted away, and it is the last of its key", p.tp, o, e)
		}
		if e.txn == nil || e.txn.fate == committed {
			later[e.key] = true
		}
	}
}

// group compares the positions: as committed, but never past the end.
func (j *judge) group(group string) {
	got, err := j.b.FetchOffsets(context.Background(), group, nil, false)
	if err != nil {
		j.bad("group %s: %w", group, err)
		return
	}
	j.offsets[group] = map[record.TopicPartition]record.Offset{}
	for tp, o := range got {
		if p := j.m.part(tp); p != nil && j.parts[tp] != nil && o.Offset > j.parts[tp].End {
			j.bad("group %s: position %d of %v is past the end %d", group, o.Offset, tp, j.parts[tp].End)
		}
		j.offsets[group][tp] = o.Offset
	}
	if !j.strict {
		return
	}
	for tp := range j.offsets[group] {
		if _, ok := j.b.Topic(tp.Topic); !ok {
			j.bad("group %s has a position %d in %v, which does not exist", group, j.offsets[group][tp], tp)
		}
	}
	for _, p := range j.m.allParts() {
		if f := j.parts[p.tp]; f != nil && !j.m.topic(p.tp.Topic).maybe {
			j.position(group, p.tp, f)
		}
	}
}

func (j *judge) position(group string, tp record.TopicPartition, f *found) {
	const none record.Offset = -1
	at := func(o position, ok bool) record.Offset {
		if !ok {
			return none
		}
		return min(o.at, f.End)
	}
	got, ok := j.offsets[group][tp]
	if !ok {
		got = none
	}
	cur, has := j.m.position(group, tp)
	want := at(cur, has)
	for _, pr := range j.m.txns {
		t := pr.txn
		if t == nil || t.fate != committing {
			continue
		}
		o, ok := t.offsets[group][tp]
		next := at(o, ok)
		if !ok || has && cur.seq > o.seq || next == want {
			continue
		}
		switch got {
		case next:
			j.outcome[t] |= 1
			return
		case want:
			j.outcome[t] |= 2
		}
	}
	if o, ok := j.m.maybe[group][tp]; ok && got == at(o, true) {
		return
	}
	if got != want {
		j.bad("group %s: expected position %d in %v (end %d), found %d", group, want, tp, f.End, got)
	}
}
