package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Finding is one thing that is wrong in a partition directory.
type Finding struct {
	Path   string
	Pos    int64         // byte in the file
	Offset record.Offset // of the log, NoOffset if none is meant
	What   string
}

func (f Finding) String() string {
	if f.Offset == record.NoOffset {
		return fmt.Sprintf("%s: byte %d: %s", f.Path, f.Pos, f.What)
	}
	return fmt.Sprintf("%s: byte %d (offset %d): %s", f.Path, f.Pos, f.Offset, f.What)
}

// VerifyOptions of Verify.
type VerifyOptions struct {
	// UpTo bounds the check of a live partition: batches from there on are not looked at. 0: no bound.
	UpTo record.Offset
	// TopicID, unless zero, must be the one in partition.metadata.
	TopicID [16]byte
	// Crashed: the directory was not closed cleanly. What a crash leaves of a
	// compaction or a deletion is then as it should be: the next start finishes or
	// removes it.
	Crashed bool
	// LogStart as in the root's log-start-offset-checkpoint.
	LogStart record.Offset
}

// VerifyReport sums up what Verify read.
type VerifyReport struct {
	Segments, Batches, Records, Bytes int64
	End                               record.Offset // after the last batch that was read
}

// Verify checks every batch, index entry, time index entry, aborted
// transaction, snapshot and checkpoint file of a partition directory and
// reports each finding. It opens everything for reading only and goes on after
// a finding where it can. What it cannot see is listed in docs/format/segment.md, "Harmless bytes".
//
// The error is about reading itself (a directory that is not there).
func Verify(fsys vfs.FS, dir string, o VerifyOptions, report func(Finding)) (VerifyReport, error) {
	v := &verifier{fs: fsys, dir: dir, o: o, emit: report, states: newProducers(record.TopicPartition{}),
		ended: make(map[record.ProducerID]record.Offset)}
	err := v.run()
	v.sum.End = v.end
	return v.sum, err
}

// verifier folds the log once and compares every other file with the fold.
type verifier struct {
	fs    vfs.FS
	dir   string
	o     VerifyOptions
	emit  func(Finding)
	sum   VerifyReport
	live  bool
	names []string

	states    *producers
	complete  bool          // the fold began at the partition's first record or a good snapshot
	first     record.Offset // base of the first segment
	end       record.Offset
	epochs    []epochEntry                        // as the batches say
	gaps      bool                                // compaction left gaps
	markers   map[record.Offset]markerAt          // of the segment
	ended     map[record.ProducerID]record.Offset // the last marker of each producer so far
	stable    record.Offset                       // greatest in the transaction indexes so far
	snapshots []record.Offset
}

// placeOf is what the walk over a segment remembers of each batch for the index checks.
type placeOf struct {
	last    record.Offset
	maxTime int64
}

func (v *verifier) add(path string, pos int64, offset record.Offset, format string, args ...any) {
	v.emit(Finding{Path: path, Pos: pos, Offset: offset, What: fmt.Sprintf(format, args...)})
}

// format reports a decoder's error.
func (v *verifier) format(path string, err error) {
	var fe *FormatError
	if errors.As(err, &fe) {
		v.add(path, fe.Pos, record.NoOffset, "expected %s, found %s", fe.Expected, fe.Found)
		return
	}
	v.add(path, 0, record.NoOffset, "%v", err)
}

func (v *verifier) run() error {
	names, err := v.fs.ReadDir(v.dir)
	if err != nil {
		return err
	}
	v.names = names
	var bases []record.Offset
	for _, name := range names {
		base, suffix, ok := parseName(name)
		switch {
		case ok && suffix == suffixLog:
			bases = append(bases, base)
		case ok && suffix == suffixSnapshot:
			v.snapshots = append(v.snapshots, base)
		}
	}
	slices.Sort(bases)
	slices.Sort(v.snapshots)
	v.strangers(bases)
	v.metadata()
	if len(bases) == 0 {
		v.add(v.dir, 0, record.NoOffset, "no segment")
		return nil
	}
	if v.o.LogStart < bases[0] && v.o.LogStart > 0 {
		v.add(fileName(v.dir, bases[0], suffixLog), 0, v.o.LogStart, "the log starts at %d, but the first segment begins at %d", v.o.LogStart, bases[0])
	}
	v.first, v.end, v.complete = bases[0], bases[0], bases[0] == 0
	for i, base := range bases {
		if v.o.UpTo > 0 && base >= v.o.UpTo {
			v.live = true
			break
		}
		next := record.NoOffset
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		if err := v.segment(base, next); err != nil {
			return err
		}
	}
	v.finalSnapshots()
	v.checkEpochs()
	return nil
}

// strangers reports files that do not belong here, or whose segment is missing.
func (v *verifier) strangers(bases []record.Offset) {
	for _, name := range v.names {
		base, suffix, ok := parseName(name)
		path := filepath.Join(v.dir, name)
		_, has := slices.BinarySearch(bases, base)
		switch {
		case name == nameEpochs || name == nameMetadata || ok && suffix == suffixLog || ok && suffix == suffixSnapshot:
		case ok && (suffix == suffixIndex || suffix == suffixTime || suffix == suffixTxn):
			if !has {
				v.add(path, 0, base, "no .log belongs to it")
			}
		case strings.HasSuffix(name, suffixCleaned) || strings.HasSuffix(name, suffixSwap) || strings.HasSuffix(name, suffixDeleted) || strings.HasSuffix(name, suffixTmp):
			if v.o.UpTo == 0 && !v.o.Crashed {
				v.add(path, 0, record.NoOffset, "left over from a crash; the next start finishes or removes it")
			}
		default:
			v.add(path, 0, record.NoOffset, "not a file of a partition")
		}
	}
}

func (v *verifier) metadata() {
	path := filepath.Join(v.dir, nameMetadata)
	b, err := readFile(v.fs, path)
	if errors.Is(err, fs.ErrNotExist) && v.o.TopicID == ([16]byte{}) {
		return
	}
	if err != nil {
		v.add(path, 0, record.NoOffset, "%v", err)
		return
	}
	id, err := parseMetadata(path, b)
	switch {
	case err != nil:
		v.format(path, err)
	case v.o.TopicID != ([16]byte{}) && id != v.o.TopicID:
		v.add(path, 21, record.NoOffset, "expected topic id %x, found %x", v.o.TopicID, id)
	}
}

// segment checks one .log and the files beside it. next is the base of the following segment.
func (v *verifier) segment(base, next record.Offset) error {
	v.sum.Segments++
	path := fileName(v.dir, base, suffixLog)
	if base != v.end {
		v.add(path, 0, v.end, "begins at %d, but the segment before ends at %d", base, v.end)
		v.end = base
	}
	v.snapshot(base)
	f, err := v.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	places := make(map[int64]placeOf)
	aborted, whole := v.walk(path, newScanner(f, 0, size), places)
	if !whole {
		v.complete = false
		if next != record.NoOffset {
			v.end = next
		}
	}
	bound := v.end
	v.offsetIndex(base, size, places, whole)
	v.timeIndex(base, places, whole)
	v.txnIndex(base, bound, aborted, whole && v.complete)
	return nil
}

// walk reads every batch and record of a segment.
func (v *verifier) walk(path string, sc *scanner, places map[int64]placeOf) (aborted []AbortedTxn, whole bool) {
	it := record.NewIterator(nil, record.ReadOptions{})
	defer it.Release()
	v.markers = make(map[record.Offset]markerAt)
	for {
		h, raw, at, err := sc.next()
		if v.o.UpTo > 0 && (v.end >= v.o.UpTo || err == nil && h.BaseOffset >= v.o.UpTo) {
			v.live = true // also where the file ends here: the indexes may be newer than its size
			return aborted, true
		}
		if errors.Is(err, io.EOF) {
			return aborted, true
		}
		if err != nil {
			v.add(path, at, v.end, "%v", err)
			return aborted, false
		}
		if h.BaseOffset < v.end {
			v.add(path, at, v.end, "expected base offset %d, found %d", v.end, h.BaseOffset)
			return aborted, false
		}
		// Only the cleaner leaves gaps: where it was, later offsets are right, and where it was not, the segment's end is wrong.
		v.gaps = v.gaps || h.BaseOffset > v.end || h.Count <= h.LastOffsetDelta
		if h.Control() {
			v.noteMarker(&h, raw)
		}
		it.Reset(raw, record.ReadOptions{SkipCRC: true})
		var rec record.View
		maxTime := int64(record.NoTimestamp)
		for it.Next(&rec) {
			v.sum.Records++
			maxTime = max(maxTime, rec.Timestamp)
		}
		if err := it.Err(); err != nil {
			v.add(path, at, h.BaseOffset, "%v", placed(err, at))
		} else if h.Count > 0 && maxTime != h.MaxTimestamp {
			v.add(path, at+35, h.BaseOffset, "max timestamp %d, but the greatest of the records is %d", h.MaxTimestamp, maxTime)
		}
		v.noteEpoch(path, at, &h)
		t, ab, err := v.states.fold(&h, raw, 0)
		if err != nil {
			v.add(path, at, h.BaseOffset, "%v", err)
		}
		if ab {
			aborted = append(aborted, t)
		}
		places[at] = placeOf{last: h.LastOffset(), maxTime: maxTime}
		v.sum.Batches++
		v.sum.Bytes += int64(len(raw))
		v.end = h.NextOffset()
	}
}

// markerAt is what the transaction index is compared with where the data is gone.
type markerAt struct {
	id     record.ProducerID
	before record.Offset // the producer's marker before this one; NoOffset if there is none
	commit bool
}

func (v *verifier) noteMarker(h *record.BatchHeader, raw []byte) {
	before, ok := v.ended[h.ProducerID]
	if !ok {
		before = record.NoOffset
	}
	m, ok, err := parseMarkerBatch(raw) // an error is reported by the fold
	v.markers[h.BaseOffset] = markerAt{id: h.ProducerID, before: before, commit: err == nil && ok && m.Type == record.CommitMarker}
	v.ended[h.ProducerID] = h.BaseOffset
}

func (v *verifier) noteEpoch(path string, at int64, h *record.BatchHeader) {
	n := len(v.epochs)
	switch {
	case h.LeaderEpoch < 0:
		v.add(path, at+12, h.BaseOffset, "no leader epoch")
	case n > 0 && h.LeaderEpoch < v.epochs[n-1].epoch:
		v.add(path, at+12, h.BaseOffset, "leader epoch %d after %d", h.LeaderEpoch, v.epochs[n-1].epoch)
	case n == 0 || h.LeaderEpoch > v.epochs[n-1].epoch:
		v.epochs = append(v.epochs, epochEntry{h.LeaderEpoch, h.BaseOffset})
	}
}
