package record

// Offset is a record's position in a partition, from 0.
type Offset int64

// Partition numbers a topic's partitions, from 0.
type Partition int32

// LeaderEpoch counts the leaderships of a partition. With one node it rises at
// every unclean start, so that a consumer of positions can see a cut (KIP-101).
type LeaderEpoch int32

// ProducerID identifies an idempotent or transactional producer (KIP-98); NoProducerID if none.
type ProducerID int64

// ProducerEpoch counts the incarnations of a producer id; a higher one fences a lower one.
type ProducerEpoch int16

// Absent values as Kafka writes them.
const (
	NoOffset        Offset        = -1
	NoLeaderEpoch   LeaderEpoch   = -1
	NoProducerID    ProducerID    = -1
	NoProducerEpoch ProducerEpoch = -1
	NoSequence      int32         = -1
	NoTimestamp     int64         = -1
)

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition Partition
}

// Header is one header of a record. Values may be nil (null) and keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// View is one record as it stands in a batch.
//
// Everything in it is borrowed: Key, Value, the Headers slice and what it
// points to are valid until the next record is read from the same iterator or
// the batch is released, whichever comes first. A nil Key or Value is null; an
// empty one is not nil.
type View struct {
	Offset    Offset
	Timestamp int64 // milliseconds since the Unix epoch
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Codec is a compression codec, numbered as in a batch's attributes.
type Codec uint8

const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// Compression is a codec with a level.
type Compression struct {
	Codec Codec
	// Leveled says that Level counts; else it is the codec's default. Levels are
	// Kafka's: gzip 1 to 9 (-1: the default), lz4 1 to 17, zstd -131072 to 22.
	Leveled bool
	Level   int
}
