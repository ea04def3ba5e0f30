package broker

import (
	"context"
	"time"

	"github.com/millstream-io/millstream/log/record"
)

// Broker is an open data directory. See the package comment.
type Broker struct{}

// Open opens or makes a data directory, takes its LOCK, recovers every
// partition and every transaction, and starts the background work.
func Open(cfg Config) (*Broker, error) { panic("todo") }

// Close ends the background work, syncs everything, completes decided
// transactions, and leaves the mark of a clean shutdown. Open transactions stay open.
func (b *Broker) Close() error { panic("todo") }

// ClusterID is the cluster.id of meta.properties.
func (b *Broker) ClusterID() string { panic("todo") }

// CleanStart is false if the directory was left uncleanly under another boot
// id: what was not synced may be gone.
func (b *Broker) CleanStart() bool { panic("todo") }

// Topic describes a topic.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
	CreatedMS  int64 // milliseconds since the Unix epoch
	Internal   bool
	Configs    map[string]string // what was set, not the defaults
}

// TopicSpec asks for a topic. Partitions 0 is the broker's default.
type TopicSpec struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

// CreateTopic makes a topic; ErrTopicExists if there is one. When it returns the topic is on disk.
func (b *Broker) CreateTopic(spec TopicSpec) (Topic, error) { panic("todo") }

// DeleteTopic removes a topic with its data and its group offsets.
func (b *Broker) DeleteTopic(name string) error { panic("todo") }

// AlterTopic sets configurations; a nil value puts the default back.
func (b *Broker) AlterTopic(name string, set map[string]*string) error { panic("todo") }

// Topic describes one topic; false if there is none.
func (b *Broker) Topic(name string) (Topic, bool) { panic("todo") }

// Topics describes all topics, ordered by name.
func (b *Broker) Topics() []Topic { panic("todo") }

// Partition is a handle on one partition, valid until the broker is closed or
// the topic deleted; then its methods return ErrClosed. Keep it: looking it up
// costs a map access under a lock. Any goroutine may use it.
type Partition struct{}

// Partition finds a partition; ErrUnknownTopic if there is none.
func (b *Broker) Partition(tp record.TopicPartition) (*Partition, error) { panic("todo") }

// Acks says what Produce waits for.
type Acks uint8

const (
	// AcksLeader returns when the batches are appended (page cache).
	AcksLeader Acks = iota
	// AcksAll returns when they are as durable as the topic's flush says; inside a
	// transaction that is the page cache, the commit makes it durable.
	AcksAll
)

// ProduceResult says where batches went.
type ProduceResult struct {
	BaseOffset record.Offset
	NextOffset record.Offset // after the last record
	Epoch      record.LeaderEpoch
	// LogAppendTime in milliseconds where message.timestamp.type is LogAppendTime, else record.NoTimestamp.
	LogAppendTime int64
	LogStart      record.Offset
	// Duplicate: the producer had sent this batch before; the offsets are those of then.
	Duplicate bool
}

// TopicPartition names the partition.
func (p *Partition) TopicPartition() record.TopicPartition { panic("todo") }

// Produce appends one or more whole record batches. It writes base offset and
// leader epoch into them and does not keep them. A transactional batch must
// belong to an ongoing transaction to which this partition was added.
func (p *Partition) Produce(batches []byte, acks Acks) (ProduceResult, error) { panic("todo") }

// ReadOptions of Read.
type ReadOptions struct {
	MaxBytes  int  // about; at least one batch comes. 0: 256 KiB
	Committed bool // read_committed: up to the last stable offset
	// Keep: the memory is left to the garbage collector at Release, because
	// decoded values point into it.
	Keep bool
}

// Read reads whole batches, the first of which holds offset from. At the end of
// the log it returns a chunk without data, at once; see Waiter. An offset
// before the start or after the end is a *segment.OffsetOutOfRangeError.
func (p *Partition) Read(from record.Offset, opt ReadOptions) (*Chunk, error) { panic("todo") }

// Chunk is a run of whole batches as they stand in the log. One goroutine at a time.
type Chunk struct {
	// Data holds the batches. The first may begin before the offset asked for.
	Data []byte
	// From is the offset asked for, Next the one to read after this chunk.
	From, Next record.Offset
	// Aborted are the aborted transactions that touch this chunk, if Committed was asked for, by first offset.
	Aborted []AbortedTxn
	// Start, End and Stable of the partition when this was read.
	Start, End, Stable record.Offset
}

// AbortedTxn says that a producer's batches from FirstOffset to its next abort marker are void.
type AbortedTxn struct {
	ProducerID  record.ProducerID
	FirstOffset record.Offset
}

// NextBatch goes to the next batch with data for a reader: control batches, and
// with Committed the aborted ones, are passed over. raw is the whole batch.
// Records before From are for the caller to skip.
func (c *Chunk) NextBatch() (h record.BatchHeader, raw []byte, ok bool) { panic("todo") }

// Err is what ended NextBatch early: a *segment.CorruptionError.
func (c *Chunk) Err() error { panic("todo") }

// Release gives the memory back. The chunk and what points into it must not be used after it (but see Keep).
func (c *Chunk) Release() { panic("todo") }

// Offsets of a partition at one moment.
type Offsets struct {
	Start   record.Offset // log start
	End     record.Offset // high watermark = log end
	Stable  record.Offset // last stable offset
	Durable record.Offset // everything below is on disk
	Epoch   record.LeaderEpoch
}

// Offsets tells where the partition stands.
func (p *Partition) Offsets() Offsets { panic("todo") }

// EpochAt is the leader epoch of the record at offset (NoLeaderEpoch if unknown).
func (p *Partition) EpochAt(offset record.Offset) record.LeaderEpoch { panic("todo") }

// OffsetForTime finds the first record whose timestamp is at or after ms; the end if there is none.
func (p *Partition) OffsetForTime(ms int64) (offset record.Offset, timestamp int64, err error) {
	panic("todo")
}

// EndOfEpoch is where leader epoch e ends: the largest epoch at or below e that
// exists and its end offset (OffsetForLeaderEpoch, KIP-101); NoOffset if unknown.
func (p *Partition) EndOfEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset) {
	panic("todo")
}

// DeleteBefore raises the log start (DeleteRecords) and removes segments wholly
// below it. It returns the new start. The offset NoOffset means the end.
func (p *Partition) DeleteBefore(offset record.Offset) (record.Offset, error) { panic("todo") }

// Hold keeps the cleaner from removing tombstones at or above offset, until the
// next call; NoOffset lifts it. Holds live in memory.
func (p *Partition) Hold(offset record.Offset) { panic("todo") }

// Sync makes everything appended so far durable (whatever the topic's flush says).
func (p *Partition) Sync() error { panic("todo") }

// Waiter is woken when a partition that it watches has more to read. Any
// goroutine may use it; typically one loop owns it:
//
//	for {
//		// try every partition; if nothing came:
//		select { case <-w.C(): case <-ctx.Done(): }
//	}
//
// A wake-up between the try and the wait is not lost: C holds one token.
type Waiter struct{}

// NewWaiter makes a waiter that watches nothing.
func (b *Broker) NewWaiter() *Waiter { panic("todo") }

// C receives a token after an append (or with committed, a move of the last
// stable offset), a deletion, or the closing of the broker.
func (w *Waiter) C() <-chan struct{} { panic("todo") }

// Watch adds a partition; committed says which end counts.
func (w *Waiter) Watch(p *Partition, committed bool) { panic("todo") }

// Unwatch removes it again.
func (w *Waiter) Unwatch(p *Partition) { panic("todo") }

// Close unwatches everything.
func (w *Waiter) Close() { panic("todo") }

// ProducerIdentity is what InitProducerID hands out.
type ProducerIdentity struct {
	ID    record.ProducerID
	Epoch record.ProducerEpoch
}

// NoProducer is the identity of a producer that has none yet.
var NoProducer = ProducerIdentity{record.NoProducerID, record.NoProducerEpoch}

// InitProducerID hands out a producer id. With a transactional id it fences the
// predecessor, whose open transaction is aborted first, and it is durable when it returns.
// current is NoProducer, or what the producer has, to go on after an error (KIP-360).
// timeout 0 is one minute; it counts for transactional ids only.
func (b *Broker) InitProducerID(transactionalID string, timeout time.Duration, current ProducerIdentity) (ProducerIdentity, error) {
	panic("todo")
}

// AddPartitionsToTxn begins a transaction if none is open, and adds partitions.
// Adding one twice is no error and writes nothing.
func (b *Broker) AddPartitionsToTxn(transactionalID string, id ProducerIdentity, tps []record.TopicPartition) error {
	panic("todo")
}

// AddOffsetsToTxn adds the group's partition of __consumer_offsets to the transaction.
func (b *Broker) AddOffsetsToTxn(transactionalID string, id ProducerIdentity, group string) error {
	panic("todo")
}

// GroupMember says who commits offsets. Generation -1 and an empty Member are a
// committer outside of group management: allowed while the group is empty.
type GroupMember struct {
	Group      string
	Generation int32
	Member     string
	Instance   string
}

// CommittedOffset is a group's position: the next offset to read.
type CommittedOffset struct {
	Offset   record.Offset
	Epoch    record.LeaderEpoch
	Metadata string
}

// TxnOffsetCommit writes offsets into the transaction; they count when it commits.
func (b *Broker) TxnOffsetCommit(transactionalID string, id ProducerIdentity, m GroupMember, offsets map[record.TopicPartition]CommittedOffset) error {
	panic("todo")
}

// EndTxn commits or aborts. Under FlushCommit a commit first syncs, in parallel,
// every partition that the transaction wrote and every input partition up to
// the offset that it commits; then it syncs the decision, which is the
// acknowledgement; readers advance before it returns. Repeating the same EndTxn
// is no error. ErrUnknownOutcome: see there. The identity returned is the one to
// go on with.
func (b *Broker) EndTxn(transactionalID string, id ProducerIdentity, commit bool) (ProducerIdentity, error) {
	panic("todo")
}

// CommitOffsets writes a group's offsets, as durable as acks=all.
func (b *Broker) CommitOffsets(m GroupMember, offsets map[record.TopicPartition]CommittedOffset) error {
	panic("todo")
}

// FetchOffsets reads a group's offsets; partitions without one are absent. tps
// nil is all. requireStable waits until no transaction that may change them is open.
func (b *Broker) FetchOffsets(ctx context.Context, group string, tps []record.TopicPartition, requireStable bool) (map[record.TopicPartition]CommittedOffset, error) {
	panic("todo")
}

// RunRetention applies retention by time and size to every partition, once.
func (b *Broker) RunRetention() error { panic("todo") }

// RunCleaner compacts every partition with cleanup.policy=compact that is dirty
// enough, once.
func (b *Broker) RunCleaner() error { panic("todo") }

// Tick does what timers ask for: transaction and session timeouts, expiry of
// ids and offsets, completing of decided transactions.
func (b *Broker) Tick() error { panic("todo") }

func resolveConfig(topic string, set, defaults map[string]string, flush Flush) (int, error) {
	panic("todo")
}
func ownerName() string  { panic("todo") }
func readBootID() string { panic("todo") }
func randomID() [16]byte { panic("todo") }
