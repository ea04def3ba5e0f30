package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millstream-io/millstream/connectors/connectortest"
)

// receiver is a webhook's endpoint, which misbehaves as endpoints do until it is
// told to behave: it answers 500, 503 or 429, hangs, or takes a post and drops
// the connection before the answer.
type receiver struct {
	*connectortest.Receiver
	url     string
	behaves atomic.Bool
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	misbehaving := connectortest.Misbehaving(11, 0.15, true)
	r.Receiver = connectortest.NewReceiver(func(n int, p *connectortest.Post) connectortest.Answer {
		if r.behaves.Load() {
			return connectortest.Answer{}
		}
		return misbehaving(n, p)
	})
	r.url = serve(t, r.Receiver)
	return r
}

// serve gives a receiver an address.
func serve(t *testing.T, r *connectortest.Receiver) (url string) {
	t.Helper()
	s := httptest.NewServer(r)
	t.Cleanup(func() {
		r.Release()
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// postedMembers are those of what -webhook-body alert posts.
var postedMembers = []string{"id", "kind", "window_start", "window_end", "key", "count", "users", "addresses"}

// wantEach checks that each alert of a log was posted, under its id and with all
// that it says, and nothing else; and that no more was repeated than what failed
// and, for each kill, what was not committed.
func (r *receiver) wantEach(t *testing.T, alerts []string, kills, uncommitted int) {
	t.Helper()
	posts := r.Posts()
	bodies := map[string][]byte{}
	for _, p := range posts {
		bodies[p.ID] = p.Body
	}
	want := connectortest.Account{Kills: kills, MaxUncommitted: uncommitted}
	for _, text := range alerts {
		var a Alert
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		id := strings.Join([]string{"syslog-alerts", a.Kind, a.Key, a.WindowStart.Format("2006-01-02T15:04:05Z")}, "/")
		want.IDs = append(want.IDs, id)
		wantPosted(t, id, a, bodies[id])
	}
	if err := connectortest.Judge(posts, want); err != nil {
		t.Error(err)
	}
	t.Log(connectortest.Tally(posts))
}

// wantPosted checks one body.
func wantPosted(t *testing.T, id string, a Alert, body []byte) {
	t.Helper()
	var members map[string]json.RawMessage
	var got struct {
		Alert
		ID string
	}
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("alert %s: posted %q: %v", id, body, err)
	}
	for _, name := range postedMembers {
		if _, has := members[name]; !has || len(members) != len(postedMembers) {
			t.Fatalf("alert %s: posted %s, want the members %v", id, body, postedMembers)
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("alert %s: posted %s: %v", id, body, err)
	}
	same := strings.Join(got.Users, " ") == strings.Join(a.Users, " ") && strings.Join(got.Addresses, " ") == strings.Join(a.Addresses, " ")
	if !same || got.ID != id || got.Kind != a.Kind || got.Key != a.Key || got.Count != a.Count || !got.WindowStart.Equal(a.WindowStart) || !got.WindowEnd.Equal(a.WindowEnd) {
		t.Errorf("alert %+v: posted %s", a, body)
	}
}
