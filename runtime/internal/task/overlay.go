package task

import (
	"bytes"
	"sync"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/state"
)

// overlay holds what is committed and not yet in the local database, and reads
// through to it: active, then frozen, then database.
//
//	commit ──▶ active ──freeze──▶ frozen ──checkpoint──▶ database
//
// Invariant: only the task's goroutine changes it, under mu; so that goroutine
// reads without mu, and queries of other goroutines hold it for reading.
// Invariant (I1): it holds only entries whose transaction is committed.
// Invariant: frozen's tables never change.
type overlay struct {
	task   state.TaskKey
	stores []plan.Store
	db     state.DB

	mu     sync.RWMutex
	active *layer
	frozen *layer // nil if no checkpoint is under way
	// expired, by store: windows that start before it are gone, whatever the
	// database still holds.
	expired []int64
	// positions and streamTime are those of the last commit, for queries.
	positions  []Position
	streamTime int64
}

func newOverlay(task state.TaskKey, stores []plan.Store, db state.DB) *overlay {
	o := &overlay{task: task, stores: stores, db: db, active: newLayer(stores), expired: make([]int64, len(stores))}
	for i := range o.expired {
		o.expired[i] = minTime
	}
	return o
}

func (o *overlay) bytes() int64 {
	n := o.active.bytes
	if o.frozen != nil {
		n += o.frozen.bytes
	}
	return n
}

// gone reports whether a key belongs to an expired window.
func (o *overlay) gone(store int, key []byte) bool {
	if o.stores[store].Spec.Kind != state.Window {
		return false
	}
	start, _, ok := state.SplitWindowKey(key)
	return ok && start < o.expired[store]
}

// get appends the committed value of key to dst.
func (o *overlay) get(store int, key, dst []byte) ([]byte, bool, error) {
	if o.gone(store, key) {
		return dst, false, nil
	}
	for _, l := range [2]*layer{o.active, o.frozen} {
		if v, found := l.get(store, key); found {
			return append(dst, v...), v != nil, nil
		}
	}
	return o.db.Get(o.task, o.stores[store].Key, key, dst)
}

// scan calls fn for the committed entries with from <= key < to in key order.
// With opened set, the layers' entries are copied, and opened is called once the
// database has been opened for reading: from then on the scan reads a snapshot
// and its caller may let go of mu.
func (o *overlay) scan(store int, from, to []byte, opened func(), fn func(key, value []byte) bool) error {
	if o.stores[store].Spec.Kind == state.Window && o.expired[store] != minTime {
		if live := state.AppendWindowStart(nil, o.expired[store]); bytes.Compare(from, live) < 0 {
			from = live
		}
	}
	over := mergeEntries(o.active.collect(nil, store, from, to, opened != nil), o.frozen.collect(nil, store, from, to, false))
	release := func() {
		if opened != nil {
			opened()
			opened = nil
		}
	}
	more := true
	emit := func(e entry) {
		if e.value != nil {
			more = fn(e.key, e.value)
		}
	}
	err := o.db.Range(o.task, o.stores[store].Key, from, to, func(key, value []byte) bool {
		release()
		for more && len(over) > 0 {
			c := bytes.Compare(over[0].key, key)
			if c > 0 {
				break
			}
			emit(over[0])
			over = over[1:]
			if c == 0 {
				return more
			}
		}
		if more {
			more = fn(key, value)
		}
		return more
	})
	release()
	for ; err == nil && more && len(over) > 0; over = over[1:] {
		emit(over[0])
	}
	return err
}

// mergeEntries merges two sorted runs; of equal keys the first run's wins.
func mergeEntries(a, b []entry) []entry {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make([]entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0].key, b[0].key); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// freeze makes the active layer the next checkpoint's content. The caller has
// made sure that none is under way.
func (o *overlay) freeze() *layer {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frozen, o.active = o.active, newLayer(o.stores)
	return o.frozen
}

// thaw forgets the frozen layer: the database has it.
func (o *overlay) thaw() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frozen = nil
}

// refreeze puts the frozen layer back under the active one, after a checkpoint
// that failed. Both stay as they are: queries may still read frozen's entries.
func (o *overlay) refreeze() {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := newLayer(o.stores)
	for _, l := range [2]*layer{o.frozen, o.active} {
		for i := range l.stores {
			for _, e := range l.collect(nil, i, nil, nil, false) {
				all.put(i, e.key, e.value)
			}
		}
	}
	for i, start := range o.expired {
		all.expire(i, start)
	}
	o.active, o.frozen = all, nil
}

// expire drops windows; under mu.
func (o *overlay) expire(store int, startMS int64) {
	if startMS <= o.expired[store] {
		return
	}
	o.expired[store] = startMS
	o.active.expire(store, startMS)
}

// backend is one store of a task as its unit sees it.
type backend struct {
	o     *overlay
	store int
}

func (b backend) Get(key, dst []byte) ([]byte, bool, error) { return b.o.get(b.store, key, dst) }

func (b backend) Range(from, to []byte, fn func(key, value []byte) bool) error {
	return b.o.scan(b.store, from, to, nil, fn)
}

var _ state.Backend = backend{}
