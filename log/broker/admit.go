package broker

import (
	"errors"
	"fmt"
	"math"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// RecordError says which record of a batch a topic's configuration refuses. It
// wraps segment.ErrInvalidBatch or ErrTimestamp by Err.
type RecordError struct {
	Record int // index in the batch
	Err    error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Record, e.Err) }

func (e *RecordError) Unwrap() error { return e.Err }

// ErrTimestamp: a record's time is outside of message.timestamp.before.max.ms
// and message.timestamp.after.max.ms.
var ErrTimestamp = errors.New("broker: timestamp out of bounds")

// errNoKey: the topic is compacted, and what has no key cannot be.
var errNoKey = fmt.Errorf("%w: a compacted topic takes no record without a key", segment.ErrInvalidBatch)

// AppendChecked is Append of one batch of a client, about which the broker
// knows nothing: its records must be where their lengths say (those of a
// compressed batch are not looked at), within the topic's bounds on timestamps, and in a
// compacted topic to having keys, as Kafka does. A record that is refused is a
// *RecordError.
func (p *Partition) AppendChecked(batch []byte) (ProduceResult, Unsynced, error) {
	if err := p.admit(batch); err != nil {
		return ProduceResult{}, Unsynced{}, &PartitionError{p.tp, err}
	}
	return p.Append(batch)
}

func (p *Partition) admit(batch []byte) error {
	h, err := record.ParseHeader(batch)
	if err != nil {
		return err
	}
	s, now := p.settings.Load(), p.b.nowMS()
	if len(batch) < h.Size() {
		return nil // what is not whole, the append refuses
	}
	if !s.compact && !s.doubts(&h, now) {
		err := record.CheckFrames(batch, &h)
		if err != nil {
			if _, flipped := record.Validate(batch); flipped != nil {
				return flipped // damaged on the way: to be sent again
			}
		}
		return err
	}
	if h, err = record.Validate(batch); err != nil {
		return err // before records are read: a bit that flipped on the way is no fault of the records
	}
	it := record.NewIterator(batch[:h.Size()], record.ReadOptions{SkipCRC: true})
	defer it.Release()
	var v record.View
	for i := 0; it.Next(&v); i++ {
		if s.compact && v.Key == nil {
			return &RecordError{Record: i, Err: errNoKey}
		}
		if err := s.checkTime(v.Timestamp, now); err != nil {
			return &RecordError{Record: i, Err: err}
		}
	}
	return it.Err()
}

// doubts says that a batch's records must be looked at for their times: the
// header alone says that none is too far ahead, and without a bound none is too
// far behind.
func (s *topicSettings) doubts(h *record.BatchHeader, now int64) bool {
	return !s.logAppendTime && (s.timeBehind != math.MaxInt64 || h.MaxTimestamp-now > s.timeAhead)
}

// checkTime holds a record's time, as its producer says it, to the topic's bounds.
func (s *topicSettings) checkTime(ms, now int64) error {
	switch {
	case s.logAppendTime || ms == record.NoTimestamp:
	case ms-now > s.timeAhead:
		return fmt.Errorf("%w: %d is %d ms ahead of the broker's clock, expected at most %d (%s)", ErrTimestamp, ms, ms-now, s.timeAhead, config.MessageTimestampAfter)
	case now-ms > s.timeBehind:
		return fmt.Errorf("%w: %d is %d ms behind the broker's clock, expected at most %d (%s)", ErrTimestamp, ms, now-ms, s.timeBehind, config.MessageTimestampBefore)
	}
	return nil
}
