package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// offsetIndex checks every entry against the batch that it points to.
func (v *verifier) offsetIndex(base record.Offset, size int64, places map[int64]placeOf, whole bool) {
	path := fileName(v.dir, base, suffixIndex)
	b, err := readFile(v.fs, path)
	if v.live {
		size = math.MaxInt64 // the segment has grown since its size was asked for
	}
	if err == nil {
		err = checkOffsetIndex(path, b, size)
	}
	if err != nil {
		v.format(path, err)
		return
	}
	for i := 0; i < len(b); i += offsetEntrySize {
		offset, pos := base+record.Offset(offsetKey(b[i:])), int64(binary.BigEndian.Uint32(b[i+4:]))
		place, ok := places[pos]
		switch {
		case !ok && (v.live || !whole):
		case !ok:
			v.add(path, int64(i+4), offset, "points to byte %d, where no batch begins", pos)
		case place.last != offset:
			v.add(path, int64(i), offset, "the batch at byte %d ends at offset %d", pos, place.last)
		}
	}
}

// timeIndex checks that each entry is the greatest timestamp so far, with the
// last offset of the first batch that has it.
func (v *verifier) timeIndex(base record.Offset, places map[int64]placeOf, whole bool) {
	path := fileName(v.dir, base, suffixTime)
	b, err := readFile(v.fs, path)
	if err == nil {
		err = checkTimeIndex(path, b)
	}
	if err != nil {
		v.format(path, err)
		return
	}
	expect := make(map[int64]record.Offset) // timestamp that was a new maximum -> last offset of its batch
	ordered := make([]int64, 0, len(places))
	for pos := range places {
		ordered = append(ordered, pos)
	}
	slices.Sort(ordered)
	greatest := int64(record.NoTimestamp)
	for _, pos := range ordered {
		if p := places[pos]; p.maxTime > greatest {
			greatest = p.maxTime
			expect[greatest] = p.last
		}
	}
	for i := 0; i < len(b); i += timeEntrySize {
		ts, offset := timeKey(b[i:]), base+record.Offset(binary.BigEndian.Uint32(b[i+8:]))
		last, ok := expect[ts]
		switch {
		case !ok && (v.live || !whole):
		case !ok:
			v.add(path, int64(i), offset, "timestamp %d is not a greatest one of the segment so far", ts)
		case last != offset:
			v.add(path, int64(i+8), offset, "timestamp %d is first reached by the batch that ends at offset %d", ts, last)
		}
	}
}

// txnIndex compares the aborted transactions with those that the fold found.
func (v *verifier) txnIndex(base, end record.Offset, found []AbortedTxn, known bool) {
	path := fileName(v.dir, base, suffixTxn)
	b, err := readFile(v.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = nil, nil
	}
	var list []AbortedTxn
	if err == nil {
		list, err = parseTxnIndex(path, b, base, max(end, base))
	}
	if err != nil {
		if !v.live {
			v.format(path, err)
		}
		return
	}
	if !known || v.live {
		return
	}
	byMarker := make(map[record.Offset]AbortedTxn)
	for _, t := range found {
		byMarker[t.Last] = t
	}
	for i, t := range list {
		at := int64(i * txnEntrySize)
		want, ok := byMarker[t.Last]
		m, marked := v.markers[t.Last]
		switch {
		case t.First < v.stable:
			v.add(path, at+10, t.Last, "first offset %d, but an earlier entry says that all below %d was decided", t.First, v.stable)
		case t.First <= m.before && marked:
			v.add(path, at+10, t.Last, "first offset %d, but the producer's transaction before ended at offset %d", t.First, m.before)
		case !ok && marked && m.id == t.ProducerID && !m.commit:
			// The cleaner removed the data and kept the marker, so the fold saw no transaction.
		case !ok:
			v.add(path, at, t.Last, "no abort marker of producer %d at offset %d", t.ProducerID, t.Last)
		case want.ProducerID != t.ProducerID:
			v.add(path, at+2, t.Last, "expected producer id %d, found %d", want.ProducerID, t.ProducerID)
		case t.First > want.First || t.First < want.First && !v.gaps:
			v.add(path, at+10, t.Last, "expected first offset %d, found %d", want.First, t.First)
		case t.Stable != want.Stable && !v.gaps:
			v.add(path, at+26, t.Last, "expected stable offset %d, found %d", want.Stable, t.Stable)
		}
		delete(byMarker, t.Last)
		v.stable = max(v.stable, t.Stable)
	}
	for _, t := range byMarker {
		v.add(path, int64(len(list)*txnEntrySize), t.Last, "the aborted transaction of producer %d from offset %d to %d is missing", t.ProducerID, t.First, t.Last)
	}
}

// snapshot compares the producer snapshot at a segment's base with the fold so
// far, or lets the fold begin with it.
func (v *verifier) snapshot(at record.Offset) {
	i, ok := slices.BinarySearch(v.snapshots, at)
	if !ok {
		return
	}
	v.snapshots = slices.Delete(v.snapshots, i, i+1)
	path := fileName(v.dir, at, suffixSnapshot)
	b, err := readFile(v.fs, path)
	if err != nil {
		v.format(path, err)
		return
	}
	states, err := parseSnapshot(path, b)
	if err != nil {
		v.format(path, err)
		return
	}
	if !v.complete {
		v.states.load(states, 0)
		v.complete = true
		return
	}
	// Expired producers are missing in a snapshot, and that is right; those it has must agree.
	for n, st := range states {
		pos := int64(snapshotHeaderSize + n*snapshotEntrySize)
		p, ok := v.states.byID[st.ProducerID]
		if !ok {
			continue // its batches are deleted or cleaned
		}
		if p.epoch != st.Epoch || p.txnFirst != st.TxnFirst && !v.gaps {
			v.add(path, pos, at, "producer %d: expected epoch %d and transaction from %d, found %d and %d",
				st.ProducerID, p.epoch, p.txnFirst, st.Epoch, st.TxnFirst)
		}
	}
	v.states.load(states, 0) // it knows producers whose batches are gone
}

// finalSnapshots checks those that are not at a segment's base: the one of a clean shutdown.
func (v *verifier) finalSnapshots() {
	for _, at := range slices.Clone(v.snapshots) {
		if at == v.end {
			v.snapshot(at)
			continue
		}
		path := fileName(v.dir, at, suffixSnapshot)
		b, err := readFile(v.fs, path)
		if err == nil {
			_, err = parseSnapshot(path, b)
		}
		switch {
		case v.live:
		case err != nil:
			v.format(path, err)
		case at > v.end:
			v.add(path, 0, at, "the log ends at %d", v.end)
		}
	}
}

// checkEpochs compares leader-epoch-checkpoint with the batches' epochs.
func (v *verifier) checkEpochs() {
	path := filepath.Join(v.dir, nameEpochs)
	b, err := readFile(v.fs, path)
	var list []epochEntry
	if err == nil {
		list, err = parseEpochs(path, b)
	}
	if err != nil {
		v.format(path, err)
		return
	}
	pos := int64(bytes.IndexByte(b, '\n') + 1)
	for n, e := range v.epochs {
		end := v.end
		if n+1 < len(v.epochs) {
			end = v.epochs[n+1].start
		}
		i := slices.IndexFunc(list, func(x epochEntry) bool { return x.epoch == e.epoch })
		switch {
		case i < 0 && len(list) > 0 && e.epoch < list[0].epoch && end <= list[0].start:
			// Below the log's start, in a segment that is still there.
		case i < 0:
			v.add(path, pos, e.start, "epoch %d is missing", e.epoch)
		case list[i].start > e.start && (i > 0 || v.first == 0) || // the first one moves with the log's start, when segments go
			list[i].start < e.start && !v.gaps && e.start != v.epochs[0].start:
			v.add(path, pos, e.start, "epoch %d begins at offset %d, not at %d", e.epoch, e.start, list[i].start)
		}
	}
	for _, e := range list {
		known := slices.ContainsFunc(v.epochs, func(x epochEntry) bool { return x.epoch == e.epoch })
		if !known && e.start < v.end && !v.gaps && !v.live {
			v.add(path, pos, e.start, "epoch %d begins at offset %d, but no batch has it", e.epoch, e.start)
		}
	}
}
