package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// Replacing segments; docs/format/segment.md, "Compaction". The steps, each
// durable before the next, and what the next open makes of a crash after it:
//
//	X.*.cleaned written and synced            the .cleaned files are removed: old state
//	indexes renamed to .swap, then X.log.swap  X.log.swap is the decision: roll forward
//	old segments removed                       roll forward
//	X.*.swap renamed to X.*, the .log last     a .log without index gets them rebuilt

// replace puts dst (complete, durable, named .cleaned) in the place of the
// group, which it covers up to offset end.
func (l *Log) replace(group []*segment, dst *segment, end record.Offset) error {
	if err := l.decide(dst); err != nil {
		return err
	}
	l.swap.Lock()
	defer l.swap.Unlock()
	for _, s := range group {
		s.retire()
	}
	dst.retire() // its handles know the wrong names
	if err := l.installSwap(dst.base, basesOf(group)); err != nil {
		l.failSync(fmt.Errorf("swap of cleaned segment %d: %w", dst.base, err))
		return err
	}
	fresh := l.newSegment(dst.base)
	fresh.copyState(dst)
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := slices.Clone(l.list())
	i := slices.Index(segs, group[0])
	l.setSegments(slices.Replace(segs, i, i+len(group), fresh))
	l.forgetHints()
	return nil
}

func basesOf(group []*segment) []record.Offset {
	bases := make([]record.Offset, len(group))
	for i, s := range group {
		bases[i] = s.base
	}
	return bases
}

// copyState takes over what is known about the same bytes under other names.
func (s *segment) copyState(from *segment) {
	s.size.Store(from.size.Load())
	s.synced.Store(from.size.Load())
	s.named.Store(true)
	s.auxSynced.Store(true)
	s.maxTime.Store(from.maxTime.Load())
	s.maxTimeOffset.Store(from.maxTimeOffset.Load())
	s.firstTime, s.lastEntry = from.firstTime, from.lastEntry
	s.index.entries.Store(from.index.entries.Load())
	s.time.entries.Store(from.time.entries.Load())
	s.txn.created = from.txn.created
	s.txn.list.Store(from.txn.list.Load())
}

// decide renames .cleaned to .swap, the .log last: from then on the swap is
// finished, whatever happens. So after that rename there is no way back: a
// decision that may or may not be durable takes the partition offline.
func (l *Log) decide(dst *segment) (err error) {
	swapName := func(suffix string) string { return fileName(l.cfg.Dir, dst.base, suffix+suffixSwap) }
	decided := false
	defer func() {
		if err == nil || decided {
			return
		}
		for _, suffix := range segmentSuffixes {
			_ = l.fs.Remove(swapName(suffix))
		}
	}()
	for _, suffix := range segmentSuffixes {
		if suffix == suffixLog {
			if err := l.syncDir(); err != nil {
				return err
			}
		}
		if err := l.fs.Rename(fileName(l.cfg.Dir, dst.base, suffix+suffixCleaned), swapName(suffix)); err != nil {
			return err
		}
	}
	decided = true
	return l.syncDir()
}

// installSwap removes the old segments and gives the new one its name. It can
// be repeated after any crash.
func (l *Log) installSwap(base record.Offset, old []record.Offset) error {
	for _, b := range old {
		if b == base {
			continue // the renames replace its files; the producer state before the group stays
		}
		for _, suffix := range []string{suffixIndex, suffixTime, suffixTxn, suffixLog, suffixSnapshot} {
			if err := l.fs.Remove(fileName(l.cfg.Dir, b, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	for _, suffix := range segmentSuffixes {
		from := fileName(l.cfg.Dir, base, suffix+suffixSwap)
		if suffix == suffixLog {
			if err := l.syncDir(); err != nil {
				return err
			}
		}
		err := l.fs.Rename(from, fileName(l.cfg.Dir, base, suffix))
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && suffix != suffixLog) {
			return err
		}
	}
	return l.syncDir()
}

// finishSwap completes a swap that a crash interrupted: every segment that the
// .swap file covers gives way.
func (l *Log) finishSwap(base record.Offset, names []string) error {
	end, err := l.endOfFile(fileName(l.cfg.Dir, base, suffixLog+suffixSwap), base)
	if err != nil {
		return err
	}
	old := []record.Offset{base}
	for _, name := range names {
		if b, suffix, ok := parseName(name); ok && suffix == suffixLog && b > base && b < end {
			old = append(old, b)
		}
	}
	return l.installSwap(base, old)
}

// endOfFile is the offset after the last batch of a .log file that is known to be whole.
func (l *Log) endOfFile(path string, base record.Offset) (record.Offset, error) {
	f, err := l.fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	sc, end := newScanner(f, 0, size), base
	for {
		h, _, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return 0, &CorruptionError{Path: path, Offset: end, Pos: at, Err: err}
		}
		end = h.NextOffset()
	}
}
