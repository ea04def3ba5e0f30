package segment

import (
	"errors"
	"io"

	"github.com/millstream-io/millstream/log/record"
)

// OffsetForTime finds the first record whose timestamp is at or after ms.
func (l *Log) OffsetForTime(ms int64) (TimeOffset, error) {
	for {
		if err := l.usable(); err != nil {
			return noTime(), err
		}
		t, err := l.searchTime(l.list(), ms)
		if err == nil || !l.gone(err) {
			return t, err
		}
	}
}

// MaxTimestamp finds the record with the greatest timestamp.
func (l *Log) MaxTimestamp() (TimeOffset, error) {
	greatest := int64(record.NoTimestamp)
	for _, s := range l.list() {
		greatest = max(greatest, s.maxTime.Load())
	}
	if greatest == record.NoTimestamp {
		return noTime(), l.usable()
	}
	return l.OffsetForTime(greatest)
}

func noTime() TimeOffset {
	return TimeOffset{Offset: record.NoOffset, Timestamp: record.NoTimestamp, Epoch: record.NoLeaderEpoch}
}

func (l *Log) searchTime(segs []*segment, ms int64) (TimeOffset, error) {
	start, end := l.Start(), l.End()
	for _, s := range segs {
		if s.maxTime.Load() < ms {
			continue
		}
		t, err := l.searchSegmentTime(s, ms, start, end)
		if err != nil || t.Offset != record.NoOffset {
			return t, err
		}
	}
	return noTime(), nil
}

func (l *Log) searchSegmentTime(s *segment, ms int64, start, end record.Offset) (TimeOffset, error) {
	// All records up to the entry found are older, but for those of its own batch.
	from := max(s.base, start)
	if e, ok, err := s.time.search(ms); err != nil {
		return noTime(), err
	} else if ok {
		from = max(from, e.timeOffset(s.base))
	}
	pos, err := s.lookup(from)
	if err != nil {
		return noTime(), err
	}
	f, err := s.log.acquire()
	if err != nil {
		return noTime(), err
	}
	defer s.log.release()
	sc := newScanner(f, pos, s.size.Load())
	sc.noCRC = true
	for {
		h, raw, at, err := sc.next()
		if errors.Is(err, io.EOF) || err == nil && h.BaseOffset >= end {
			return noTime(), nil
		}
		if err != nil {
			return noTime(), l.readError(s, from, at, err)
		}
		if h.MaxTimestamp < ms || h.LastOffset() < start {
			continue
		}
		it := record.NewIterator(raw, record.ReadOptions{})
		var v record.View
		for it.Next(&v) {
			if v.Timestamp >= ms && v.Offset >= start {
				t := TimeOffset{Offset: v.Offset, Timestamp: v.Timestamp, Epoch: h.LeaderEpoch}
				it.Release()
				return t, nil
			}
		}
		err = it.Err()
		it.Release()
		if err != nil {
			return noTime(), l.readError(s, h.BaseOffset, at, placed(err, at))
		}
	}
}
