package wire

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// The table of what each request needs, as Kafka 4.3's authorizer is asked.
// hides: the answer leaves out what may not be described.

func str(s string) *string { return &s }

// rightsBatch is one record.
var rightsBatch = func() []byte {
	b := record.NewBuilder()
	b.Append(&record.View{Value: []byte("x"), Timestamp: 1_700_000_000_000})
	raw, err := b.Finish(record.None)
	if err != nil {
		panic(err)
	}
	return raw
}()

// dataRights are those of reading and writing.
func dataRights() []rightCase {
	return []rightCase{
		{key: 0, needs: []right{topicRight(acl.OpWrite)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			return quotaProduce(name, rightsBatch)
		}},
		{key: 0, what: "in a transaction", needs: []right{topicRight(acl.OpWrite), txnRight(acl.OpWrite)}, want: codeTransactionalIDAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := quotaProduce(name, rightsBatch)
			req.TransactionID = &name
			return req
		}},
		{key: 0, what: "by id", needs: []right{topicRight(acl.OpWrite)}, want: codeTopicAuthorizationFailed, req: func(ts *testServer, _ string) kmsg.Request {
			req := quotaProduce("", rightsBatch)
			req.Version, req.Topics[0].TopicID = 13, ts.secretID()
			return req
		}},
		{key: 1, needs: []right{topicRight(acl.OpRead)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			return quotaFetch(name, 0)
		}},
		{key: 1, what: "by id", needs: []right{topicRight(acl.OpRead)}, want: codeTopicAuthorizationFailed, req: func(ts *testServer, _ string) kmsg.Request {
			req := quotaFetch("", 0)
			req.Version, req.Topics[0].TopicID = 17, ts.secretID()
			return req
		}},
		{key: 2, needs: []right{topicRight(acl.OpDescribe)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrListOffsetsRequest()
			req.Version, req.ReplicaID = 7, -1
			t, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
			t.Topic, p.Timestamp = name, -1
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 3, needs: []right{topicRight(acl.OpDescribe)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			req.Version = 9
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = &name
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 3, what: "of all topics", hides: true, needs: []right{topicRight(acl.OpDescribe)}, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			req.Version = 9
			return req
		}},
		{key: 3, what: "by id", hides: true, needs: []right{topicRight(acl.OpDescribe)}, req: func(ts *testServer, _ string) kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			req.Version = 12
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID = ts.secretID()
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 23, needs: []right{topicRight(acl.OpDescribe)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.Version, req.ReplicaID = 4, -1
			t, p := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			t.Topic = name
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 21, needs: []right{topicRight(acl.OpDelete)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.Version = 2
			t, p := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
			t.Topic, p.Offset = name, 1
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 61, needs: []right{topicRight(acl.OpRead)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrDescribeProducersRequest()
			t := kmsg.NewDescribeProducersRequestTopic()
			t.Topic, t.Partitions = name, []int32{0}
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 75, needs: []right{topicRight(acl.OpDescribe)}, want: codeTopicAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrDescribeTopicPartitionsRequest()
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = name
			req.Topics = append(req.Topics, t)
			return req
		}},
	}
}

func (ts *testServer) secretID() [16]byte {
	v, ok := ts.b.TopicView(secret)
	if !ok {
		ts.t.Fatal("there is no secret topic")
	}
	return v.ID
}

func offsetCommit(name string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 8, name, -1
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	t.Topic, p.Offset = name, 1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// groupRights are those of groups, classic and new, and their offsets.
func groupRights() []rightCase {
	group := codeGroupAuthorizationFailed
	read, describe := []right{groupRight(acl.OpRead)}, []right{groupRight(acl.OpDescribe)}
	return []rightCase{
		{key: 8, needs: []right{groupRight(acl.OpRead), topicRight(acl.OpRead)}, want: group, req: func(_ *testServer, name string) kmsg.Request { return offsetCommit(name) }},
		{key: 9, needs: []right{groupRight(acl.OpDescribe), topicRight(acl.OpDescribe)}, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Version = 8
			g, t := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
			g.Group, t.Topic, t.Partitions = name, name, []int32{0}
			g.Topics = append(g.Topics, t)
			req.Groups = append(req.Groups, g)
			return req
		}},
		{key: 10, needs: describe, want: group, req: func(_ *testServer, name string) kmsg.Request { return findCoordinator(name, 0) }},
		{key: 10, what: "of a transactional id", needs: []right{txnRight(acl.OpDescribe)}, want: codeTransactionalIDAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			return findCoordinator(name, 1)
		}},
		{key: 11, needs: read, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Version, req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 5, name, "consumer", 10_000, 10_000
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name = "range"
			req.Protocols = append(req.Protocols, p)
			return req
		}},
		{key: 12, needs: read, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Version, req.Group, req.MemberID = 4, name, "m"
			return req
		}},
		{key: 13, needs: read, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group = 4, name
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = "m"
			req.Members = append(req.Members, m)
			return req
		}},
		{key: 14, needs: read, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrSyncGroupRequest()
			req.Version, req.Group, req.MemberID = 4, name, "m"
			return req
		}},
		{key: 15, needs: describe, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Version, req.Groups = 5, []string{name}
			return req
		}},
		{key: 16, hides: true, needs: describe, req: func(*testServer, string) kmsg.Request { return kmsg.NewPtrListGroupsRequest() }},
		{key: 16, what: "with Describe on the cluster", hides: true, needs: []right{clusterRight(acl.OpDescribe)}, req: func(*testServer, string) kmsg.Request {
			return kmsg.NewPtrListGroupsRequest()
		}},
		{key: 42, needs: []right{groupRight(acl.OpDelete)}, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrDeleteGroupsRequest()
			req.Version, req.Groups = 2, []string{name}
			return req
		}},
		{key: 47, needs: []right{groupRight(acl.OpDelete), topicRight(acl.OpRead)}, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = name
			t, p := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteRequestTopicPartition()
			t.Topic = name
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 68, needs: []right{groupRight(acl.OpRead), topicRight(acl.OpDescribe)}, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "secret", "AAAAAAAAAAAAAAAAAAAAAA", 10_000
			req.SubscribedTopicNames, req.Topics = []string{name}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			return req
		}},
		{key: 69, needs: describe, want: group, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			req.Groups = []string{name}
			return req
		}},
	}
}

func findCoordinator(name string, kind int8) kmsg.Request {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorType, req.CoordinatorKeys = 4, kind, []string{name}
	return req
}

// txnRights are those of transactions.
func txnRights() []rightCase {
	id := codeTransactionalIDAuthorizationFailed
	write := []right{txnRight(acl.OpWrite)}
	initialise := func(txn *string) kmsg.Request {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = 4, txn, 60_000, -1, -1
		return req
	}
	idempotent := func(*testServer, string) kmsg.Request { return initialise(nil) }
	return []rightCase{
		{key: 22, needs: write, want: id, req: func(_ *testServer, name string) kmsg.Request { return initialise(&name) }},
		{key: 22, what: "idempotent", needs: []right{clusterRight(acl.OpIdempotentWrite)}, want: codeClusterAuthorizationFailed, req: idempotent},
		{key: 22, what: "idempotent, with a topic to write to", needs: []right{{acl.OpWrite, acl.TypeTopic, "any"}}, want: codeClusterAuthorizationFailed, req: idempotent},
		{key: 24, needs: []right{txnRight(acl.OpWrite), topicRight(acl.OpWrite)}, want: id, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.Version, req.TransactionalID = 3, name
			t := kmsg.NewAddPartitionsToTxnRequestTopic()
			t.Topic, t.Partitions = name, []int32{0}
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 24, what: "between brokers", needs: []right{clusterRight(acl.OpClusterAction)}, want: codeClusterAuthorizationFailed, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.Version = 4
			x, t := kmsg.NewAddPartitionsToTxnRequestTransaction(), kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
			x.TransactionalID, t.Topic, t.Partitions = name, name, []int32{0}
			x.Topics = append(x.Topics, t)
			req.Transactions = append(req.Transactions, x)
			return req
		}},
		{key: 25, needs: []right{txnRight(acl.OpWrite), groupRight(acl.OpRead)}, want: id, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAddOffsetsToTxnRequest()
			req.Version, req.TransactionalID, req.Group = 3, name, name
			return req
		}},
		{key: 26, needs: write, want: id, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrEndTxnRequest()
			req.Version, req.TransactionalID = 3, name
			return req
		}},
		{key: 27, needs: []right{clusterRight(acl.OpClusterAction)}, want: codeClusterAuthorizationFailed, req: writeTxnMarkers},
		{key: 27, what: "of an administrator", needs: []right{clusterRight(acl.OpAlter)}, want: codeClusterAuthorizationFailed, req: writeTxnMarkers},
		{key: 28, needs: []right{txnRight(acl.OpWrite), groupRight(acl.OpRead), topicRight(acl.OpRead)}, want: id, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrTxnOffsetCommitRequest()
			req.Version, req.TransactionalID, req.Group, req.Generation = 3, name, name, -1
			t, p := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
			t.Topic = name
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 65, needs: []right{txnRight(acl.OpDescribe)}, want: id, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrDescribeTransactionsRequest()
			req.TransactionalIDs = []string{name}
			return req
		}},
		{key: 66, hides: true, needs: []right{txnRight(acl.OpDescribe)}, req: func(*testServer, string) kmsg.Request { return kmsg.NewPtrListTransactionsRequest() }},
	}
}

func writeTxnMarkers(_ *testServer, name string) kmsg.Request {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = 1
	m, t := kmsg.NewWriteTxnMarkersRequestMarker(), kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	m.ProducerID, t.Topic, t.Partitions = 4711, name, []int32{0}
	m.Topics = append(m.Topics, t)
	req.Markers = append(req.Markers, m)
	return req
}
