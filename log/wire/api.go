package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// handler answers one request. It runs in the connection's goroutine, so
// requests of one connection are handled in order; it may block (join group,
// long poll) as long as it returns soon after ctx ends, which it does when the
// connection or the server closes. An error closes the connection and is for
// malformed requests only: everything else is a code in the response. A nil
// response without an error sends nothing (produce with acks=0, or later).
type handler func(ctx context.Context, s *Server, r *request) (kmsg.Response, error)

// api is a row of the table: an API key with the versions that are served.
type api struct {
	key      int16
	min, max int16 // versions accepted
	handle   handler
	// before authentication: the API may be used on a connection that has not authenticated yet.
	before bool
	notes  string // for docs/PROTOCOL.md
}

// apis is what is served, by key. docs/PROTOCOL.md is generated from it.
var apis = [...]api{
	{key: 0, min: 3, max: 13, handle: handleProduce, notes: "shown from version 0, as Kafka does (KAFKA-18659)"},
	{key: 1, min: 4, max: 18, handle: handleFetch, notes: "sessions (KIP-227), topic ids, diverging epochs; by sendfile on plaintext listeners"},
	{key: 2, min: 1, max: 11, handle: handleListOffsets, notes: "without tiers: the local log is the log"},
	{key: 3, min: 0, max: 13, handle: handleMetadata, notes: "topic ids, look-up by id, creation at first use"},
	{key: 8, min: 2, max: 10, handle: handleOffsetCommit, notes: "members of consumer groups from version 9, topic ids from 10"},
	{key: 9, min: 1, max: 10, handle: handleOffsetFetch, notes: "UNSTABLE_OFFSET_COMMIT from version 7 (KIP-447), several groups from 8"},
	{key: 10, min: 0, max: 6, handle: handleFindCoordinator, notes: "of groups and transactions"},
	{key: 11, min: 0, max: 9, handle: handleJoinGroup, notes: "static members (KIP-345), also into consumer groups"},
	{key: 12, min: 0, max: 4, handle: handleHeartbeat},
	{key: 13, min: 0, max: 5, handle: handleLeaveGroup},
	{key: 14, min: 0, max: 5, handle: handleSyncGroup},
	{key: 15, min: 0, max: 6, handle: handleDescribeGroups, notes: "of the classic protocol"},
	{key: 16, min: 0, max: 5, handle: handleListGroups, notes: "filters by state and type"},
	{key: 17, min: 0, max: 1, handle: handleSaslHandshake, before: true, notes: "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; bare tokens after version 0"},
	{key: 18, min: 0, max: 4, handle: handleApiVersions, before: true, notes: "an unknown version is answered as version 0 with UNSUPPORTED_VERSION"},
	{key: 19, min: 2, max: 7, handle: handleCreateTopics, notes: "manual assignments to the one node, defaults by -1, validate only, ids and configurations of what was made"},
	{key: 20, min: 1, max: 6, handle: handleDeleteTopics, notes: "by name and by id"},
	{key: 21, min: 0, max: 2, handle: handleDeleteRecords, notes: "to an offset or the high watermark; refused where cleanup.policy has no delete"},
	{key: 22, min: 0, max: 5, handle: handleInitProducerID, notes: "idempotent and transactional; goes on after errors from version 3 (KIP-360); answers when the predecessor's transaction is aborted"},
	{key: 23, min: 2, max: 4, handle: handleOffsetForLeaderEpoch},
	{key: 24, min: 0, max: 5, handle: handleAddPartitionsToTxn, notes: "versions 4 and above are between brokers: many transactions, verify only"},
	{key: 25, min: 0, max: 4, handle: handleAddOffsetsToTxn},
	{key: 26, min: 0, max: 5, handle: handleEndTxn, notes: "version 5 raises the epoch (KIP-890)"},
	{key: 27, min: 1, max: 2, handle: handleWriteTxnMarkers, notes: "for administrators: ends a transaction that hangs"},
	{key: 28, min: 0, max: 5, handle: handleTxnOffsetCommit, notes: "member and generation from version 3 (KIP-447), adds the group by itself from version 5 (KIP-890)"},
	{key: 29, min: 1, max: 3, handle: handleDescribeACLs},
	{key: 30, min: 1, max: 3, handle: handleCreateACLs},
	{key: 31, min: 1, max: 3, handle: handleDeleteACLs},
	{key: 32, min: 1, max: 4, handle: handleDescribeConfigs, notes: "topics, brokers, broker loggers, client metrics, groups; sources, synonyms, documentation"},
	{key: 33, min: 0, max: 2, handle: handleAlterConfigs, notes: "replaces all; see IncrementalAlterConfigs"},
	{key: 34, min: 1, max: 2, handle: handleAlterReplicaLogDirs, notes: "there is one directory"},
	{key: 35, min: 1, max: 5, handle: handleDescribeLogDirs, notes: "sizes of partitions, total and usable bytes"},
	{key: 36, min: 0, max: 2, handle: handleSaslAuthenticate, notes: "session lifetime and re-authentication from version 1"},
	{key: 37, min: 0, max: 3, handle: handleCreatePartitions},
	{key: 42, min: 0, max: 2, handle: handleDeleteGroups},
	{key: 43, min: 0, max: 2, handle: handleElectLeaders, notes: "ELECTION_NOT_NEEDED: one node leads all"},
	{key: 44, min: 0, max: 1, handle: handleIncrementalAlterConfigs, notes: "set, delete, append, subtract, validate only"},
	{key: 45, min: 0, max: 1, handle: handleAlterPartitionReassignments, notes: "to the one node only"},
	{key: 46, min: 0, max: 0, handle: handleListPartitionReassignments, notes: "there are none"},
	{key: 47, min: 0, max: 0, handle: handleOffsetDelete},
	{key: 48, min: 0, max: 1, handle: handleDescribeClientQuotas},
	{key: 49, min: 0, max: 1, handle: handleAlterClientQuotas},
	{key: 50, min: 0, max: 0, handle: handleDescribeUserScramCredentials},
	{key: 51, min: 0, max: 0, handle: handleAlterUserScramCredentials},
	{key: 55, min: 0, max: 2, handle: handleDescribeQuorum, notes: "one voter, which leads"},
	{key: 57, min: 0, max: 2, handle: handleUpdateFeatures, notes: "features stand at what the program speaks"},
	{key: 60, min: 0, max: 2, handle: handleDescribeCluster},
	{key: 61, min: 0, max: 0, handle: handleDescribeProducers},
	{key: 65, min: 0, max: 0, handle: handleDescribeTransactions},
	{key: 66, min: 0, max: 2, handle: handleListTransactions, notes: "filters by state, producer, duration, regular expression"},
	{key: 68, min: 0, max: 1, handle: handleConsumerGroupHeartbeat, notes: "KIP-848: server assignors uniform and range, regular expressions of RE2, groups of both protocols"},
	{key: 69, min: 0, max: 1, handle: handleConsumerGroupDescribe},
	{key: 74, min: 0, max: 1, handle: handleListConfigResources},
	{key: 75, min: 0, max: 0, handle: handleDescribeTopicPartitions, notes: "cursor and limit"},
}

// advertised is the lowest version that ApiVersions shows. Produce is shown from
// 0 and accepted from 3, as Kafka does, because librdkafka judges the broker by
// the lower end (KAFKA-18659).
func (a *api) advertised() int16 {
	if a.key == keyProduce {
		return 0
	}
	return a.min
}

// indexTable makes the table addressable by key.
func indexTable(table []api) []*api {
	var byKey []*api
	for i := range table {
		a := &table[i]
		for len(byKey) <= int(a.key) {
			byKey = append(byKey, nil)
		}
		byKey[a.key] = a
	}
	return byKey
}

// api finds a row; nil if the key is not served.
func (s *Server) api(key int16) *api {
	if key < 0 || int(key) >= len(s.byKey) {
		return nil
	}
	return s.byKey[key]
}
