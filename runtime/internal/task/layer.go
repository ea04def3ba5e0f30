package task

import (
	"bytes"
	"maps"
	"math"
	"slices"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/state"
)

// layer holds committed entries of all stores of a task since some checkpoint.
// A window store has a table per window, so that a window expires as one piece;
// a key-value store has the one table of "window" 0.
type layer struct {
	stores  []layerStore
	bytes   int64
	entries int64
}

type layerStore struct {
	window bool
	tables map[int64]*table
	// last is the table used last: entries of one window come together.
	lastStart int64
	last      *table
}

func newLayer(stores []plan.Store) *layer {
	l := &layer{stores: make([]layerStore, len(stores))}
	for i, s := range stores {
		l.stores[i] = layerStore{window: s.Spec.Kind == state.Window, tables: map[int64]*table{}}
	}
	return l
}

func (l *layer) empty() bool { return l == nil || l.entries == 0 }

// split takes a store's key into the window that names its table and the key in it.
func (s *layerStore) split(key []byte) (start int64, rest []byte) {
	if !s.window {
		return 0, key
	}
	start, rest, ok := state.SplitWindowKey(key)
	if !ok {
		return 0, key // shorter than a window's start: no window store writes one
	}
	return start, rest
}

func (s *layerStore) table(start int64) *table {
	if s.last != nil && s.lastStart == start {
		return s.last
	}
	return s.tables[start]
}

func (l *layer) put(store int, key, value []byte) {
	s := &l.stores[store]
	start, rest := s.split(key)
	t := s.table(start)
	if t == nil {
		t = &table{}
		s.tables[start] = t
	}
	s.last, s.lastStart = t, start
	n := len(t.slots)
	l.bytes += t.put(rest, value)
	l.entries += int64(len(t.slots) - n)
}

// get reports found for a tombstone too, with a nil value.
func (l *layer) get(store int, key []byte) (value []byte, found bool) {
	if l == nil {
		return nil, false
	}
	s := &l.stores[store]
	start, rest := s.split(key)
	t := s.tables[start]
	if t == nil {
		return nil, false
	}
	e := t.find(rest)
	if e == nil {
		return nil, false
	}
	return t.value(e), true
}

// expire drops the windows that start before startMS.
func (l *layer) expire(store int, startMS int64) {
	s := &l.stores[store]
	for start, t := range s.tables {
		if start < startMS {
			l.bytes -= t.bytes()
			l.entries -= int64(len(t.slots))
			delete(s.tables, start)
		}
	}
	s.last = nil
}

// starts lists the windows with a table, in order.
func (s *layerStore) starts() []int64 { return slices.Sorted(maps.Keys(s.tables)) }

// entry is a key and value of a layer on their way to a reader.
type entry struct {
	key, value []byte // value nil: tombstone
}

// collect appends the entries with from <= key < to in key order. The bytes are
// the layer's unless own is set.
func (l *layer) collect(dst []entry, store int, from, to []byte, own bool) []entry {
	if l == nil {
		return dst
	}
	s := &l.stores[store]
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	if s.window {
		if start, _, ok := state.SplitWindowKey(from); ok {
			lo = start
		}
		if start, _, ok := state.SplitWindowKey(to); ok {
			hi = start
		}
	}
	if s.window && lo < math.MaxInt64 && hi == lo+1 { // one window: the others may be very many
		for start := lo; start <= hi; start++ {
			if s.tables[start] != nil {
				dst = s.collectTable(dst, start, from, to, own)
			}
		}
		return dst
	}
	for _, start := range s.starts() {
		if s.window && (start < lo || start > hi) {
			continue
		}
		dst = s.collectTable(dst, start, from, to, own)
	}
	return dst
}

func (s *layerStore) collectTable(dst []entry, start int64, from, to []byte, own bool) []entry {
	t := s.tables[start]
	begin := len(dst)
	for i := range t.slots {
		key := t.key(&t.slots[i])
		if s.window {
			key = state.AppendWindowKey(make([]byte, 0, 8+len(key)), start, key)
		}
		if bytes.Compare(key, from) < 0 || (to != nil && bytes.Compare(key, to) >= 0) {
			continue
		}
		value := t.value(&t.slots[i])
		if own {
			if !s.window {
				key = bytes.Clone(key)
			}
			value = bytes.Clone(value)
		}
		dst = append(dst, entry{key: key, value: value})
	}
	slices.SortFunc(dst[begin:], func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	return dst
}
