package broker

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

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
// knows nothing. Its records must be as many as the header says and fill the
// batch, which is decompressed for it; they are walked from length to length.
// Where the topic asks more they are read: they must lie within the
// topic's bounds on timestamps, and in a compacted topic have keys, as in Kafka.
// A record that is refused is a *RecordError; records that decompress to more
// than record.DefaultMaxDecompressed, which no reader here takes, are
// segment.ErrTooLarge: a producer that knows it sends them in smaller batches.
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
	switch {
	case len(batch) < h.Size():
		return nil // what is not whole, the append refuses
	case s.compact || s.doubts(&h, now):
		err = p.b.unpacking.do(func(limit int) error { return s.admitRecords(batch, &h, now, limit) })
	case h.Codec() != record.None:
		err = p.b.unpacking.do(func(limit int) error { return record.CheckPacked(batch, &h, limit) })
	default:
		err = record.CheckFrames(batch, &h)
	}
	if err != nil {
		// A bit that flipped on the way is no fault of the records: to be sent again.
		if _, flipped := record.Validate(batch); flipped != nil {
			return flipped
		}
	}
	if errors.Is(err, record.ErrDecompressedSize) {
		return fmt.Errorf("%w: %w", segment.ErrTooLarge, unwrapBatch(err))
	}
	return err
}

// admitRecords reads every record of a batch; see record.ReadOptions.MaxDecompressed for limit.
func (s *topicSettings) admitRecords(batch []byte, h *record.BatchHeader, now int64, limit int) error {
	it := iterators.Get().(*record.Iterator)
	defer iterators.Put(it)
	it.Reset(batch[:h.Size()], record.ReadOptions{SkipCRC: true, MaxDecompressed: limit})
	defer it.Release()
	timed := s.doubts(h, now)
	var v record.View
	for i := 0; it.Next(&v); i++ {
		if s.compact && v.Key == nil {
			return &RecordError{Record: i, Err: errNoKey}
		}
		if !timed {
			continue
		}
		if err := s.checkTime(v.Timestamp, now); err != nil {
			return &RecordError{Record: i, Err: err}
		}
	}
	return it.Err()
}

var iterators = sync.Pool{New: func() any { return new(record.Iterator) }}

// unwrapBatch is what a *record.BatchError says, without its type, by which
// the error would be taken for one of the format.
func unwrapBatch(err error) error {
	if e := new(record.BatchError); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", e.Field, e.Err)
	}
	return err
}

// unpacking bounds the memory for clients' batches while they are decompressed:
// as many small ones as there are processors at a time, and one that is large.
// 300 bytes can decompress to megabytes.
type unpacking struct {
	small chan struct{}
	large sync.Mutex
}

// smallUnpacked is what the pools of log/record keep.
const smallUnpacked = 4 << 20

func newUnpacking() *unpacking {
	return &unpacking{small: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// do calls f with the bytes that it may decompress to, and again with more if
// that is not enough.
func (u *unpacking) do(f func(limit int) error) error {
	err := u.doSmall(f)
	if !errors.Is(err, record.ErrDecompressedSize) {
		return err
	}
	u.large.Lock()
	defer u.large.Unlock()
	return f(record.DefaultMaxDecompressed)
}

func (u *unpacking) doSmall(f func(limit int) error) error {
	u.small <- struct{}{}
	defer func() { <-u.small }()
	return f(smallUnpacked)
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
