package task

import (
	"bytes"
	"maps"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/state"
)

// Frozen is the content of one checkpoint: what was committed since the last
// one, as of Freeze. Write may run beside the task; it reads nothing that changes.
type Frozen struct {
	Entries, Bytes int64
	Changelogs     []ChangelogEnd
	// Position is the position record of the commit that this is the state of, if
	// a store has no changelog.
	Position []byte
	layer    *layer
	stores   []plan.Store
	expired  []int64
}

// ChangelogEnd is how far one store's changelog is in a checkpoint.
type ChangelogEnd struct {
	Store     int
	Partition record.TopicPartition
	End       logclient.OffsetEpoch
	Firsts    map[int64]record.Offset // by live window: where its records begin, or before
}

// Freezing reports whether a checkpoint is under way.
func (t *Task) Freezing() bool { return t.overlay.frozen != nil }

// OverlayBytes is what is committed and not in the local database.
func (t *Task) OverlayBytes() int64 { return t.overlay.bytes() }

// Freeze begins a checkpoint; nil if there is nothing to write. Nothing may be
// under way. The running transaction is not part of it (I1).
func (t *Task) Freeze() *Frozen {
	if !t.NeedsCheckpoint() {
		return nil
	}
	f := &Frozen{stores: t.sub.Stores, expired: append([]int64(nil), t.overlay.expired...), Position: bytes.Clone(t.committed)}
	f.layer = t.overlay.freeze()
	f.Entries, f.Bytes = f.layer.entries, f.layer.bytes
	for i := range t.stores {
		s := &t.stores[i]
		if s.changelog.Topic != "" {
			f.Changelogs = append(f.Changelogs, ChangelogEnd{Store: i, Partition: s.changelog, End: s.end, Firsts: maps.Clone(s.firsts)})
		}
	}
	return f
}

// NeedsCheckpoint reports whether a checkpoint would write anything.
func (t *Task) NeedsCheckpoint() bool {
	return !t.overlay.active.empty() || t.endsMoved() || t.trims || t.local && !bytes.Equal(t.committed, t.checkpointed)
}

func (t *Task) endsMoved() bool {
	for i := range t.stores {
		if t.stores[i].changelog.Topic != "" && t.stores[i].end.Offset > t.stores[i].checkpointed {
			return true
		}
	}
	return false
}

// Write puts the checkpoint into a batch: expired windows first, then every
// entry, window by window.
func (f *Frozen) Write(b state.Batch) error {
	for i, s := range f.stores {
		if s.Spec.Kind == state.Window && f.expired[i] != minTime {
			from, to := state.AppendWindowStart(nil, minTime), state.AppendWindowStart(nil, f.expired[i])
			if err := b.DeleteRange(s.Key, from, to); err != nil {
				return err
			}
		}
		if err := f.writeStore(b, i); err != nil {
			return err
		}
	}
	return nil
}

func (f *Frozen) writeStore(b state.Batch, i int) error {
	ls := &f.layer.stores[i]
	var scratch []byte
	for _, start := range ls.starts() {
		if ls.window && start < f.expired[i] {
			continue
		}
		t := ls.tables[start]
		for j := range t.slots {
			key := t.key(&t.slots[j])
			if ls.window {
				scratch = state.AppendWindowKey(scratch[:0], start, key)
				key = scratch
			}
			var err error
			if value := t.value(&t.slots[j]); value == nil {
				err = b.Delete(f.stores[i].Key, key)
			} else {
				err = b.Put(f.stores[i].Key, key, value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Checkpointed ends a checkpoint. After an error its entries wait for the next one.
// Otherwise it returns, by changelog partition, the offset below which window
// changelogs may be deleted: everything there is in the checkpoint, and belongs
// to windows that have expired. holds are the offsets of the checkpoint itself.
func (t *Task) Checkpointed(f *Frozen, err error) (trim, holds map[record.TopicPartition]record.Offset) {
	if err != nil {
		t.overlay.refreeze()
		return nil, nil
	}
	t.overlay.thaw()
	t.checkpointed, t.trims = f.Position, false
	trim, holds = map[record.TopicPartition]record.Offset{}, map[record.TopicPartition]record.Offset{}
	for _, c := range f.Changelogs {
		t.stores[c.Store].checkpointed = c.End.Offset
		holds[c.Partition] = c.End.Offset
		if t.sub.Stores[c.Store].Spec.Kind != state.Window {
			continue
		}
		least := c.End.Offset
		for _, at := range c.Firsts {
			least = min(least, at)
		}
		if least > t.stores[c.Store].trimmed {
			t.stores[c.Store].trimmed = least
			trim[c.Partition] = least
		}
	}
	return trim, holds
}

// RestoreEntry takes a committed changelog record while the task is restored,
// before Start.
func (t *Task) RestoreEntry(store int, key, value []byte, at record.Offset) {
	if t.overlay.gone(store, key) {
		return
	}
	t.overlay.mu.Lock()
	t.overlay.active.put(store, key, value)
	t.overlay.mu.Unlock()
	t.noteFirst(store, key, at)
	if lasts := t.stores[store].lasts; lasts != nil {
		if start, _, ok := state.SplitWindowKey(key); ok {
			lasts[start] = at
		}
	}
}

// RestoreEnd says how far a store's changelog is, and where windows begin whose
// records are in the checkpoint. checkpointed is the checkpoint's offset.
func (t *Task) RestoreEnd(store int, end logclient.OffsetEpoch, checkpointed record.Offset, firsts map[int64]record.Offset) {
	s := &t.stores[store]
	s.end, s.checkpointed = end, checkpointed
	for w, at := range firsts {
		if old, ok := s.firsts[w]; !ok || at < old {
			s.firsts[w] = at
		}
	}
}

// Changelogs are the changelog partitions of the task's stores, by store; those
// without one have no topic.
func (t *Task) Changelogs() []record.TopicPartition {
	var tps []record.TopicPartition
	for i := range t.stores {
		tps = append(tps, t.stores[i].changelog)
	}
	return tps
}

const minTime int64 = -1 << 63
