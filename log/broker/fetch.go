package broker

import (
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// FetchOptions of Fetch.
type FetchOptions struct {
	MaxBytes   int  // of batches
	AtLeastOne bool // a first batch above MaxBytes comes nevertheless
	Committed  bool // read_committed: up to the last stable offset, with the aborted list
}

// Fetched is what Fetch found. Release gives the file back.
type Fetched struct {
	segment.Range // the batches, in place; the first may begin before the offset asked for
	// Aborted are the aborted transactions that touch the batches, if Committed was asked for, by first offset.
	Aborted []segment.AbortedTxn
	// Start, End and Stable of the partition when this was read.
	Start, End, Stable record.Offset
}

// Fetch finds whole batches, the first of which holds offset from, and lends
// them without reading them (Read copies them). At the end of the log there are
// none, at once; see Waiter. An offset before the start or after the end is a
// *segment.OffsetOutOfRangeError; Start, End and Stable are set with it too.
func (p *Partition) Fetch(from record.Offset, opt FetchOptions) (Fetched, error) {
	l, err := p.open()
	if err != nil {
		return Fetched{Start: record.NoOffset, End: record.NoOffset, Stable: record.NoOffset}, err
	}
	f := Fetched{Start: l.Start(), Stable: l.Stable()}
	f.End = l.End()
	upTo := f.End
	if opt.Committed {
		upTo = f.Stable
	}
	if from < f.Start || from > f.End {
		return f, &segment.OffsetOutOfRangeError{Partition: p.tp, Offset: from, Start: f.Start, End: f.End}
	}
	if from >= upTo || opt.MaxBytes <= 0 && !opt.AtLeastOne {
		return f, nil
	}
	if f.Range, err = l.Range(from, upTo, opt.MaxBytes, opt.AtLeastOne); err != nil {
		return f, p.wrap(err)
	}
	if opt.Committed && f.Len() > 0 {
		if f.Aborted, err = l.Aborted(nil, from, f.Next()); err != nil {
			f.Release()
			return f, p.wrap(err)
		}
	}
	if h := p.b.cfg.Hooks.Read; h != nil && f.Len() > 0 {
		h(p.tp, int(f.Len()))
	}
	return f, nil
}

// Epoch is the leader epoch in force; NoLeaderEpoch if the partition is offline.
func (p *Partition) Epoch() record.LeaderEpoch {
	if l := p.log.Load(); l != nil {
		return l.Epoch()
	}
	return record.NoLeaderEpoch
}

// Appended counts the bytes that were appended since the partition was opened;
// ok is false if it takes no reads now. Long polls ask it whether enough came.
func (p *Partition) Appended() (bytes int64, ok bool) {
	l := p.log.Load()
	if l == nil || p.gone.Load() || l.Err() != nil {
		return 0, false
	}
	return l.Appended(), true
}

// TimeOffset finds the first record whose timestamp is at or after ms, or with
// LatestTime the one with the greatest timestamp. Its Offset is NoOffset if
// there is none.
func (p *Partition) TimeOffset(ms int64) (segment.TimeOffset, error) {
	l, err := p.open()
	if err != nil {
		return segment.TimeOffset{Offset: record.NoOffset, Timestamp: record.NoTimestamp, Epoch: record.NoLeaderEpoch}, err
	}
	var t segment.TimeOffset
	if ms == LatestTime {
		t, err = l.MaxTimestamp()
	} else {
		t, err = l.OffsetForTime(ms)
	}
	return t, p.wrap(err)
}

// LatestTime asks TimeOffset for the record with the greatest timestamp.
const LatestTime = -3

// State is Offsets, or why the partition cannot be read.
func (p *Partition) State() (Offsets, error) {
	if _, err := p.open(); err != nil {
		return Offsets{}, err
	}
	return p.Offsets(), nil
}
