package connectors

// Headers that a dead letter carries in front of the record's own.
const (
	HeaderReason = "millstream.reason"
	HeaderStage  = "millstream.stage" // the connector or operator
	HeaderApp    = "millstream.app"   // the application that put it aside
	// HeaderTopic is where the record stood, with HeaderPartition and HeaderOffset;
	// alone, it is where a source would have put it.
	HeaderTopic     = "millstream.topic"
	HeaderPartition = "millstream.partition" // decimal
	HeaderOffset    = "millstream.offset"    // decimal
	HeaderTimestamp = "millstream.timestamp" // when it was put aside, milliseconds since the Unix epoch, decimal
	HeaderAttempts  = "millstream.attempts"  // decimal: how often it was tried
	// HeaderTruncated says that only the beginning of the value is here: decimal,
	// the bytes that it had.
	HeaderTruncated = "millstream.truncated"
)

// HeaderRetryFor marks a dead letter of a sink that was put back into the sink's
// topic: the sink of that name gets it, under the partition and offset that
// HeaderPartition and HeaderOffset say; other sinks pass it over.
const HeaderRetryFor = "millstream.retry-for"
