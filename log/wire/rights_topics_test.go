package wire

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// deny forbids alice what the rights say.
func (ts *testServer) deny(rights ...right) {
	ts.t.Helper()
	var bs []acl.Binding
	for _, r := range rights {
		bs = append(bs, acl.Binding{Type: r.typ, Name: r.name, Pattern: acl.PatternLiteral, Principal: "User:alice", Host: acl.Wildcard, Op: r.op, Permission: acl.Deny})
	}
	if err := ts.b.CreateACLs(bs); err != nil {
		ts.t.Fatal(err)
	}
}

// Who deletes a topic by its id learns its name only with a right to, and by
// name not even whether there is one (as ControllerApis.deleteTopics).
func TestDeletingATopicTellsItsNameToWhoMayKnowIt(t *testing.T) {
	describe, remove := topicRight(acl.OpDescribe), topicRight(acl.OpDelete)
	for _, c := range []struct {
		what           string
		grant, deny    []right
		byID, byName   int16
		absent         int16 // of a name that nothing has
		named, deleted bool  // the answer by id tells the name; by id it is deleted
	}{
		{what: "nothing", byID: codeTopicAuthorizationFailed, byName: codeTopicAuthorizationFailed, absent: codeTopicAuthorizationFailed},
		{what: "Describe", grant: []right{describe}, byID: codeTopicAuthorizationFailed, byName: codeTopicAuthorizationFailed, absent: codeTopicAuthorizationFailed, named: true},
		{what: "Delete", grant: []right{remove}, named: true, deleted: true, absent: codeTopicAuthorizationFailed},
		{what: "Delete, Describe denied", grant: []right{remove}, deny: []right{describe}, byName: codeTopicAuthorizationFailed, absent: codeTopicAuthorizationFailed, named: true, deleted: true},
		{what: "Describe, Delete denied", grant: []right{describe}, deny: []right{remove}, byID: codeTopicAuthorizationFailed, byName: codeTopicAuthorizationFailed, absent: codeTopicAuthorizationFailed, named: true},
		{what: "Describe of all topics", grant: []right{{acl.OpDescribe, acl.TypeTopic, acl.Wildcard}}, byID: codeTopicAuthorizationFailed, byName: codeTopicAuthorizationFailed, absent: codeUnknownTopicOrPartition, named: true},
		{what: "Delete on the cluster", grant: []right{clusterRight(acl.OpDelete)}, absent: codeUnknownTopicOrPartition, named: true, deleted: true},
		{what: "everything on the cluster", grant: []right{clusterRight(acl.OpAll)}, absent: codeUnknownTopicOrPartition, named: true, deleted: true},
	} {
		ask := func(byName bool, name string) (kmsg.DeleteTopicsResponseTopic, bool) {
			ts := secured(t)
			ts.grant(c.grant...)
			ts.deny(c.deny...)
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version = 6
			top := kmsg.NewDeleteTopicsRequestTopic()
			if top.Topic = &name; !byName {
				top.Topic, top.TopicID = nil, ts.secretID()
			}
			req.Topics = append(req.Topics, top)
			got := ts.login("alice").do(req).(*kmsg.DeleteTopicsResponse).Topics[0]
			_, there := ts.b.TopicView(secret)
			return got, there
		}
		got, there := ask(false, "")
		if got.ErrorCode != c.byID || (got.Topic != nil) != c.named || got.Topic != nil && *got.Topic != secret || there == c.deleted || got.TopicID == [16]byte{} {
			t.Errorf("%s, by id: %+v, the topic is there: %v; expected code %d, named %v, deleted %v", c.what, got, there, c.byID, c.named, c.deleted)
		}
		if got, there = ask(true, secret); got.ErrorCode != c.byName || there != (c.byName != 0) || (got.TopicID == [16]byte{}) != (c.byName != 0) {
			t.Errorf("%s, by name: %+v, the topic is there: %v; expected code %d", c.what, got, there, c.byName)
		}
		if got, _ = ask(true, "absent"); got.ErrorCode != c.absent {
			t.Errorf("%s, an absent name: %+v, expected code %d", c.what, got, c.absent)
		}
	}
}

func TestATopicNamedByNameAndIDIsNotDeleted(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	byName, byID := kmsg.NewDeleteTopicsRequestTopic(), kmsg.NewDeleteTopicsRequestTopic()
	byName.Topic, byID.TopicID = &top.Name, top.ID
	req.Topics = append(req.Topics, byName, byID)
	for _, got := range ts.dial().do(req).(*kmsg.DeleteTopicsResponse).Topics {
		if got.ErrorCode != codeInvalidRequest {
			t.Errorf("%+v, expected INVALID_REQUEST", got)
		}
	}
	if _, there := ts.b.TopicView("t"); !there {
		t.Error("the topic is gone")
	}
}

// A member's expression finds only topics that it may describe, and who
// describes the group hears nothing of it unless all its topics may be described.
func TestAConsumerGroupShowsOnlyTopicsThatMayBeDescribed(t *testing.T) {
	ts := newTestServer(t, withACLs, withoutInterval)
	open, _ := ts.topic("a-open", 2), ts.topic("a-secret", 2)
	ts.grant(right{acl.OpRead, acl.TypeGroup, "g"}, right{acl.OpDescribe, acl.TypeTopic, "a-open"})
	alice, root := ts.login("alice"), ts.login("root")
	subscribe := func(c *rawConn, regex *string, names ...string) *kmsg.ConsumerGroupHeartbeatResponse {
		req := beat("AAAAAAAAAAAAAAAAAAAAAA", 1)
		req.SubscribedTopicNames, req.SubscribedTopicRegex = names, regex
		return c.do(req).(*kmsg.ConsumerGroupHeartbeatResponse)
	}
	describe := func(c *rawConn) kmsg.ConsumerGroupDescribeResponseGroup {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups, req.IncludeAuthorizedOperations = 1, []string{"g"}, true
		return c.do(req).(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
	}
	if got := subscribe(alice, nil, "a-open", "a-secret"); got.ErrorCode != codeTopicAuthorizationFailed {
		t.Errorf("a subscription to what may not be described: code %d", got.ErrorCode)
	}
	if _, there := ts.b.DescribeGroup("g"); there {
		t.Error("the refused subscription made a group")
	}
	got := subscribe(alice, kmsg.StringPtr("a-.*"))
	if a := got.Assignment; got.ErrorCode != 0 || a == nil || len(a.Topics) != 1 || a.Topics[0].TopicID != open.ID || !slices.Equal(a.Topics[0].Partitions, []int32{0, 1}) {
		t.Fatalf("by expression: code %d, assignment %+v; expected only a-open", got.ErrorCode, got.Assignment)
	}
	if g := describe(alice); g.ErrorCode != 0 || len(g.Members) != 1 || g.AuthorizedOperations == 0 {
		t.Errorf("described by its member: %+v", g)
	}
	other := beat("BBBBBBBBBBBBBBBBBBBBBB", 1)
	other.SubscribedTopicNames = []string{"a-secret"}
	if got := root.do(other).(*kmsg.ConsumerGroupHeartbeatResponse); got.ErrorCode != 0 {
		t.Fatalf("another member: code %d", got.ErrorCode)
	}
	if g := describe(root); g.ErrorCode != 0 || len(g.Members) != 2 || g.State == "" {
		t.Errorf("described by who may: %+v", g)
	}
	hidden := kmsg.NewConsumerGroupDescribeResponseGroup()
	if g := describe(alice); g.ErrorCode != codeTopicAuthorizationFailed || orEmpty(g.ErrorMessage) == "" || len(g.Members) != 0 ||
		g.State != hidden.State || g.Epoch != hidden.Epoch || g.AssignorName != hidden.AssignorName || g.AuthorizedOperations != hidden.AuthorizedOperations {
		t.Errorf("described by who may not see one of its topics: %+v, expected nothing but the error", g)
	}
	ts.grant(right{acl.OpDescribe, acl.TypeTopic, "a-secret"})
	if g := describe(alice); g.ErrorCode != 0 || len(g.Members) != 2 {
		t.Errorf("described once it may: %+v", g)
	}
}
