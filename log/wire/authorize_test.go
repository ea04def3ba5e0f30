package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/vfs"
)

// withACLs asks alice and root for their passwords; root is a super user, alice
// may do what bindings say.
func withACLs(_ *broker.Config, c *Config) {
	c.Listeners[0].SASL = []string{Plain}
	c.Security.PlainPassword = func(user string) (string, bool) { return user + "-secret", user == "alice" || user == "root" }
	c.Security.Authorization = &Authorization{SuperUsers: []string{"User:root"}}
}

// login opens a connection that has authenticated.
func (ts *testServer) login(user string) *rawConn {
	ts.t.Helper()
	c := ts.dial()
	if code := c.handshake(1, Plain); code != 0 {
		ts.t.Fatalf("handshake of %s: code %d", user, code)
	}
	if resp := c.token(2, "\x00"+user+"\x00"+user+"-secret"); resp.ErrorCode != 0 {
		ts.t.Fatalf("login of %s: code %d %s", user, resp.ErrorCode, *resp.ErrorMessage)
	}
	return c
}

// grant allows alice what the rights say.
func (ts *testServer) grant(rights ...right) {
	ts.t.Helper()
	var bs []acl.Binding
	for _, r := range rights {
		bs = append(bs, acl.Binding{Type: r.typ, Name: r.name, Pattern: acl.PatternLiteral, Principal: "User:alice", Host: acl.Wildcard, Op: r.op, Permission: acl.Allow})
	}
	if err := ts.b.CreateACLs(bs); err != nil {
		ts.t.Fatal(err)
	}
}

// right is an operation on a resource.
type right struct {
	op   acl.Operation
	typ  acl.ResourceType
	name string
}

func (r right) String() string { return fmt.Sprintf("%s %s %s", r.op, r.typ, r.name) }

// secret is the name of a topic, a group and a transactional id that the tests' server has.
const secret = "secret"

func topicRight(op acl.Operation) right { return right{op, acl.TypeTopic, secret} }
func groupRight(op acl.Operation) right { return right{op, acl.TypeGroup, secret} }
func txnRight(op acl.Operation) right   { return right{op, acl.TypeTransactionalID, secret} }
func clusterRight(op acl.Operation) right {
	return right{op, acl.TypeCluster, acl.ClusterName}
}

// authorizationCodes say that a principal may not.
var authorizationCodes = []int16{codeTopicAuthorizationFailed, codeGroupAuthorizationFailed, codeClusterAuthorizationFailed, codeTransactionalIDAuthorizationFailed}

// errorCodes are all fields ErrorCode of an answer.
func errorCodes(v reflect.Value) (codes []int16) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			codes = errorCodes(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = append(codes, errorCodes(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name == "ErrorCode" {
				codes = append(codes, int16(v.Field(i).Int()))
			} else if f.IsExported() {
				codes = append(codes, errorCodes(v.Field(i))...)
			}
		}
	}
	return codes
}

func refusals(resp kmsg.Response) (codes []int16) {
	for _, c := range errorCodes(reflect.ValueOf(resp)) {
		if slices.Contains(authorizationCodes, c) {
			codes = append(codes, c)
		}
	}
	return codes
}

// secured starts a server that has something named secret of everything.
func secured(t *testing.T, more ...setup) *testServer {
	t.Helper()
	ts := newTestServer(t, append(more, withACLs)...)
	ts.topic(secret, 1)
	root := ts.login("root")
	root.do(quotaProduce(secret, batchOf(t, "a", "b")))
	init := kmsg.NewPtrInitProducerIDRequest()
	id := secret
	init.Version, init.TransactionalID, init.TransactionTimeoutMillis, init.ProducerID, init.ProducerEpoch = 4, &id, 60_000, -1, -1
	p := root.do(init).(*kmsg.InitProducerIDResponse)
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch = 3, secret, p.ProducerID, p.ProducerEpoch
	top := kmsg.NewAddPartitionsToTxnRequestTopic()
	top.Topic, top.Partitions = secret, []int32{0}
	add.Topics = append(add.Topics, top)
	root.do(add)
	if ts.srv.api(8) != nil {
		root.do(offsetCommit(secret))
	}
	return ts
}

// fingerprint is what a request without rights must not change: the metadata
// file (topics, configurations, bindings, users, quotas), and every partition's offsets.
func (ts *testServer) fingerprint(files vfs.FS) string {
	ts.t.Helper()
	var b strings.Builder
	for v := range ts.b.TopicViews() {
		fmt.Fprintln(&b, v.Name, len(v.Partitions))
		for _, p := range v.Partitions {
			fmt.Fprintln(&b, p.Offsets())
		}
	}
	f, err := files.Open("data/millstream.metadata")
	if err != nil {
		ts.t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		ts.t.Fatal(err)
	}
	text := make([]byte, size)
	if _, err := f.ReadAt(text, 0); err != nil {
		ts.t.Fatal(err)
	}
	b.Write(text)
	return b.String()
}

// rightCase is a request with the rights that it needs.
type rightCase struct {
	key   int16
	what  string
	needs []right // all of them
	want  int16   // the code without any
	// hides: nothing is refused, but the answer does not name what is secret.
	hides bool
	req   func(ts *testServer, name string) kmsg.Request
}

func TestEveryAPIAsksForRights(t *testing.T) {
	cases := slices.Concat(dataRights(), groupRights(), txnRights(), adminRights(), securityRights())
	seen := map[int16]bool{17: true, 18: true, 36: true, 60: true} // for everybody
	files := vfs.NewMem()
	ts := secured(t, func(b *broker.Config, _ *Config) { b.FS = files })
	before := ts.fingerprint(files)
	for _, c := range cases {
		seen[c.key] = true
		if ts.srv.api(c.key) == nil {
			continue
		}
		for _, name := range []string{secret, "absent"} {
			if name == "absent" && c.hides {
				continue
			}
			req := c.req(ts, name)
			resp := ts.login("alice").do(req)
			codes := refusals(resp)
			text, err := json.Marshal(resp)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.hides && strings.Contains(string(text), secret):
				t.Errorf("%s %s v%d without rights names what is secret: %s", kmsg.NameForKey(c.key), c.what, req.GetVersion(), text)
			case !c.hides && !slices.Contains(codes, c.want):
				t.Errorf("%s %s v%d of %q without rights: codes %v, expected %d: %s", kmsg.NameForKey(c.key), c.what, req.GetVersion(), name, codes, c.want, text)
			}
		}
	}
	if after := ts.fingerprint(files); after != before {
		t.Errorf("requests without rights changed something:\n%s\nis now\n%s", before, after)
	}
	for i := range apis {
		if !seen[apis[i].key] {
			t.Errorf("%s has no case here: say which rights it needs", kmsg.NameForKey(apis[i].key))
		}
	}
}

func TestTheRightsOfTheTableAreEnoughAndEachIsNeeded(t *testing.T) {
	for _, c := range slices.Concat(dataRights(), groupRights(), txnRights(), adminRights(), securityRights()) {
		ts := secured(t)
		if ts.srv.api(c.key) == nil {
			continue
		}
		name := fmt.Sprintf("%s %s", kmsg.NameForKey(c.key), c.what)
		for i := range c.needs {
			if len(c.needs) == 1 {
				break // the other test
			}
			part := secured(t)
			part.grant(slices.Delete(slices.Clone(c.needs), i, i+1)...)
			if resp := part.login("alice").do(c.req(part, secret)); len(refusals(resp)) == 0 {
				t.Errorf("%s without %v: not refused", name, c.needs[i])
			}
		}
		ts.grant(c.needs...)
		resp := ts.login("alice").do(c.req(ts, secret))
		if codes := refusals(resp); len(codes) > 0 {
			t.Errorf("%s with %v: codes %v", name, c.needs, codes)
		}
		if text, _ := json.Marshal(resp); c.hides && !strings.Contains(string(text), secret) {
			t.Errorf("%s with %v: does not name it: %s", name, c.needs, text)
		}
	}
}

func TestMetadataMakesTopicsForWhoMayCreateThem(t *testing.T) {
	ask := func(ts *testServer, name string) int16 {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.AllowAutoTopicCreation = 9, true
		top := kmsg.NewMetadataRequestTopic()
		top.Topic = &name
		req.Topics = append(req.Topics, top)
		return ts.login("alice").do(req).(*kmsg.MetadataResponse).Topics[0].ErrorCode
	}
	for _, c := range []struct {
		what  string
		grant []right
		want  int16
		made  bool
	}{
		{"nothing", nil, codeTopicAuthorizationFailed, false},
		{"Describe", []right{{acl.OpDescribe, acl.TypeTopic, "new"}}, codeTopicAuthorizationFailed, false},
		{"Create on the topic", []right{{acl.OpDescribe, acl.TypeTopic, "new"}, {acl.OpCreate, acl.TypeTopic, "new"}}, 0, true},
		{"Create on the cluster", []right{{acl.OpDescribe, acl.TypeTopic, "new"}, clusterRight(acl.OpCreate)}, 0, true},
	} {
		ts := newTestServer(t, withACLs)
		ts.grant(c.grant...)
		got := ask(ts, "new")
		if c.made && got == codeLeaderNotAvailable { // the first answer about a topic just made
			got = 0
		}
		if _, made := ts.b.TopicView("new"); got != c.want || made != c.made {
			t.Errorf("with %s: code %d, made %v, expected %d and %v", c.what, got, made, c.want, c.made)
		}
	}
}

func TestAuthorizedOperationsAreThoseThatAreGranted(t *testing.T) {
	ts := secured(t)
	ts.grant(topicRight(acl.OpRead), topicRight(acl.OpAlterConfigs))
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.IncludeTopicAuthorizedOperations = 9, true
	resp := ts.login("alice").do(req).(*kmsg.MetadataResponse)
	want := int32(1<<acl.OpRead | 1<<acl.OpDescribe | 1<<acl.OpAlterConfigs | 1<<acl.OpDescribeConfigs)
	if len(resp.Topics) != 1 || resp.Topics[0].AuthorizedOperations != want {
		t.Errorf("%d topics, operations %b, expected %b", len(resp.Topics), resp.Topics[0].AuthorizedOperations, want)
	}
}

// DescribeCluster tells them, and Metadata did in versions 8 to 10 (KIP-700).
func TestAuthorizedOperationsOfTheCluster(t *testing.T) {
	const everything = 0b1_1111_1010_0000 // Create, Alter to IdempotentWrite, as Kafka tells a super user
	check := func(c *rawConn, who string, asked bool, want int32) {
		t.Helper()
		cluster := kmsg.NewPtrDescribeClusterRequest()
		cluster.IncludeClusterAuthorizedOperations = asked
		if got := c.do(cluster).(*kmsg.DescribeClusterResponse).ClusterAuthorizedOperations; got != want {
			t.Errorf("%s: DescribeCluster: %b, expected %b", who, got, want)
		}
		for v := int16(8); v <= 10; v++ {
			req := kmsg.NewPtrMetadataRequest()
			req.Version, req.IncludeClusterAuthorizedOperations = v, asked
			if got := c.do(req).(*kmsg.MetadataResponse).AuthorizedOperations; got != want {
				t.Errorf("%s: Metadata %d: %b, expected %b", who, v, got, want)
			}
		}
	}
	open := newTestServer(t)
	check(open.dial(), "without access control lists", true, everything)
	check(open.dial(), "not asked", false, math.MinInt32)
	ts := secured(t)
	check(ts.login("root"), "super user", true, everything)
	check(ts.login("alice"), "without rights", true, 0)
	ts.grant(clusterRight(acl.OpDescribe), clusterRight(acl.OpCreate))
	check(ts.login("alice"), "two rights", true, 1<<acl.OpDescribe|1<<acl.OpCreate)
}

// A session remembers its partitions, not that they were allowed.
func TestAFetchSessionLosesARightAtOnce(t *testing.T) {
	ts := secured(t)
	ts.grant(topicRight(acl.OpRead))
	c := ts.login("alice")
	req := quotaFetch(secret, 0)
	req.SessionEpoch = 0
	first := c.do(req).(*kmsg.FetchResponse)
	if first.SessionID == 0 || first.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("session %d, code %d", first.SessionID, first.Topics[0].Partitions[0].ErrorCode)
	}
	everything := acl.Filter{Type: acl.TypeAny, Pattern: acl.PatternAny, Op: acl.OpAny, Permission: acl.PermissionAny}
	if _, err := ts.b.DeleteACLs([]acl.Filter{everything}); err != nil {
		t.Fatal(err)
	}
	again := kmsg.NewPtrFetchRequest()
	again.Version, again.MaxBytes, again.MinBytes, again.SessionID, again.SessionEpoch = 12, 1<<20, 1, first.SessionID, 1
	second := c.do(again).(*kmsg.FetchResponse)
	if codes := refusals(second); len(codes) != 1 || codes[0] != codeTopicAuthorizationFailed {
		t.Errorf("in the session, without the right: codes %v", codes)
	}
}

// What an answer tells beside what was asked for needs rights of its own.
func TestAnswersLeaveOutWhatMayNotBeDescribed(t *testing.T) {
	text := func(resp kmsg.Response) string {
		b, err := json.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	topicNamed := `"Topic":"` + secret + `"`
	for _, c := range []struct {
		what  string
		needs []right // without the one on the topic
		extra right
		shows string
		req   kmsg.Request
	}{
		{"all offsets of a group", []right{groupRight(acl.OpDescribe)}, topicRight(acl.OpDescribe), topicNamed, func() kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Version, req.Group = 7, secret
			return req
		}()},
		{"partitions of a transaction", []right{txnRight(acl.OpDescribe)}, topicRight(acl.OpDescribe), topicNamed, func() kmsg.Request {
			req := kmsg.NewPtrDescribeTransactionsRequest()
			req.TransactionalIDs = []string{secret}
			return req
		}()},
		{"configurations of a new topic", []right{{acl.OpCreate, acl.TypeTopic, "new"}}, right{acl.OpDescribeConfigs, acl.TypeTopic, "new"}, `"Name":"retention.ms"`, func() kmsg.Request {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Version = 5
			top := kmsg.NewCreateTopicsRequestTopic()
			top.Topic, top.NumPartitions, top.ReplicationFactor = "new", 1, 1
			req.Topics = append(req.Topics, top)
			return req
		}()},
	} {
		for _, granted := range []bool{false, true} {
			ts := secured(t)
			ts.grant(c.needs...)
			if granted {
				ts.grant(c.extra)
			}
			if got := text(ts.login("alice").do(c.req)); strings.Contains(got, c.shows) != granted {
				t.Errorf("%s, with %v: %v: %s", c.what, c.extra, granted, got)
			}
		}
	}
}
