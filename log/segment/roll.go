package segment

import (
	"fmt"
	"hash/fnv"
	"math"

	"github.com/millstream-io/millstream/log/record"
)

// mustRoll says that the request does not go into the active segment any more.
func (l *Log) mustRoll(r *request) bool {
	s, set := l.active(), l.settings.Load()
	size := s.size.Load() + l.plan.bytes
	if size == 0 {
		return false
	}
	var records int64
	newest := int64(math.MinInt64)
	for i := range r.headers {
		records += int64(r.headers[i].LastOffsetDelta) + 1
		newest = max(newest, r.headers[i].MaxTimestamp)
	}
	switch {
	case size+int64(len(r.batches)) > set.SegmentBytes:
		return true
	case int64(l.plan.end-s.base)+records > math.MaxInt32:
		return true
	case s.firstTime >= 0 && newest-s.firstTime > s.rollAge(set):
		return true
	}
	// The plan's own entries count too: at most one per interval.
	pending := int64(len(l.plan.requests) + 1)
	return (s.index.entries.Load()+pending)*offsetEntrySize > set.IndexBytes ||
		(s.time.entries.Load()+pending+1)*timeEntrySize > set.IndexBytes
}

// rollAge is the age in milliseconds at which the segment is closed: SegmentAge
// less the segment's own part of SegmentJitter, which stays the same whenever it
// is asked for.
func (s *segment) rollAge(set *Settings) int64 {
	age, jitter := set.SegmentAge.Milliseconds(), set.SegmentJitter.Milliseconds()
	if jitter > 0 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.log.path))
		age -= int64(h.Sum64() % uint64(min(jitter, age)+1))
	}
	return age
}

// Roll begins a new active segment unless the active one is empty. The time is not needed.
func (l *Log) Roll(_ int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if l.active().size.Load() == 0 {
		return nil
	}
	if err := l.roll(); err != nil {
		return fmt.Errorf("%w: roll %s: %w", ErrStorage, l.cfg.Dir, err)
	}
	return nil
}

// roll seals the active segment and begins the next at the end of the log. mu
// is held and nothing is planned. The new names are synced by the next Sync.
func (l *Log) roll() error {
	old, base := l.active(), l.End()
	next := l.newSegment(base)
	if err := next.createFiles(); err != nil {
		next.retire()
		for _, suffix := range segmentSuffixes {
			_ = l.fs.Remove(fileName(l.cfg.Dir, base, suffix))
		}
		return err
	}
	l.warn("producer snapshot", l.writeSnapshot(base, false))
	l.seal(old)
	segs := l.list()
	l.setSegments(append(segs[:len(segs):len(segs)], next))
	if hook := l.cfg.Hooks.Rolled; hook != nil {
		hook(base)
	}
	return nil
}

// seal completes a segment's time index: its last entry is the greatest timestamp.
func (l *Log) seal(s *segment) {
	var e indexEntries
	s.timeEntry(&e)
	if len(e.times) > 0 {
		l.warn("time index", s.time.append(e.times))
	}
}

// createSegment makes and lists the only segment of an empty log.
func (l *Log) createSegment(base record.Offset) error {
	s := l.newSegment(base)
	if err := s.createFiles(); err != nil {
		return err
	}
	l.setSegments([]*segment{s})
	return nil
}
