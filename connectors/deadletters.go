package connectors

// Headers that a dead letter carries in front of the record's own.
const (
	HeaderReason = "millstream.reason"
	HeaderStage  = "millstream.stage" // the connector or operator
	HeaderKind   = "millstream.kind"  // "source" or "sink"; missing: an operator
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

// HeaderRetryFor marks a record that was put back from the dead letters:
// "<sink>@<topic>", or "@<topic>" if it came from an operator. Of the topic's
// sinks only that one gets it, under the partition and offset that
// HeaderPartition and HeaderOffset say; the others pass it over. On a record of
// another topic, to which an operator has passed it on, it means nothing.
const HeaderRetryFor = "millstream.retry-for"
