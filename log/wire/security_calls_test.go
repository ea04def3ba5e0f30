package wire

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millstream-io/millstream/log/broker"
)

// admin is a client of root's.
func (ts *testServer) admin() *kadm.Client {
	return kadm.NewClient(ts.kgo(kgo.SASL(plain.Auth{User: "root", Pass: "root-secret"}.AsMechanism())))
}

func TestAccessControlListsAreMadeShownAndRemoved(t *testing.T) {
	ts := newTestServer(t, withACLs)
	adm := ts.admin()
	literal := kadm.NewACLs().Topics("orders").Allow("User:alice").AllowHosts("*").Operations(kadm.OpRead, kadm.OpWrite).ResourcePatternType(kadm.ACLPatternLiteral)
	prefixed := kadm.NewACLs().Groups("app-").Deny("User:bob").DenyHosts("10.0.0.1").Operations(kadm.OpAll).ResourcePatternType(kadm.ACLPatternPrefixed)
	for _, b := range []*kadm.ACLBuilder{literal, literal, prefixed} { // the second time is no mistake
		made, err := adm.CreateACLs(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made {
			if m.Err != nil {
				t.Errorf("%v: %v", m, m.Err)
			}
		}
	}
	everything := kadm.NewACLs().AnyResource().Allow().AllowHosts().Deny().DenyHosts().Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)
	shown, err := adm.DescribeACLs(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range shown {
		for _, d := range s.Described {
			lines = append(lines, strings.Join([]string{d.Type.String(), d.Name, d.Pattern.String(), d.Principal, d.Host, d.Operation.String(), d.Permission.String()}, " "))
		}
	}
	slices.Sort(lines)
	want := []string{
		"GROUP app- PREFIXED User:bob 10.0.0.1 ALL DENY",
		"TOPIC orders LITERAL User:alice * READ ALLOW",
		"TOPIC orders LITERAL User:alice * WRITE ALLOW",
	}
	if lines = slices.Compact(lines); !slices.Equal(lines, want) {
		t.Errorf("shown:\n%s\nexpected\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	matching := kadm.NewACLs().Topics("orders").Allow("User:alice").AllowHosts().Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternMatch)
	gone, err := adm.DeleteACLs(t.Context(), matching)
	if err != nil {
		t.Fatal(err)
	}
	if len(gone) != 1 || len(gone[0].Deleted) != 1 || gone[0].Deleted[0].Operation != kmsg.ACLOperationRead {
		t.Errorf("removed %v", gone)
	}
	if left := ts.b.ACLs().All(); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

func TestBindingsThatCannotBeAreRefusedOneByOne(t *testing.T) {
	ts := newTestServer(t, withACLs)
	req := kmsg.NewPtrCreateACLsRequest()
	req.Version = 3
	for _, change := range []func(*kmsg.CreateACLsRequestCreation){
		func(*kmsg.CreateACLsRequestCreation) {},
		func(c *kmsg.CreateACLsRequestCreation) { c.ResourceName = "" },
		func(c *kmsg.CreateACLsRequestCreation) { c.Operation = kmsg.ACLOperationAny },
		func(c *kmsg.CreateACLsRequestCreation) {
			c.ResourceType, c.ResourceName = kmsg.ACLResourceTypeCluster, "x"
		},
		func(c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = 99 },
	} {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType = 2, "t", 3, "User:a", "*", 3, 3
		change(&c)
		req.Creations = append(req.Creations, c)
	}
	resp := ts.login("root").do(req).(*kmsg.CreateACLsResponse)
	for i, r := range resp.Results {
		want := codeInvalidRequest
		if i == 0 {
			want = 0
		}
		if r.ErrorCode != want {
			t.Errorf("binding %d: code %d, expected %d", i, r.ErrorCode, want)
		}
	}
	if n := len(ts.b.ACLs().All()); n != 1 {
		t.Errorf("%d bindings, expected the one that was right", n)
	}
}

func TestWithoutAnAuthorizerTheCallsSaySo(t *testing.T) {
	ts := newTestServer(t)
	describe := kmsg.NewPtrDescribeACLsRequest()
	describe.Version, describe.ResourceType, describe.ResourcePatternType, describe.Operation, describe.PermissionType = 3, 1, 1, 1, 1
	if got := ts.dial().do(describe).(*kmsg.DescribeACLsResponse); got.ErrorCode != codeSecurityDisabled {
		t.Errorf("describe: code %d, expected SECURITY_DISABLED", got.ErrorCode)
	}
	remove := kmsg.NewPtrDeleteACLsRequest()
	remove.Version = 3
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
	remove.Filters = append(remove.Filters, f)
	if got := ts.dial().do(remove).(*kmsg.DeleteACLsResponse).Results[0]; got.ErrorCode != codeSecurityDisabled {
		t.Errorf("delete: code %d, expected SECURITY_DISABLED", got.ErrorCode)
	}
}

func TestABindingHoldsAtOnce(t *testing.T) {
	ts := newTestServer(t, withACLs)
	ts.topic("orders", 1)
	c := ts.login("alice")
	write := func() int16 {
		return c.do(quotaProduce("orders", rightsBatch)).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	}
	if code := write(); code != codeTopicAuthorizationFailed {
		t.Errorf("before: code %d", code)
	}
	adm := ts.admin()
	allow := kadm.NewACLs().Topics("ord").Allow("User:alice").AllowHosts("127.0.0.1").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternPrefixed)
	if _, err := adm.CreateACLs(t.Context(), allow); err != nil {
		t.Fatal(err)
	}
	if code := write(); code != 0 {
		t.Errorf("allowed: code %d", code)
	}
	deny := kadm.NewACLs().Topics("orders").Deny("User:*").DenyHosts("*").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternLiteral)
	if _, err := adm.CreateACLs(t.Context(), deny); err != nil {
		t.Fatal(err)
	}
	if code := write(); code != codeTopicAuthorizationFailed {
		t.Errorf("denied: code %d", code)
	}
}

func TestUsersAreMadeByAdminCallsAndLogIn(t *testing.T) {
	ts := newTestServer(t, withACLs, func(_ *broker.Config, c *Config) {
		c.Listeners[0].SASL = []string{Plain, ScramSHA256, ScramSHA512}
	})
	adm := ts.admin()
	put := func(name string, m kadm.ScramMechanism, iterations int32, password string) error {
		t.Helper()
		got, err := adm.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: m, Iterations: iterations, Password: password}})
		if err != nil {
			t.Fatal(err)
		}
		return got[name].Err
	}
	login := func(m kgo.Opt) error { return ts.kgo(m).Ping(t.Context()) }
	with := func(password string) kgo.Opt {
		return kgo.SASL(scram.Auth{User: "dora", Pass: password}.AsSha512Mechanism())
	}
	if err := login(with("first")); err == nil {
		t.Error("dora came in before she was there")
	}
	if err := put("dora", kadm.ScramSha512, 4096, "first"); err != nil {
		t.Fatal(err)
	}
	if err := login(with("first")); err != nil {
		t.Errorf("dora: %v", err)
	}
	if err := put("dora", kadm.ScramSha512, 8192, "second"); err != nil {
		t.Fatal(err)
	}
	if login(with("first")) == nil || login(with("second")) != nil {
		t.Error("the old password is as good as the new one")
	}
	weak := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = "dora", 1, 4095, []byte("salt"), []byte("salted")
	weak.Upsertions = append(weak.Upsertions, u)
	if got := ts.login("root").do(weak).(*kmsg.AlterUserSCRAMCredentialsResponse).Results[0]; got.ErrorCode != codeUnacceptableCredential {
		t.Errorf("4095 iterations: code %d, expected UNACCEPTABLE_CREDENTIAL", got.ErrorCode)
	}
	got, err := adm.DescribeUserSCRAMs(t.Context(), "dora", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	if d := got["dora"]; d.Err != nil || len(d.CredInfos) != 1 || d.CredInfos[0].Iterations != 8192 || d.CredInfos[0].Mechanism != kadm.ScramSha512 {
		t.Errorf("dora: %v", d)
	}
	if err := got["nobody"].Err; err != kerr.ResourceNotFound {
		t.Errorf("nobody: %v", err)
	}
	if _, err := adm.AlterUserSCRAMs(t.Context(), []kadm.DeleteSCRAM{{User: "dora", Mechanism: kadm.ScramSha512}}, nil); err != nil {
		t.Fatal(err)
	}
	if login(with("second")) == nil {
		t.Error("dora came in after she was removed")
	}
}

func TestUsersNamedTwiceAreRefused(t *testing.T) {
	ts := newTestServer(t, withSASL())
	c := ts.dial()
	c.handshake(1, Plain)
	c.token(2, alice)
	req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	for _, name := range []string{"bob", "bob", "carol"} {
		u := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
		u.Name = name
		req.Users = append(req.Users, u)
	}
	resp := c.do(req).(*kmsg.DescribeUserSCRAMCredentialsResponse)
	if len(resp.Results) != 2 || resp.Results[0].ErrorCode != codeDuplicateResource || resp.Results[1].ErrorCode != 0 {
		t.Errorf("%+v", resp.Results)
	}
}

func TestQuotasAreSetShownAndRemoved(t *testing.T) {
	ts := newTestServer(t, withACLs)
	adm := ts.admin()
	user := kadm.ClientQuotaEntity{{Type: "user", Name: str("alice")}}
	anyone := kadm.ClientQuotaEntity{{Type: "user"}, {Type: "client-id", Name: str("app")}}
	set := func(e kadm.ClientQuotaEntity, ops ...kadm.AlterClientQuotaOp) error {
		t.Helper()
		got, err := adm.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{Entity: e, Ops: ops}})
		if err != nil {
			t.Fatal(err)
		}
		return got[0].Err
	}
	if err := set(user, kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Value: 1000}, kadm.AlterClientQuotaOp{Key: "request_percentage", Value: 12.5}); err != nil {
		t.Fatal(err)
	}
	if err := set(anyone, kadm.AlterClientQuotaOp{Key: "consumer_byte_rate", Value: 2000}); err != nil {
		t.Fatal(err)
	}
	if err := set(user, kadm.AlterClientQuotaOp{Key: "nonsense", Value: 1}); err != kerr.InvalidRequest {
		t.Errorf("a strange key: %v", err)
	}
	show := func(components ...kadm.DescribeClientQuotaComponent) kadm.DescribedClientQuotas {
		t.Helper()
		got, err := adm.DescribeClientQuotas(t.Context(), false, components)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := show(kadm.DescribeClientQuotaComponent{Type: "user", MatchName: str("alice"), MatchType: kmsg.QuotasMatchTypeExact}); len(got) != 1 || len(got[0].Values) != 2 || got[0].Values[1].Value != 12.5 {
		t.Errorf("alice: %+v", got)
	}
	if got := show(kadm.DescribeClientQuotaComponent{Type: "client-id", MatchType: kmsg.QuotasMatchTypeAny}); len(got) != 1 || len(got[0].Entity) != 2 {
		t.Errorf("client ids: %+v", got)
	}
	if got := show(); len(got) != 2 {
		t.Errorf("all: %+v", got)
	}
	if err := set(user, kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Remove: true}, kadm.AlterClientQuotaOp{Key: "request_percentage", Remove: true}); err != nil {
		t.Fatal(err)
	}
	if got := show(); len(got) != 1 {
		t.Errorf("after alice's are removed: %+v", got)
	}
}

// What one check costs with a handful of bindings.
func BenchmarkMay(b *testing.B) {
	ts := newTestServer(b, withACLs)
	ts.grant(topicRight(2), groupRight(3))
	r := &request{conn: &conn{srv: ts.srv, principal: "User:alice", host: "127.0.0.1"}}
	b.ReportAllocs()
	for b.Loop() {
		r.may(3, 2, secret)
	}
}
