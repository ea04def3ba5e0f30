//go:build plantedbugs

package task

import (
	"maps"

	"github.com/millstream-io/millstream/log/record"
)

// PlantPending is a checkpoint of the running transaction: what I1 forbids.
func (t *Task) PlantPending() *Frozen {
	if len(t.pending.entries) == 0 {
		return nil
	}
	l := newLayer(t.sub.Stores)
	for i := range t.pending.entries {
		l.put(t.pending.at(i))
	}
	f := &Frozen{Entries: l.entries, Bytes: l.bytes, layer: l, stores: t.sub.Stores, expired: append([]int64(nil), t.overlay.expired...)}
	for i := range t.stores {
		if s := &t.stores[i]; s.changelog.Topic != "" {
			end := s.end
			end.Offset = s.checkpointed
			f.Changelogs = append(f.Changelogs, ChangelogEnd{Store: i, Partition: s.changelog, End: end, Firsts: maps.Clone(s.firsts)})
		}
	}
	return f
}

// PlantPosition is the position record of the running transaction.
func (t *Task) PlantPosition() record.View {
	return record.View{Key: []byte(PositionKey(t.cfg.ID)), Value: t.position().Append(nil), Timestamp: max(t.maxEvent, 0)}
}
