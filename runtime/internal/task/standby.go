package task

import (
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/streams/state"
)

// A task that is never started can follow the changelogs of one that runs
// elsewhere: RestoreEnd (where its checkpoint stands), Follow, then RestoreEntry,
// RestoreEnd, Freeze and Checkpointed for as long as it takes. What it freezes is
// the same as what the running task would.
//
// It has no stream time to expire windows by: how far the operators are is known
// to them alone. But the running task deletes the begin of a window store's
// changelog, up to where the first window begins that it has kept. So a window
// whose records all lie below the begin has expired, and with it every window
// that starts earlier, because they expire in that order.

// Follow begins to remember where windows end in their changelogs.
func (t *Task) Follow() {
	for i := range t.stores {
		s := &t.stores[i]
		if t.sub.Stores[i].Spec.Kind != state.Window {
			continue
		}
		s.lasts = map[int64]record.Offset{}
		for w := range s.firsts {
			s.lasts[w] = s.end.Offset - 1 // at most: it is in the checkpoint
		}
	}
}

// Trimmed drops the windows of a store that have expired, as far as that can be
// seen from where its changelog begins now. It does nothing for other stores.
func (t *Task) Trimmed(store int, start record.Offset) {
	s := &t.stores[store]
	live, some := int64(0), false
	for w, last := range s.lasts {
		if last < start && (!some || w >= live) {
			live, some = w+1, true
		}
	}
	if !some {
		return
	}
	t.overlay.mu.Lock()
	t.overlay.expire(store, live)
	t.overlay.mu.Unlock()
	t.trims = true
	for w := range s.firsts {
		if w < live {
			delete(s.firsts, w)
			delete(s.lasts, w)
		}
	}
}
