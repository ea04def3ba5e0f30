package segment

import (
	"errors"
	"io"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// loadProducers finds the newest good snapshot at or below the first offset
// that is scanned (or the end) and folds what lies between.
func (r *recovery) loadProducers(names []string) error {
	l := r.l
	var at []record.Offset
	for _, name := range names {
		if base, suffix, ok := parseName(name); ok && suffix == suffixSnapshot {
			at = append(at, base)
		}
	}
	slices.Sort(at)
	slices.Reverse(at)
	from, loaded := r.segs[0].base, false
	for _, offset := range at {
		if loaded && r.o.Clean {
			break
		}
		path := l.snapshotPath(offset)
		if offset > r.end || offset < r.segs[0].base {
			_ = l.fs.Remove(path) // of an end that is not reached any more, or not connected with what is left
			continue
		}
		b, err := readFile(l.fs, path)
		if err != nil {
			return err
		}
		states, err := parseSnapshot(path, b)
		if err != nil {
			l.logger.Warn("producer snapshot ignored", "error", err)
			_ = l.fs.Remove(path)
			continue
		}
		if !loaded {
			l.producers.load(states, r.o.Now)
			from, loaded = max(offset, from), true
		}
	}
	return r.fold(from, r.end)
}

// fold brings the producer state from offset from to offset to.
func (r *recovery) fold(from, to record.Offset) error {
	if from >= to && !r.rebuildEpochs {
		return nil
	}
	start := from
	if r.rebuildEpochs {
		start = r.segs[0].base
	}
	for _, s := range r.segs[find(r.segs, start):min(r.scanFrom, len(r.segs))] {
		pos, err := s.lookup(start)
		if err != nil {
			return err
		}
		f, err := s.log.acquire()
		if err != nil {
			return err
		}
		err = r.foldSegment(s, newScanner(f, pos, s.size.Load()), from)
		s.log.release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) foldSegment(s *segment, sc *scanner, from record.Offset) error {
	sc.noCRC = true
	for {
		h, raw, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			r.noteEpoch(&h)
			if h.BaseOffset >= from {
				_, _, err = r.l.producers.fold(&h, raw, r.o.Now)
			}
		}
		if err != nil {
			return r.corrupt(s, at, max(from, s.base), err)
		}
	}
}

func (r *recovery) noteEpoch(h *record.BatchHeader) {
	r.epoch = max(r.epoch, h.LeaderEpoch)
	if h.LeaderEpoch >= 0 {
		r.l.epochs.assign(h.LeaderEpoch, h.BaseOffset)
	}
}
