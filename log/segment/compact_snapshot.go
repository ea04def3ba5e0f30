package segment

import (
	"errors"
	"io/fs"

	"github.com/millstream-io/millstream/log/record"
)

// openSnapshots keeps producer snapshots true when the cleaner drops markers.
//
// A snapshot may say that a transaction is open whose marker lies behind it.
// When that marker goes (nothing of the transaction is left), a recovery that
// begins with the snapshot would wait for it for ever. So the snapshot forgets
// the transaction, durably, before the segment without the marker is swapped
// in; in between the marker still there ends nothing, which is right too.
type openSnapshots struct {
	l *Log
	// waiting: per producer, the snapshots that wait for its next marker.
	waiting map[record.ProducerID][]record.Offset
	// forget: per snapshot, the producers whose marker is being dropped.
	forget map[record.Offset]map[record.ProducerID]bool
}

func newOpenSnapshots(l *Log) *openSnapshots {
	return &openSnapshots{l: l, waiting: make(map[record.ProducerID][]record.Offset), forget: make(map[record.Offset]map[record.ProducerID]bool)}
}

// sweep removes snapshots below end that are not at a segment's base: those of
// clean shutdowns, which would have to be kept true as well.
func (o *openSnapshots) sweep(segs []*segment, end record.Offset) error {
	names, err := o.l.fs.ReadDir(o.l.cfg.Dir)
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		at, suffix, ok := parseName(name)
		if !ok || suffix != suffixSnapshot || at >= end || segs[find(segs, at)].base == at {
			continue
		}
		if err := o.l.fs.Remove(o.l.snapshotPath(at)); err != nil {
			return err
		}
		removed = true
	}
	if removed {
		return o.l.syncDir()
	}
	return nil
}

func (o *openSnapshots) read(at record.Offset) ([]ProducerState, error) {
	path := o.l.snapshotPath(at)
	b, err := readFile(o.l.fs, path)
	if err != nil {
		return nil, err
	}
	return parseSnapshot(path, b)
}

// begin looks at the snapshot at a group's base. One that is missing or
// malformed cannot mislead.
func (o *openSnapshots) begin(base record.Offset) error {
	states, err := o.read(base)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrFormat) {
		return nil
	}
	for _, s := range states {
		if s.TxnFirst != record.NoOffset {
			o.waiting[s.ProducerID] = append(o.waiting[s.ProducerID], base)
		}
	}
	return err
}

// marker notes the next marker of a producer.
func (o *openSnapshots) marker(id record.ProducerID, dropped bool) {
	for _, at := range o.waiting[id] {
		if !dropped {
			break
		}
		if o.forget[at] == nil {
			o.forget[at] = make(map[record.ProducerID]bool)
		}
		o.forget[at][id] = true
	}
	delete(o.waiting, id)
}

// flush rewrites the snapshots that must forget.
func (o *openSnapshots) flush() error {
	for at, ids := range o.forget {
		states, err := o.read(at)
		if err != nil {
			return err
		}
		for i := range states {
			if ids[states[i].ProducerID] {
				states[i].TxnFirst = record.NoOffset
			}
		}
		if err := replaceFile(o.l.fs, o.l.snapshotPath(at), appendSnapshot(nil, states)); err != nil {
			return err
		}
		delete(o.forget, at)
	}
	return nil
}
