package cassandra

import "unsafe"

// merge collects the changes of a Write and leaves out what later ones make
// needless. The rules, for two changes of one row, an earlier E and a later L:
//
//	L deletes                      E is left out (but not static columns)
//	L sets every column            E is left out if it is an upsert, or if the
//	                               struct has every column of the table
//	L sets some columns            both are sent
//
// Rows of one record have one timestamp, so they become one change:
//
//	two upserts                    one, the later value of each column
//	delete, then upsert            both, the delete a microsecond earlier: at equal
//	                               timestamps Cassandra lets a delete win
//	upsert, then delete            the delete
//
// By event time a change is only left out for one that is really newer.
type merge struct {
	last      map[string]*op // by op.key: the last one that is to be sent
	ops       []*op          // all, in order of arrival
	dropped   int            // of these, left out
	coalesced int64          // changes that were merged or left out, ever
}

func newMerge() *merge {
	return &merge{last: map[string]*op{}}
}

func (m *merge) reset() {
	clear(m.last)
	clear(m.ops)
	m.ops = m.ops[:0]
	m.dropped = 0
}

// add takes a change that came after all that it has.
func (m *merge) add(o *op) {
	key := unsafe.String(unsafe.SliceData(o.key), len(o.key)) // o.key stays as it is until reset
	last := m.last[key]
	if last != nil && last.record == o.record && !o.delete {
		if !last.delete {
			last.override(o)
			m.coalesced++
			m.supersede(last)
			return
		}
		last.ts--
	}
	o.prev = last
	m.ops = append(m.ops, o)
	m.last[key] = o
	m.supersede(o)
}

// override puts what o sets into l, which has the same timestamp.
func (l *op) override(o *op) {
	l.full = true
	l.size = 0
	for i := range l.cells {
		if !o.cells[i].unset {
			l.cells[i] = o.cells[i]
		}
		l.full = l.full && !l.cells[i].unset
		l.size += len(l.cells[i].b)
	}
	l.ttl = o.ttl
}

// supersede leaves out what o makes needless among those before it.
func (m *merge) supersede(o *op) {
	if !o.delete && !o.full || o.delete && o.plan.statics {
		return
	}
	at := &o.prev
	for *at != nil {
		e := *at
		if e.ts > o.ts || e.ts == o.ts && e.record != o.record || e.delete && !o.delete && !o.plan.covers {
			at = &e.prev
			continue
		}
		e.dropped = true
		m.dropped++
		m.coalesced++
		o.victims = append(o.victims, e)
		*at = e.prev
	}
}

// revive gives what is to be sent after all because o is refused: its victims,
// or what these had made needless where they are of the same record.
func (m *merge) revive(dst []*op, o *op) []*op {
	for _, v := range o.victims {
		if v.record == o.record {
			dst = m.revive(dst, v)
			continue
		}
		v.dropped = false
		m.dropped--
		dst = append(dst, v)
	}
	o.victims = nil
	return dst
}

// units groups changes into what goes out together: those of one partition, in
// requests of at most rows changes and size bytes.
func units(ops []*op, rows, size int) [][]*op {
	out := make([][]*op, 0, len(ops))
	bytes := make([]int, 0, len(ops))
	at := make(map[string]int, len(ops))
	for _, o := range ops {
		key := unsafe.String(unsafe.SliceData(o.key), o.prefix)
		i, ok := at[key]
		if !ok || len(out[i]) >= rows || bytes[i]+o.size > size {
			i = len(out)
			at[key] = i
			out = append(out, nil)
			bytes = append(bytes, 0)
		}
		out[i] = append(out[i], o)
		bytes[i] += o.size
	}
	return out
}

// live are the changes that are to be sent.
func (m *merge) live() []*op {
	if m.dropped == 0 {
		return m.ops
	}
	live := make([]*op, 0, len(m.ops)-m.dropped)
	for _, o := range m.ops {
		if !o.dropped {
			live = append(live, o)
		}
	}
	return live
}
