package plan

import "github.com/millstream-io/millstream/streams/state"

// Names and configs of internal topics. They outlive the program that made
// them, so they never change.

// RepartitionTopic is the full name of a repartition topic; short is Node.Topic.
func RepartitionTopic(app, short string) string { return app + "-" + short }

// ChangelogTopic is the changelog of a store.
func ChangelogTopic(app, store string) string { return app + "-" + store + "-changelog" }

// PositionsTopic holds the position records of tasks and sources and the fingerprint.
func PositionsTopic(app string) string { return app + "-positions" }

// DeadLettersTopic takes what could not be processed.
func DeadLettersTopic(app string) string { return app + ".dead-letters" }

// DeleteRetentionMS is how long changelogs keep tombstones. A checkpoint is
// usable for half of it (invariant I2), so it is days, not Kafka's one day:
// a program that was off over a weekend need not rebuild.
const DeleteRetentionMS int64 = 7 * 24 * 60 * 60 * 1000

// Trimmed and cleaned by whole segments, so these must not be filled for long:
// up to 64 MiB, and a day instead of Kafka's seven.
const (
	segmentBytes = "67108864"
	segmentMS    = "86400000"
)

func repartitionConfigs() map[string]string {
	return map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": segmentBytes, "segment.ms": segmentMS}
}

// changelogConfigs of a store. What a store of windows forgets is cut off its
// changelog's start (DeleteRecords), which Kafka allows only where the policy
// has delete; nothing is deleted by age or size, because event times may be old.
func changelogConfigs(kind state.Kind) map[string]string {
	c := map[string]string{"cleanup.policy": "compact", "segment.bytes": segmentBytes, "segment.ms": segmentMS, "delete.retention.ms": "604800000"}
	if kind != state.KeyValue {
		c["cleanup.policy"], c["retention.ms"], c["retention.bytes"] = "compact,delete", "-1", "-1"
	}
	return c
}

func positionsConfigs() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "segment.bytes": "8388608", "segment.ms": segmentMS}
}
