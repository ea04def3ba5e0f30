package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

const someURL = "https://hooks.test/services/T0KEN"

// made is what a sink with this template makes of a value.
func made(t *testing.T, template, value string) (id, body string, err error) {
	t.Helper()
	s, err := New(Config{URL: connectors.NewSecret(someURL), Template: template})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context(), connectors.SinkContext{App: "app", Name: "hook"}); err != nil {
		t.Fatal(err)
	}
	r := connectors.Record{Topic: "alerts", Partition: 2, View: record.View{Key: []byte("k"), Value: []byte(value), Offset: 7, Timestamp: 1_767_225_600_500,
		Headers: []record.Header{{Key: "trace", Value: []byte("abc")}}}}
	a, err := s.alert(&r)
	if err != nil {
		return "", "", err
	}
	b, err := s.body(a)
	return a.ID, string(b), err
}

const (
	breach = `{"kind":"breach","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","key":"web-1","count":5,"users":["root","<b>"],"addresses":["1.2.3.4"]}`
	firing = `{"id":"app/invalid/web-1/x","incident":"app/invalid/web-1/x","kind":"invalid","status":"firing","key":"web-1","starts_at":"2026-01-01T00:00:10Z","value":5,"count":5,"labels":{"severity":"page"},"data":{"users":["root"]}}`
	ended  = `{"id":"app/invalid/web-1/x/2","incident":"app/invalid/web-1/x","kind":"invalid","status":"resolved","key":"web-1","starts_at":"2026-01-01T00:00:10Z","ends_at":"2026-01-01T00:05:00Z","value":0,"count":0,"labels":{"severity":"page"}}`
)

func TestBodies(t *testing.T) {
	for _, c := range []struct{ name, template, value, id, body string }{
		{"generic", Generic, breach, "app/breach/web-1/2026-01-01T00:00:00Z",
			`{"id":"app/breach/web-1/2026-01-01T00:00:00Z",` + breach[1:]},
		{"generic with an id", Generic, firing, "app/invalid/web-1/x", firing},
		{"generic of anything", Generic, ` { "n" : 1 , "big" : 12345678901234567890 } `, "app/alerts/2/7", `{"id":"app/alerts/2/7","n":1,"big":12345678901234567890}`},
		{"generic of nothing", Generic, `{}`, "app/alerts/2/7", `{"id":"app/alerts/2/7"}`},
		{"slack", Slack, breach, "app/breach/web-1/2026-01-01T00:00:00Z",
			`{"text":"breach: web-1, 5 records from 2026-01-01T00:00:00Z to 2026-01-01T00:01:00Z; users root, &lt;b&gt;; addresses 1.2.3.4"}`},
		{"slack of an event", Slack, firing, "app/invalid/web-1/x", `{"text":"invalid firing: web-1, 5 records; users root"}`},
		{"alertmanager, firing", Alertmanager, firing, "app/invalid/web-1/x",
			`[{"labels":{"alertname":"invalid","app":"app","key":"web-1","severity":"page"},"annotations":{"count":"5","id":"app/invalid/web-1/x","incident":"app/invalid/web-1/x","summary":"invalid firing: web-1, 5 records; users root","value":"5"},"startsAt":"2026-01-01T00:00:10Z"}]`},
		{"alertmanager, resolved", Alertmanager, ended, "app/invalid/web-1/x/2",
			`[{"labels":{"alertname":"invalid","app":"app","key":"web-1","severity":"page"},"annotations":{"count":"0","id":"app/invalid/web-1/x/2","incident":"app/invalid/web-1/x","summary":"invalid resolved: web-1, 0 records","value":"0"},"startsAt":"2026-01-01T00:00:10Z","endsAt":"2026-01-01T00:05:00Z"}]`},
		{"one's own", `{"host":{{json .Value.key}},"n":{{.Value.count}},"first":{{json (get .Value "users.0")}},"none":{{json (get .Value "no.such")}},"who":{{json (join "+" .Value.users)}},` +
			`"else":{{json (get .Value "x" | default "-")}},"at":{{json (rfc3339 "1767225600500")}},"stood":"{{.Topic}}-{{.Partition}}@{{.Offset}} {{.Timestamp}} {{.Headers.trace}} {{.App}} {{.Sink}} {{.Key}}"}`,
			breach, "app/breach/web-1/2026-01-01T00:00:00Z",
			`{"host":"web-1","n":5,"first":"root","none":null,"who":"root+<b>","else":"-","at":"2026-01-01T00:00:00.5Z","stood":"alerts-2@7 2026-01-01T00:00:00.5Z abc app hook k"}`},
	} {
		for range 2 {
			id, body, err := made(t, c.template, c.value)
			if err != nil || id != c.id || body != c.body {
				t.Errorf("%s: %v\nid   %s\nbody %s\nexpected\nid   %s\nbody %s", c.name, err, id, body, c.id, c.body)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("%s: not JSON: %s", c.name, body)
			}
		}
	}
}

func TestRecordsThatMakeNoBody(t *testing.T) {
	for _, c := range []struct{ name, template, value, says string }{
		{"no JSON", Generic, `hello`, "the value is not JSON"},
		{"half of it", Generic, `{"a":`, "the value is not JSON"},
		{"more than one", Generic, `{} {}`, "something follows its end"},
		{"empty", Generic, ``, "the value is not JSON"},
		{"a list", Generic, `[1]`, "the value is not a JSON object: give a template of your own"},
		{"a missing member", `{"a":{{.Value.nothing}}}`, `{}`, `map has no entry for key "nothing"`},
		{"no JSON made", `{"a":{{.Value.text}}}`, `{"text":"x"}`, "the template's body is not JSON"},
		{"a time that is none", `{{rfc3339 .Value.at}}`, `{"at":"soon"}`, "neither RFC 3339 nor milliseconds"},
	} {
		if _, body, err := made(t, c.template, c.value); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v; expected an error with %q", c.name, body, err, c.says)
		}
	}
}

func TestIDsFitIntoAHeader(t *testing.T) {
	long := strings.Repeat("k", 4000)
	for _, id := range []string{"app/breach/a b/1", "new\nline", "100%", "h\u00f6st", "\x00\x7f\xff", long, long + "x"} {
		safe := safeID(id)
		if len(safe) > maxID || strings.ContainsFunc(safe, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%.40q becomes %.40q", id, safe)
		}
	}
	if got := safeID("a b%/\u00f6"); got != "a%20b%25/%C3%B6" {
		t.Errorf("got %s", got)
	}
	if safeID(long) == safeID(long+"x") {
		t.Error("two long ids become one")
	}
}

func TestEveryMistakeInTheConfigurationIsReported(t *testing.T) {
	t.Setenv("MILLSTREAM_EMPTY", "")
	_, err := New(Config{
		URL: connectors.NewSecret("ftp://user:T0KEN@hooks.test/T0KEN"), Template: "{{nothing}}", Timeout: -1, MaxUncommitted: -1, Rate: -1,
		Headers: map[string]connectors.Secret{"a b": {}, "idempotency-key": {}, "X-Token": connectors.NewSecret("a\nb-T0KEN")},
		Secret:  connectors.NewSecret("literal:x"), TLS: TLS{CAFile: "/no/such/file", KeyFile: "x"},
	})
	if err == nil {
		t.Fatal("New takes it")
	}
	for _, want := range []string{`scheme "ftp"`, `function "nothing" not defined`, "Timeout", "MaxUncommitted", "Rate", `"a b" is no header name`,
		"Idempotency-Key is set by the sink itself", "header X-Token", "/no/such/file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "T0KEN") {
		t.Errorf("a secret is shown: %v", err)
	}
	for _, u := range []string{"", "env:MILLSTREAM_EMPTY", "http://", "://T0KEN", "hooks.test/T0KEN", "http://a b/T0KEN"} {
		if _, err := New(Config{URL: connectors.NewSecret(u)}); err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("URL %q: %v", u, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	at := time.Unix(1_767_225_600, 0)
	sig := Sign("secret", at, []byte(`{"a":1}`))
	// printf '1767225600.{"a":1}' | openssl dgst -sha256 -hmac secret
	if want := "t=1767225600,v1=96a067a1c95eb143fc00b9097bcfcbcd5456adda508c443ff219748e764dbed7"; sig != want {
		t.Errorf("signature %s, expected %s", sig, want)
	}
	for _, c := range []struct {
		name, secret, sig, body string
		after                   time.Duration
		ok                      bool
	}{
		{"right", "secret", sig, `{"a":1}`, time.Minute, true},
		{"another body", "secret", sig, `{"a":2}`, 0, false},
		{"another secret", "secrets", sig, `{"a":1}`, 0, false},
		{"another time", "secret", strings.Replace(sig, "t=1767225600", "t=1767225601", 1), `{"a":1}`, 0, false},
		{"too old", "secret", sig, `{"a":1}`, 6 * time.Minute, false},
		{"no signature", "secret", "", `{"a":1}`, 0, false},
		{"no hex", "secret", "t=1767225600,v1=zz", `{"a":1}`, 0, false},
	} {
		if err := Verify(c.secret, c.sig, []byte(c.body), at.Add(c.after), 5*time.Minute); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "0": 0, "-5": 0, "x": 0, "Thu, 01 Jan 2026 00:02:00 GMT": 2 * time.Minute, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
		"99999999999999": 365 * 24 * time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, expected %v", text, got, want)
		}
	}
}
