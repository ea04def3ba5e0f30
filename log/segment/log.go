package segment

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Log is one partition on disk. Open makes one; every method may be called
// from several goroutines.
//
// Invariant: segs is never empty, sorted by base offset and replaced as a
// whole; its last element is the active segment. A segment's end is the next
// one's base. start <= stable <= end; durable <= end.
// Invariant: nothing is appended while epochUnwritten is set.
type Log struct {
	cfg    Config
	fs     vfs.FS
	files  *FileCache
	logger *slog.Logger

	settings atomic.Pointer[Settings]
	segs     atomic.Pointer[[]*segment]
	epochs   epochs
	hints    [8]readHint

	start, end, stable, durable atomic.Int64
	appended                    atomic.Int64 // bytes since Open
	epoch                       atomic.Int32
	epochUnwritten              atomic.Bool // Open raised the epoch, but the disk had no room for its file
	checkpointed                atomic.Int64
	failure                     atomic.Pointer[OfflineError]
	closed                      atomic.Bool

	clean  sync.Mutex // one compaction, retention or delete at a time; guards doomed
	doomed []doomed

	queue queue

	mu        sync.Mutex // appends, rolls, and the list of segments
	producers *producers
	plan      appendPlan

	swap sync.RWMutex // held while the files of a segment are replaced

	group syncGroup

	epochFile sync.Mutex // one writer of leader-epoch-checkpoint at a time; taken last
}

// Start is the first offset that may be read.
func (l *Log) Start() record.Offset { return record.Offset(l.start.Load()) }

// End is the offset that the next record gets (LEO = high watermark).
func (l *Log) End() record.Offset { return record.Offset(l.end.Load()) }

// Stable is the last stable offset. DeleteBefore may pass an open transaction;
// then it is the start.
func (l *Log) Stable() record.Offset { return max(record.Offset(l.stable.Load()), l.Start()) }

// Durable is the offset below which all is synced.
func (l *Log) Durable() record.Offset { return record.Offset(l.durable.Load()) }

// Epoch is the leader epoch stamped into appended batches.
func (l *Log) Epoch() record.LeaderEpoch { return record.LeaderEpoch(l.epoch.Load()) }

// Appended is how many bytes were appended since Open; it only rises.
func (l *Log) Appended() int64 { return l.appended.Load() }

// Bytes is the size of all .log files.
func (l *Log) Bytes() int64 {
	var n int64
	for _, s := range *l.segs.Load() {
		n += s.size.Load()
	}
	return n
}

// Err is why the partition is offline (*OfflineError), nil if it is not.
func (l *Log) Err() error {
	if e := l.failure.Load(); e != nil {
		return e
	}
	return nil
}

// Configure changes the settings.
func (l *Log) Configure(s Settings) {
	s = s.withDefaults()
	l.settings.Store(&s)
}

// failSync takes the partition offline: which bytes are durable is not known any more.
func (l *Log) failSync(err error) {
	e := &OfflineError{Partition: l.cfg.Partition, Cause: err}
	if l.failure.CompareAndSwap(nil, e) {
		l.logger.Error("partition offline", "topic", l.cfg.Partition.Topic, "partition", l.cfg.Partition.Partition, "error", err)
	}
}

// usable is nil while the log takes work.
func (l *Log) usable() error {
	if l.closed.Load() {
		return fmt.Errorf("%s: %w", l.cfg.Dir, ErrClosed)
	}
	return l.Err()
}

func (l *Log) list() []*segment { return *l.segs.Load() }

func (l *Log) active() *segment {
	segs := l.list()
	return segs[len(segs)-1]
}

func (l *Log) setSegments(segs []*segment) { l.segs.Store(&segs) }

// find is the index of the segment that holds offset, or would.
func find(segs []*segment, offset record.Offset) int {
	i, ok := slices.BinarySearchFunc(segs, offset, func(s *segment, o record.Offset) int {
		return int(min(max(s.base-o, -1), 1))
	})
	if ok {
		return i
	}
	return max(i-1, 0)
}

// Segments lists the segments in order.
func (l *Log) Segments() []SegmentInfo {
	segs := l.list()
	list := make([]SegmentInfo, len(segs))
	for i, s := range segs {
		list[i] = SegmentInfo{Base: s.base, Bytes: s.size.Load(), MaxTimestamp: s.maxTime.Load(), Active: i == len(segs)-1}
	}
	return list
}

// ExpireProducers forgets producers without an open transaction that have not written since before, in ms of now.
func (l *Log) ExpireProducers(before int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.expire(before)
}

// Producers lists the producer states by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.states()
}

// Ongoing lists the open transactions by first offset.
func (l *Log) Ongoing() []OngoingTxn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.producers.ongoing)
}

// EndOfEpoch says where a leader epoch ends (OffsetForLeaderEpoch).
func (l *Log) EndOfEpoch(e record.LeaderEpoch) EpochEnd { return l.epochs.end(e, l.End()) }

// snapshotPath is the producer snapshot's name at offset.
func (l *Log) snapshotPath(at record.Offset) string {
	return fileName(l.cfg.Dir, at, suffixSnapshot)
}

// writeSnapshot keeps the producer state before offset at; l.mu is held.
func (l *Log) writeSnapshot(at record.Offset, sync bool) error {
	return writeFile(l.fs, l.snapshotPath(at), appendSnapshot(nil, l.producers.states()), sync)
}
