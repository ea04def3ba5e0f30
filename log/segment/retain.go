package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// DeleteBefore raises the start to offset and removes the segments wholly below it. The caller persists Start.
// Data above offset need not be durable, data below it is made so first: a
// crash must not leave a log that ends before its start.
func (l *Log) DeleteBefore(offset record.Offset) error {
	l.clean.Lock()
	defer l.clean.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if start, end := l.Start(), l.End(); offset < 0 || offset > end {
		return &OffsetOutOfRangeError{Partition: l.cfg.Partition, Offset: offset, Start: start, End: end}
	}
	if err := l.Sync(offset); err != nil {
		return err
	}
	if offset > l.Start() {
		l.start.Store(int64(offset))
	}
	_, err := l.removeBelow(offset)
	return err
}

// Retain removes segments by RetentionBytes and RetentionAge, and rolls an active one that is due. It returns the bytes removed.
//
// Removed are only segments wholly below the last stable offset. The start
// moves with them; the caller persists it.
func (l *Log) Retain(now int64) (removed int64, err error) {
	l.clean.Lock()
	defer l.clean.Unlock()
	if err := l.usable(); err != nil {
		return 0, err
	}
	l.purge(now)
	set := l.settings.Load()
	a := l.active()
	l.mu.Lock()
	first := a.firstTime
	l.mu.Unlock()
	due := a.size.Load() > 0 && (first >= 0 && now-first > a.rollAge(set) || l.expired(a, set, now))
	if due {
		if err := l.Roll(now); err != nil {
			return 0, err
		}
	}
	upTo := l.Start()
	total := l.Bytes()
	segs := l.list()
	for i, s := range segs[:len(segs)-1] {
		end := segs[i+1].base
		over := set.RetentionBytes > 0 && total-s.size.Load() >= set.RetentionBytes
		if !over && !l.expired(s, set, now) || end > l.Stable() {
			break
		}
		total -= s.size.Load()
		upTo = end
	}
	if upTo > l.Start() {
		if err := l.Sync(upTo); err != nil {
			return 0, err
		}
		l.start.Store(int64(upTo))
	}
	return l.removeBelow(upTo)
}

// expired says that all records of a segment are older than the retention time.
func (l *Log) expired(s *segment, set *Settings, now int64) bool {
	t := s.maxTime.Load()
	return set.RetentionAge > 0 && t >= 0 && now-t > set.RetentionAge.Milliseconds()
}

// removeBelow removes the segments that end at or before offset, the oldest
// first and each durably before the next: a crash leaves no hole.
func (l *Log) removeBelow(offset record.Offset) (removed int64, err error) {
	for {
		l.mu.Lock()
		segs := l.list()
		if len(segs) < 2 || segs[1].base > offset {
			l.mu.Unlock()
			break
		}
		s := segs[0]
		// From now on the producer state begins with the next segment's snapshot.
		if err := l.syncSnapshot(segs[1].base); err != nil {
			l.mu.Unlock()
			return removed, err
		}
		l.setSegments(segs[1:])
		l.mu.Unlock()
		s.retire()
		if err := l.discard(s.base); err != nil {
			return removed, err
		}
		removed += s.size.Load()
	}
	if removed == 0 {
		return 0, nil
	}
	l.forgetHints()
	if l.epochs.cutStart(l.Start()) {
		return removed, l.writeEpochs()
	}
	return removed, nil
}

// doomed is a removed segment whose files are still there, renamed.
type doomed struct {
	base record.Offset
	due  int64 // ms; 0: Retain has not seen it yet
}

// discard removes a segment's files, or renames them for DeleteDelay, the .log
// first and durably. The next open removes what is renamed. l.clean is held.
func (l *Log) discard(base record.Offset) error {
	if l.settings.Load().DeleteDelay <= 0 {
		return l.removeFiles(base)
	}
	path := fileName(l.cfg.Dir, base, suffixLog)
	if err := l.fs.Rename(path, path+suffixDeleted); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	for _, suffix := range auxSuffixes {
		path := fileName(l.cfg.Dir, base, suffix)
		_ = l.fs.Rename(path, path+suffixDeleted)
	}
	l.doomed = append(l.doomed, doomed{base: base})
	return l.syncDir()
}

// purge removes the renamed files whose time has come. l.clean is held.
func (l *Log) purge(now int64) {
	delay := l.settings.Load().DeleteDelay.Milliseconds()
	l.doomed = slices.DeleteFunc(l.doomed, func(d doomed) bool { return d.due > 0 && d.due <= now && l.purged(d.base) })
	for i := range l.doomed {
		if l.doomed[i].due == 0 {
			l.doomed[i].due = now + delay
		}
	}
}

func (l *Log) purged(base record.Offset) bool {
	for _, suffix := range auxSuffixes {
		_ = l.fs.Remove(fileName(l.cfg.Dir, base, suffix+suffixDeleted))
	}
	err := l.fs.Remove(fileName(l.cfg.Dir, base, suffixLog+suffixDeleted))
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// removeFiles removes a segment's files, the .log first: what is left without one is swept at the next open.
func (l *Log) removeFiles(base record.Offset) error {
	path := fileName(l.cfg.Dir, base, suffixLog)
	if err := l.fs.Remove(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	for _, suffix := range auxSuffixes {
		_ = l.fs.Remove(fileName(l.cfg.Dir, base, suffix))
	}
	return l.syncDir()
}
