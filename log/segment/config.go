package segment

import (
	"log/slog"
	"math"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Config is what a Log needs for its life.
type Config struct {
	FS        vfs.FS
	Dir       string                // the partition's directory; created if missing
	Partition record.TopicPartition // for errors and logs
	TopicID   [16]byte              // written to partition.metadata; checked if the file exists. Zero: neither
	Files     *FileCache            // bound on open files, shared by all partitions; nil: one of 64 files of its own
	Logger    *slog.Logger          // nil discards
	Settings  Settings
	Hooks     Hooks
}

// Settings may change while the Log is open (Log.Configure). Zero values are the defaults named here.
type Settings struct {
	SegmentBytes       int64         // roll above this size; 1 GiB
	SegmentAge         time.Duration // roll when the segment's first timestamp is this old; 7 days
	IndexBytes         int64         // roll when an index has this size; 10 MiB
	IndexIntervalBytes int64         // one index entry per this many bytes; 4096
	MaxBatchBytes      int           // largest batch accepted; 1 MiB + 12 as Kafka
	RetentionBytes     int64         // Retain keeps at least this much; 0 or less: no limit
	RetentionAge       time.Duration // Retain removes segments whose largest timestamp is older; 0 or less: no limit
	DeleteRetention    time.Duration // tombstones and markers stay this long after first being cleaned; 0: 24 h, negative: none
	MinCompactionLag   time.Duration // records younger than this are not compacted; 0
	SegmentJitter      time.Duration // each segment rolls by up to so much before SegmentAge; 0
	DeleteDelay        time.Duration // files of removed segments stay so long, renamed; 0
}

// Hooks observe; nil is off. They are called per batch or seldomer and must not call back.
type Hooks struct {
	// Synced after each group commit: how many waited for it is not known here.
	Synced func(files int, upTo record.Offset)
	// Rolled when a new active segment begins.
	Rolled func(base record.Offset)
}

func (s Settings) withDefaults() Settings {
	setInt(&s.SegmentBytes, 1<<30)
	setInt(&s.IndexBytes, 10<<20)
	setInt(&s.IndexIntervalBytes, 4096)
	setInt(&s.SegmentAge, 7*24*time.Hour)
	setInt(&s.MaxBatchBytes, 1<<20+12)
	switch {
	case s.DeleteRetention == 0:
		s.DeleteRetention = 24 * time.Hour
	case s.DeleteRetention < 0:
		s.DeleteRetention = 0
	}
	s.SegmentBytes = min(s.SegmentBytes, math.MaxInt32)
	return s
}

func setInt[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// OpenOptions say what the data directory's root files know about the partition.
type OpenOptions struct {
	// Clean: the last process left the clean-shutdown marker, so files are trusted.
	Clean bool
	// RecoveryPoint: everything below it was durable (recovery-point-offset-checkpoint).
	// 0 if unknown or never checkpointed.
	RecoveryPoint record.Offset
	// LogStart from log-start-offset-checkpoint; 0 if none: the first segment's base offset counts if greater.
	LogStart record.Offset
	// Epoch is the least leader epoch to write with. An unclean start raises it above every one seen.
	Epoch record.LeaderEpoch
	Now   int64 // ms
}

// Recovery says what Open found and did.
type Recovery struct {
	Clean          bool
	Scanned        int64              // bytes of .log files that were read and checked
	Cut            int64              // bytes removed at the end; 0 if the tail was whole
	CutFrom        record.Offset      // the end after the cut; NoOffset if nothing was cut
	Segments       int                // removed whole
	IndexesRebuilt int                // index files that were missing or wrong
	Epoch          record.LeaderEpoch // in force now
	Reason         error              // why it was cut; nil if it was not
}

// AppendOptions of Append.
type AppendOptions struct {
	Now int64 // ms; for log append time, producer expiry and rolling by time
	// LogAppendTime stamps Now into the batches (message.timestamp.type=LogAppendTime).
	LogAppendTime bool
	// Coordinator marks batches of our own coordinators (offset commits inside a
	// transaction): they have no sequences, so only the producer's epoch is checked.
	Coordinator bool
	// FromZero refuses a producer that the partition does not know and whose first
	// sequence is not 0: it lost a batch. Without it any sequence goes, for all of
	// the producer's batches may have been deleted; by KIP-890's protocol sequences
	// begin anew with each transaction.
	FromZero bool
}

// AppendResult of Append: where the batches stand.
type AppendResult struct {
	Base, Next    record.Offset // first offset, and the one after the last; for a duplicate those of the original
	Duplicate     bool          // the batch was in the log already; nothing was written
	LogAppendTime int64         // ms; NoTimestamp unless asked for
	Epoch         record.LeaderEpoch
}

// AbortedTxn is an entry of the transaction index; docs/format/index.md, "Transaction index".
type AbortedTxn struct {
	ProducerID record.ProducerID
	First      record.Offset // of the transaction's first record
	Last       record.Offset // of the abort marker
	Stable     record.Offset // the last stable offset when the marker was written
}

// TimeOffset answers OffsetForTime.
type TimeOffset struct {
	Offset    record.Offset // NoOffset if there is none
	Timestamp int64         // of the record at Offset, ms
	Epoch     record.LeaderEpoch
}

// EpochEnd answers EndOfEpoch.
type EpochEnd struct {
	Epoch record.LeaderEpoch // the greatest epoch in the log that is not above the one asked for; NoLeaderEpoch if none
	End   record.Offset      // where it ends (exclusive); NoOffset if none
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base         record.Offset
	Bytes        int64
	MaxTimestamp int64 // NoTimestamp if unknown
	Active       bool
}

// OngoingTxn is a transaction that has no marker yet.
type OngoingTxn struct {
	ProducerID record.ProducerID
	Epoch      record.ProducerEpoch
	First      record.Offset
	LastTime   int64 // ms, greatest timestamp of its last batch
}

// ProducerState describes one producer id of the partition.
type ProducerState struct {
	ProducerID       record.ProducerID
	Epoch            record.ProducerEpoch
	LastSequence     int32
	LastOffset       record.Offset
	LastTimestamp    int64 // ms
	CoordinatorEpoch int32
	TxnFirst         record.Offset // NoOffset if no transaction is open

	offsetDelta int32 // of the last batch: last offset - first offset
}

// CompactOptions of Compact.
type CompactOptions struct {
	Now int64 // ms
	// FirstDirty is where the last run's Next was (cleaner-offset-checkpoint); 0 for the first run.
	FirstDirty record.Offset
	// Hold: tombstones and markers at or above it stay, whatever their age; negative: no hold.
	Hold record.Offset
	// Map holds the keys of one pass; its memory is the bound. nil: one of 4 MiB, made for the call.
	Map *OffsetMap
	// RollActive closes the active segment first, so that it can be cleaned too.
	RollActive bool
	// Stop ends the run between batches when it returns true; nil never.
	Stop func() bool
}

// CompactResult of Compact.
type CompactResult struct {
	Next          record.Offset // FirstDirty of the next run
	Passes        int
	BytesBefore   int64
	BytesAfter    int64
	RecordsBefore int64
	RecordsAfter  int64
	Tombstones    int64 // dropped
	Segments      int   // replaced
}

// Cleanable says how much a compaction would look at.
type Cleanable struct {
	CleanBytes, DirtyBytes int64 // below FirstDirty; from there to the first offset that may not be cleaned
	UpTo                   record.Offset
	OldestDirty            int64 // ms, first timestamp of the oldest dirty segment; NoTimestamp if none
}
