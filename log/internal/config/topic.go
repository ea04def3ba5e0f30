package config

// Names of topic configurations that the broker reads; millstream.flush is ours.
const (
	CleanupPolicy          = "cleanup.policy"
	CompressionGzipLevel   = "compression.gzip.level"
	CompressionLZ4Level    = "compression.lz4.level"
	CompressionType        = "compression.type"
	CompressionZstdLevel   = "compression.zstd.level"
	DeleteRetentionMS      = "delete.retention.ms"
	FileDeleteDelayMS      = "file.delete.delay.ms"
	FlushMessages          = "flush.messages"
	FlushMS                = "flush.ms"
	IndexIntervalBytes     = "index.interval.bytes"
	InternalSegmentBytes   = "internal.segment.bytes"
	MaxCompactionLagMS     = "max.compaction.lag.ms"
	MaxMessageBytes        = "max.message.bytes"
	MessageTimestampAfter  = "message.timestamp.after.max.ms"
	MessageTimestampBefore = "message.timestamp.before.max.ms"
	MessageTimestampType   = "message.timestamp.type"
	MinCleanableDirtyRatio = "min.cleanable.dirty.ratio"
	MinCompactionLagMS     = "min.compaction.lag.ms"
	RetentionBytes         = "retention.bytes"
	RetentionMS            = "retention.ms"
	SegmentBytes           = "segment.bytes"
	SegmentIndexBytes      = "segment.index.bytes"
	SegmentJitterMS        = "segment.jitter.ms"
	SegmentMS              = "segment.ms"
	MillstreamFlush        = "millstream.flush"
)

// Topic holds the configurations of topics.
var Topic = newSet(topicDefs)

const noTiers = " There is no tiered storage here: accepted and shown, without effect."
const noReplicas = " There is one replica here: accepted and shown, without effect."

var topicDefs = []*Def{
	def(List, CleanupPolicy, "delete", "What happens to old data: delete removes segments by retention.ms and retention.bytes, compact keeps the last value of each key, both do both. Empty keeps everything.").oneOf("compact", "delete").from("log.cleanup.policy"),
	def(Int, CompressionGzipLevel, "-1", "Level of gzip where compression.type is gzip; -1 is the codec's own default.").between(1, 9).or(-1).from("compression.gzip.level"),
	def(Int, CompressionLZ4Level, "9", "Level of lz4 where compression.type is lz4; the default is the fast compressor.").between(1, 17).from("compression.lz4.level"),
	def(String, CompressionType, "producer", "Codec in which batches are kept: producer keeps what was sent, every other value compresses anew, when records are produced, what was sent otherwise.").oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer").from("compression.type"),
	def(Int, CompressionZstdLevel, "3", "Level of zstd where compression.type is zstd.").between(-131072, 22).from("compression.zstd.level"),
	def(Long, DeleteRetentionMS, "86400000", "How long a compacted topic keeps a tombstone after it was first cleaned: a reader that begins at the start has that much time to see it.").atLeast(0).from("log.cleaner.delete.retention.ms"),
	def(Long, FileDeleteDelayMS, "0", "How long the files of a removed segment stay in the partition's directory, renamed, before they are deleted. Readers finish what they have open in any case, so the default is 0.").atLeast(0).from("log.segment.delete.delay.ms"),
	def(Long, FlushMessages, maxLong, "Sync to disk after this many records, whatever a producer waits for. millstream.flush says what an acknowledgement means.").atLeast(1).from("log.flush.interval.messages"),
	def(Long, FlushMS, maxLong, "Sync to disk at least this often. millstream.flush says what an acknowledgement means.").atLeast(0).from("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
	def(List, "follower.replication.throttled.replicas", "", "Followers whose replication is throttled."+noReplicas),
	def(Int, IndexIntervalBytes, "4096", "Bytes of records between two entries of the offset index.").atLeast(0).from("log.index.interval.bytes"),
	def(Int, InternalSegmentBytes, "", "Overrides segment.bytes without its lower bound; for tests.").atLeast(0).unset(),
	def(List, "leader.replication.throttled.replicas", "", "Leaders whose replication is throttled."+noReplicas),
	def(Long, "local.retention.bytes", "-2", "Bytes that stay local under tiered storage; -2 is retention.bytes."+noTiers).atLeast(-2).from("log.local.retention.bytes"),
	def(Long, "local.retention.ms", "-2", "Time that data stays local under tiered storage; -2 is retention.ms."+noTiers).atLeast(-2).from("log.local.retention.ms"),
	def(Long, MaxCompactionLagMS, maxLong, "Longest time that a record stays uncompacted: the cleaner takes a partition that is older, however little of it is dirty, and closes its active segment for it.").atLeast(1).from("log.cleaner.max.compaction.lag.ms"),
	def(Int, MaxMessageBytes, "1048588", "Largest batch that is accepted, compressed as it is sent.").atLeast(0).from("message.max.bytes"),
	def(Long, MessageTimestampAfter, "3600000", "How far a record's timestamp may be ahead of the broker's clock where message.timestamp.type is CreateTime; a batch beyond is refused.").atLeast(0).from("log.message.timestamp.after.max.ms"),
	def(Long, MessageTimestampBefore, maxLong, "How far a record's timestamp may be behind the broker's clock where message.timestamp.type is CreateTime; a batch beyond is refused.").atLeast(0).from("log.message.timestamp.before.max.ms"),
	def(String, MessageTimestampType, "CreateTime", "Whose time a record carries: the producer's (CreateTime) or the broker's when it is appended (LogAppendTime).").oneOf("CreateTime", "LogAppendTime").from("log.message.timestamp.type"),
	def(Double, MinCleanableDirtyRatio, "0.5", "Share of a log that must be uncompacted before the cleaner takes it: what is wasted at most, against how often it is rewritten.").between(0, 1).from("log.cleaner.min.cleanable.ratio"),
	def(Long, MinCompactionLagMS, "0", "How long a record stays uncompacted at least.").atLeast(0).from("log.cleaner.min.compaction.lag.ms"),
	def(Int, "min.insync.replicas", "1", "Replicas that must have a record before acks=all is answered."+noReplicas).atLeast(1).from("min.insync.replicas"),
	def(Boolean, "preallocate", "false", "Whether the disk space of a new segment is reserved at once. Accepted and shown, without effect.").from("log.preallocate"),
	def(Boolean, "remote.log.copy.disable", "false", "Stops copying to tiered storage."+noTiers),
	def(Boolean, "remote.log.delete.on.disable", "false", "Deletes tiered data when tiered storage is switched off."+noTiers),
	def(Boolean, "remote.storage.enable", "false", "Keeps old segments in tiered storage."+noTiers),
	def(Long, RetentionBytes, "-1", "Bytes that a partition keeps before old segments are removed, where cleanup.policy has delete; -1: no limit.").from("log.retention.bytes"),
	def(Long, RetentionMS, "604800000", "Time that a partition keeps records, where cleanup.policy has delete; -1: for ever.").atLeast(-1).from("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
	def(Int, SegmentBytes, "1073741824", "Size of a segment file: retention and compaction work on whole closed segments.").atLeast(1 << 20).from("log.segment.bytes"),
	def(Int, SegmentIndexBytes, "10485760", "Largest size of an index file; a segment is closed when one is full.").atLeast(4).from("log.index.size.max.bytes"),
	def(Long, SegmentJitterMS, "0", "Greatest random part taken from segment.ms, so that segments of many partitions are not closed at once.").atLeast(0).from("log.roll.jitter.ms", "log.roll.jitter.hours"),
	def(Long, SegmentMS, "604800000", "Age at which a segment is closed although it is not full, so that retention and compaction reach it.").atLeast(1).from("log.roll.ms", "log.roll.hours"),
	def(Boolean, "unclean.leader.election.enable", "false", "Whether a replica that lags may become leader."+noReplicas).from("unclean.leader.election.enable"),
	def(String, MillstreamFlush, "commit", "Millstream's own. What an acknowledgement means: commit: acks=all and committed transactions are on disk; os: in the page cache, as Apache Kafka does.").oneOf("commit", "os").from("millstream.flush"),
}
