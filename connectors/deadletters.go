package connectors

// Headers that a dead letter carries in front of the record's own. Those of
// where the record stood are there if it stood anywhere: a source's line that
// could not be read never had a topic.
const (
	HeaderReason    = "millstream.reason"
	HeaderStage     = "millstream.stage"     // the connector or operator
	HeaderApp       = "millstream.app"       // the application that put it aside
	HeaderTopic     = "millstream.topic"     // where the record stood
	HeaderPartition = "millstream.partition" // decimal
	HeaderOffset    = "millstream.offset"    // decimal
	HeaderTimestamp = "millstream.timestamp" // when it was put aside, milliseconds since the Unix epoch, decimal
	HeaderAttempts  = "millstream.attempts"  // decimal: how often it was tried
)
