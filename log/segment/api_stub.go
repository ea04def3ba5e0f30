package segment

import (
	"github.com/millstream-io/millstream/log/record"
)

// Log is one partition on disk.
type Log struct{}

// FileCache bounds the files that all partitions of a process keep open.
type FileCache struct{}

// NewFileCache makes a cache that keeps about limit files open.
func NewFileCache(limit int) *FileCache { panic("todo") }

// OffsetMap is the cleaner's memory: key hashes to last offsets, at most maxBytes.
type OffsetMap struct{}

// NewOffsetMap makes a map of maxBytes (24 bytes per key).
func NewOffsetMap(maxBytes int) *OffsetMap { panic("todo") }

// Open opens or creates a partition directory.
func Open(cfg Config, o OpenOptions) (*Log, Recovery, error) { panic("todo") }

// Append appends one or more whole batches: all or none. Base offset and leader epoch are
// stamped into batches, which belongs to the log until Append returns. The bytes are then in
// the page cache and readable, not durable: see Sync.
func (l *Log) Append(batches []byte, o AppendOptions) (AppendResult, error) { panic("todo") }

// AppendMarker ends the producer's transaction in this partition.
func (l *Log) AppendMarker(id record.ProducerID, epoch record.ProducerEpoch, m record.Marker, now int64) (AppendResult, error) {
	panic("todo")
}

// Read appends whole batches to dst[:0] and returns them: from the batch that holds offset to at most upTo (exclusive), about
// maxBytes, but at least one batch. It allocates only if that one does not fit dst's capacity. At upTo or the end it
// returns no bytes and no error.
func (l *Log) Read(dst []byte, offset, upTo record.Offset, maxBytes int) ([]byte, error) {
	panic("todo")
}

// Aborted appends to dst the aborted transactions that touch [from, to), by first offset.
func (l *Log) Aborted(dst []AbortedTxn, from, to record.Offset) ([]AbortedTxn, error) { panic("todo") }

// Start is the first offset that may be read.
func (l *Log) Start() record.Offset { panic("todo") }

// End is the offset that the next record gets (LEO = high watermark).
func (l *Log) End() record.Offset { panic("todo") }

// Stable is the last stable offset.
func (l *Log) Stable() record.Offset { panic("todo") }

// Durable is the offset below which all is synced.
func (l *Log) Durable() record.Offset { panic("todo") }

// Epoch is the leader epoch stamped into appended batches.
func (l *Log) Epoch() record.LeaderEpoch { panic("todo") }

// Bytes is the size of all .log files.
func (l *Log) Bytes() int64 { panic("todo") }

// Err is why the partition is offline (*OfflineError), nil if it is not.
func (l *Log) Err() error { panic("todo") }

// Configure changes the settings.
func (l *Log) Configure(s Settings) { panic("todo") }

// Sync returns when everything below upTo is durable; one fdatasync serves all who wait.
// A failed one takes the partition offline.
func (l *Log) Sync(upTo record.Offset) error { panic("todo") }

// OffsetForTime finds the first record whose timestamp is at or after ms.
func (l *Log) OffsetForTime(ms int64) (TimeOffset, error) { panic("todo") }

// MaxTimestamp finds the record with the greatest timestamp.
func (l *Log) MaxTimestamp() (TimeOffset, error) { panic("todo") }

// EndOfEpoch says where a leader epoch ends (OffsetForLeaderEpoch).
func (l *Log) EndOfEpoch(e record.LeaderEpoch) EpochEnd { panic("todo") }

// DeleteBefore raises the start to offset and removes the segments wholly below it. The caller persists Start.
func (l *Log) DeleteBefore(offset record.Offset) error { panic("todo") }

// Retain removes segments by RetentionBytes and RetentionAge, and rolls an active one that is due. It returns the bytes removed.
func (l *Log) Retain(now int64) (removed int64, err error) { panic("todo") }

// Compact cleans [FirstDirty, what may be cleaned). Only segments below the offset last given to Checkpointed are touched.
func (l *Log) Compact(o CompactOptions) (CompactResult, error) { panic("todo") }

// Cleanable says what Compact would look at.
func (l *Log) Cleanable(firstDirty record.Offset, now int64) Cleanable { panic("todo") }

// Roll begins a new active segment unless the active one is empty.
func (l *Log) Roll(now int64) error { panic("todo") }

// Checkpoint syncs the log and what recovery needs below the returned recovery point, which the caller persists
// (recovery-point-offset-checkpoint, synced) and then reports with Checkpointed.
func (l *Log) Checkpoint() (record.Offset, error) { panic("todo") }

// Checkpointed says that the recovery point is persisted. Compaction stays below it.
func (l *Log) Checkpointed(recoveryPoint record.Offset) { panic("todo") }

// ExpireProducers forgets producers without an open transaction that have not written since before, in ms of now.
func (l *Log) ExpireProducers(before int64) int { panic("todo") }

// Producers lists the producer states by id.
func (l *Log) Producers() []ProducerState { panic("todo") }

// Ongoing lists the open transactions by first offset.
func (l *Log) Ongoing() []OngoingTxn { panic("todo") }

// Segments lists the segments in order.
func (l *Log) Segments() []SegmentInfo { panic("todo") }

// Close syncs everything, writes the producer snapshot and closes: the next Open may be Clean.
func (l *Log) Close() error { panic("todo") }

// Abandon closes the files and syncs nothing, as a crash would leave them.
func (l *Log) Abandon() { panic("todo") }

// Delete closes the log and removes its directory, durably.
func (l *Log) Delete() error { panic("todo") }
