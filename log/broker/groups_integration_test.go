package broker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/record"
)

// TestIntegrationKafkaDecodesGroupRecords: Kafka's own decoder reads every kind of
// record that groups of both protocols write.
func TestIntegrationKafkaDecodesGroupRecords(t *testing.T) {
	kafka := peers.NeedKafka(t)
	dir := t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir, MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateTopic(broker.TopicSpec{Name: "input", Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	writeGroupRecords(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	out := decode(t, kafka, dir, "__consumer_offsets", "--offsets-decoder")
	for _, want := range []string{
		`"group":"classic"`, `"protocolType":"consumer"`, `"groupInstanceId":"static"`, `"metadata":"meta"`, // GroupMetadata, OffsetCommit
		`"metadataHash":`, `"assignmentEpoch":`, `"subscribedTopicRegex":"in.*"`, `"topics":["input"]`, `"serverAssignor":"range"`, // of consumer groups
		`"classicMemberMetadata":{"sessionTimeoutMs":30000,"supportedProtocols":[{"name":"range"`, `"assignedPartitions":[{"topicId":`, `"partitions":[0,1,2,3]`, `"assignmentEpochs":[`,
		`"rackId":"r1"`, `"instanceId":"i1"`, `"memberEpoch":-2`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("Kafka's decoder does not show %s", want)
		}
	}
	for _, kind := range []string{`"type":"1"`, `"type":"2"`, `"type":"3"`, `"type":"5"`, `"type":"6"`, `"type":"7"`, `"type":"8"`, `"type":"16"`} {
		if !strings.Contains(out, kind) {
			t.Errorf("no record of %s is shown", kind)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// writeGroupRecords makes a classic group, a consumer group with each kind of
// subscription, and one with members of both protocols.
func writeGroupRecords(t *testing.T, b *broker.Broker) {
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	classic := func(name, instance string) {
		j, err := b.JoinGroup(ctx, group.JoinRequest{Group: name, InstanceID: instance, ClientID: "c", ClientHost: "/127.0.0.1", SessionMS: 30_000, RebalanceMS: 60_000,
			ProtocolType: "consumer", Protocols: []group.Protocol{{Name: "range", Metadata: group.Subscription([]string{"input"})}}})
		must(err)
		assigned, err := group.AssignRange(j.Members, func(string) int32 { return 4 })
		must(err)
		_, err = b.SyncGroup(ctx, group.SyncRequest{Group: name, Generation: j.Generation, MemberID: j.MemberID, InstanceID: instance, Assignments: assigned})
		must(err)
		must(b.CommitOffsets(broker.GroupMember{Group: name, Generation: j.Generation, Member: j.MemberID, Instance: instance},
			map[record.TopicPartition]broker.CommittedOffset{{Topic: "input"}: {Offset: 3, Metadata: "meta"}}))
	}
	consumer := func(name, id string, change func(*group.HeartbeatRequest)) {
		req := group.HeartbeatRequest{Group: name, MemberID: id, RebalanceMS: 60_000, Topics: []string{"input"}, Owned: group.Assignment{}, ClientID: "c", ClientHost: "/127.0.0.1"}
		change(&req)
		_, err := b.ConsumerHeartbeat(ctx, req)
		must(err)
	}
	classic("classic", "static")
	consumer("regex", "x", func(r *group.HeartbeatRequest) { r.Topics, r.Regex = nil, ptr("in.*") })
	consumer("names", "y", func(r *group.HeartbeatRequest) {
		r.InstanceID, r.Rack, r.Assignor = ptr("i1"), ptr("r1"), ptr("range")
	})
	consumer("names", "y", func(r *group.HeartbeatRequest) { r.InstanceID, r.Epoch = ptr("i1"), -2 })
	classic("mixed", "")
	consumer("mixed", "z", func(*group.HeartbeatRequest) {})
}

func ptr[T any](v T) *T { return &v }
