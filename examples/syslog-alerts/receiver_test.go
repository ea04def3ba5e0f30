package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// receiver is a webhook's endpoint that keeps what it gets, and misbehaves as
// endpoints do: it answers 500 or 429, hangs, or takes a post and drops the
// connection before the answer.
type receiver struct {
	*httptest.Server

	mu      sync.Mutex
	rng     *rand.Rand
	moody   bool
	posts   int                 // all
	failed  int                 // that got no 2xx
	bodies  map[string]string   // by id, of the first post
	differs []string            // ids whose repeats have another body
	headers map[string][]string // names of headers, with their values
}

func newReceiver(t *testing.T, moody bool) *receiver {
	t.Helper()
	r := &receiver{moody: moody, rng: rand.New(rand.NewPCG(11, 13)), bodies: map[string]string{}, headers: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *receiver) behave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moody = false
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the service was killed in the middle: nothing has arrived
	}
	mood := r.take(req.Header, string(body))
	switch mood {
	case 0, 1:
		w.WriteHeader(http.StatusInternalServerError)
	case 2:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case 3:
		<-req.Context().Done() // until who posted gives up
	case 4, 5:
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
}

// take keeps a post and says how to answer it.
func (r *receiver) take(header http.Header, body string) (mood int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := header.Get("Idempotency-Key")
	r.posts++
	if before, ok := r.bodies[id]; !ok {
		r.bodies[id] = body
	} else if before != body {
		r.differs = append(r.differs, id)
	}
	for name, values := range header {
		r.headers[name] = append(r.headers[name], values...)
	}
	if mood = 99; r.moody {
		mood = r.rng.IntN(50)
	}
	if mood <= 5 {
		r.failed++
	}
	return mood
}

// got is the number of alerts that have arrived.
func (r *receiver) got() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodies)
}

// wantEach checks that each alert of a log has arrived, with its id and body,
// and that no more was repeated than may be: what failed, and after each kill
// what was not committed.
func (r *receiver) wantEach(t *testing.T, alerts []string, kills, uncommitted int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range alerts {
		var a Alert
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		id := strings.Join([]string{"syslog-alerts", a.Kind, a.Key, a.WindowStart.Format("2006-01-02T15:04:05Z07:00")}, "/")
		var got map[string]any
		if err := json.Unmarshal([]byte(r.bodies[id]), &got); err != nil {
			t.Fatalf("alert %s: posted %q: %v", id, r.bodies[id], err)
		}
		for _, name := range []string{"id", "kind", "window_start", "window_end", "key", "count", "users", "addresses"} {
			if _, has := got[name]; !has || len(got) != 8 {
				t.Fatalf("alert %s: posted %s, want eight members with %s", id, r.bodies[id], name)
			}
		}
		if got["id"] != id || got["kind"] != a.Kind || got["key"] != a.Key || got["count"] != float64(a.Count) || len(got["users"].([]any)) != len(a.Users) {
			t.Errorf("alert %s: posted %s", text, r.bodies[id])
		}
	}
	if len(r.bodies) != len(alerts) {
		t.Errorf("%d alerts arrived, %d are in the log", len(r.bodies), len(alerts))
	}
	if len(r.differs) > 0 {
		t.Errorf("repeats of %v have another body", slices.Compact(r.differs))
	}
	repeats := r.posts - len(r.bodies)
	if most := r.failed + kills*uncommitted; repeats > most {
		t.Errorf("%d posts were repeated, more than %d failed ones + %d kills x %d", repeats, r.failed, kills, uncommitted)
	}
	t.Logf("%d alerts in %d posts: %d failed, %d repeated", len(alerts), r.posts, r.failed, repeats)
}
