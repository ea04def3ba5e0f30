package webhook_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/connectors/webhook"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

const endpoint = "http://receiver.test/hooks/T0KEN"

// bubble is a webhook sink and its receiver inside a synctest bubble: both are
// made by the first Open, which is in there.
type bubble struct {
	*webhook.Sink
	stop     func()
	cfg      webhook.Config
	answer   func(n int, p *connectortest.Post) connectortest.Answer
	receiver *connectortest.Receiver
	times    []time.Time // of the posts
}

func (b *bubble) Open(ctx context.Context, sc connectors.SinkContext) (err error) {
	if b.receiver == nil {
		b.receiver = connectortest.NewReceiver(func(n int, p *connectortest.Post) connectortest.Answer {
			b.times = append(b.times, time.Now()) // the receiver holds its lock
			return b.answer(n, p)
		})
		if b.cfg.URL.IsZero() {
			b.cfg.URL = connectors.NewSecret(endpoint)
		}
		b.cfg.Transport, b.stop = connectortest.ServePipes(b.receiver)
		if b.Sink, err = webhook.New(b.cfg); err != nil {
			return err
		}
	}
	return b.Sink.Open(ctx, sc)
}

// program only names the application and the topic: the sink reads it directly.
func program(t testing.TB) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	b.From[string, string]("alerts").Filter(func(string, string) bool { return false }).To("nothing")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// value is an alert's value and its id.
func value(key string, n int) (text, id string) {
	start := time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC).Format(time.RFC3339)
	return fmt.Sprintf(`{"kind":"breach","window_start":%q,"window_end":"z","key":%q,"count":%d}`, start, key, 5+n), fmt.Sprintf("app/breach/%s/%s", key, start)
}

// world runs alerts through a sink with the given configuration.
func world(t *testing.T, b *bubble, retry engine.Retry, f func(r *streamstest.Running, send func(key string, n int) (id string))) {
	t.Helper()
	o := streamstest.Options{
		Partitions: 1, Workers: 1, Engine: engine.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		Sinks: []engine.Sink{{Name: "hook", Topic: "alerts", Sink: b, Retry: retry}},
	}
	streamstest.Run(t, program(t), o, func(r *streamstest.Running) {
		r.T().Cleanup(func() { b.stop() }) // after the engine's end
		in := streamstest.Input[string, string](r, "alerts")
		f(r, func(key string, n int) string {
			text, id := value(key, n)
			in.Send(key, text, r.Now())
			return id
		})
	})
}

func TestAnswersDecideWhatIsPostedAgain(t *testing.T) {
	type a = connectortest.Answer
	for _, c := range []struct {
		name    string
		answers []a
		posts   int
		after   time.Duration // at least this long from the first post to the last
		dead    string        // what the dead letter's reason has in it
	}{
		{name: "200", answers: []a{{}}, posts: 1},
		{name: "204", answers: []a{{Status: 204}}, posts: 1},
		{name: "500 twice", answers: []a{{Status: 500}, {Status: 502}, {}}, posts: 3},
		{name: "429 with seconds", answers: []a{{Status: 429, RetryAfter: "30"}, {}}, posts: 2, after: 30 * time.Second},
		{name: "503 with a date", answers: []a{{Status: 503, RetryAfter: "Thu, 01 Jan 2026 00:05:00 GMT"}, {}}, posts: 2, after: 4 * time.Minute},
		{name: "429 with a year", answers: []a{{Status: 429, RetryAfter: "31536000"}, {}}, posts: 2, after: time.Hour},
		{name: "408", answers: []a{{Status: 408}, {}}, posts: 2},
		{name: "a hang", answers: []a{{Hang: true}, {}}, posts: 2, after: 10 * time.Second},
		{name: "a dropped connection", answers: []a{{Drop: true}, {}}, posts: 2},
		{name: "404", answers: []a{{Status: 404, Body: "no such <hook>\nhere"}}, posts: 1, dead: "404 Not Found: no such <hook> here"},
		{name: "400", answers: []a{{Status: 400, Body: "invalid_payload"}}, posts: 1, dead: "400 Bad Request: invalid_payload"},
		{name: "a redirect", answers: []a{{Status: 307, Location: "http://elsewhere.test/take?it=all"}}, posts: 1, dead: "307 Temporary Redirect; redirects are not followed: set the URL to where it leads, a path on http://elsewhere.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bubble{answer: connectortest.Script(c.answers...)}
			world(t, b, engine.Retry{}, func(r *streamstest.Running, send func(string, int) string) {
				id := send("web-1", 1)
				r.Advance(2 * time.Hour)
				posts := b.receiver.Posts()
				if len(posts) != c.posts {
					r.T().Fatalf("%d posts, expected %d: %s", len(posts), c.posts, connectortest.Tally(posts))
				}
				if err := connectortest.Judge(posts, connectortest.Account{IDs: []string{id}}); err != nil {
					r.T().Error(err)
				}
				if took := b.times[len(b.times)-1].Sub(b.times[0]); took < c.after {
					r.T().Errorf("the last post came %v after the first, expected at least %v", took, c.after)
				}
				letters := r.DeadLetters()
				if (c.dead != "") != (len(letters) == 1) {
					r.T().Fatalf("%d dead letters, expected one: %v", len(letters), c.dead != "")
				}
				if c.dead != "" {
					checkLetter(r.T(), letters[0], c.dead)
				}
				if err := r.Engine().Ready(); err != nil {
					r.T().Errorf("in the end it is not ready: %v", err)
				}
			})
		})
	}
}

func checkLetter(t testing.TB, l streamstest.DeadLetter, reason string) {
	t.Helper()
	text, _ := value("web-1", 1)
	want := streamstest.DeadLetter{Stage: "hook", Topic: "alerts", Partition: 0, Offset: 0}
	if l.Stage != want.Stage || l.Topic != want.Topic || l.Partition != want.Partition || l.Offset != want.Offset || string(l.Value) != text {
		t.Errorf("the dead letter says %+v, expected %+v and the record's value", l, want)
	}
	if want := "post to http://receiver.test: " + reason; l.Reason != want {
		t.Errorf("reason %q, expected %q", l.Reason, want)
	}
}

// While an endpoint is down, alerts wait in the log, /readyz says so, and then
// each is posted once, in order by key.
func TestAnEndpointThatIsDownLosesNothing(t *testing.T) {
	var up atomic.Bool
	b := &bubble{cfg: webhook.Config{Concurrency: 4}, answer: func(int, *connectortest.Post) connectortest.Answer {
		if !up.Load() {
			return connectortest.Answer{Status: 503}
		}
		return connectortest.Answer{}
	}}
	world(t, b, engine.Retry{}, func(r *streamstest.Running, send func(string, int) string) {
		var ids []string
		for n := range 60 {
			ids = append(ids, send([]string{"a", "b", "c"}[n%3], n))
		}
		r.Advance(time.Hour)
		if err := r.Engine().Ready(); err == nil || !strings.Contains(err.Error(), "sink hook is retrying since 2026-01-01T00:00:0") {
			r.T().Errorf("after an hour of 503 it is ready: %v", err)
		}
		snap := r.Engine().State().Sinks[0]
		if snap.State != "retrying" || snap.Error == "" || r.Now().Sub(snap.Since) < 59*time.Minute || !snap.LastSuccess.IsZero() ||
			snap.Lag < 60 || snap.Retries < 100 || snap.Errors < 100 || snap.Attempts < 100 {
			r.T().Errorf("after an hour of 503: %+v", snap)
		}
		up.Store(true)
		r.Advance(time.Minute)
		posts := b.receiver.Posts()
		if err := connectortest.Judge(posts, connectortest.Account{IDs: ids}); err != nil {
			r.T().Error(err)
		}
		inOrder(r.T(), posts, ids)
		if err := r.Engine().Ready(); err != nil {
			r.T().Errorf("not ready after it is up again: %v", err)
		}
		if snap := r.Engine().State().Sinks[0]; snap.Lag != 0 || snap.Records != 60 {
			r.T().Errorf("in the end: %+v", snap)
		}
	})
}

// inOrder checks that each key's alerts were acknowledged in their order.
func inOrder(t testing.TB, posts []connectortest.Post, ids []string) {
	t.Helper()
	last := map[byte]int{}
	for _, p := range posts {
		if !p.Answer.OK() {
			continue
		}
		key, n := p.ID[len("app/breach/")], slices.Index(ids, p.ID)
		if n < last[key] {
			t.Errorf("%s was acknowledged after a later one of its key", p.ID)
		}
		last[key] = n
	}
}

// A record that the endpoint fails on again and again holds up its key, not the
// others of its Write, and no later one of its key overtakes it.
func TestOneAlertThatFailsDoesNotRepeatTheOthers(t *testing.T) {
	failures := 0
	_, bad := value("b", 1)
	b := &bubble{answer: func(_ int, p *connectortest.Post) connectortest.Answer {
		if p.ID == bad && failures < 20 {
			failures++
			return connectortest.Answer{Status: 500}
		}
		return connectortest.Answer{}
	}}
	world(t, b, engine.Retry{}, func(r *streamstest.Running, send func(string, int) string) {
		var ids []string
		for n := range 40 {
			ids = append(ids, send([]string{"a", "b"}[n%2], n))
		}
		r.Advance(time.Hour)
		posts := b.receiver.Posts()
		if len(posts) != 40+20 {
			r.T().Errorf("%s, expected 20 repeats of one", connectortest.Tally(posts))
		}
		inOrder(r.T(), posts, ids)
	})
}

// With a bound, what still fails becomes a dead letter and the rest goes on.
func TestABoundedRetryEndsInTheDeadLetters(t *testing.T) {
	_, bad := value("b", 1)
	b := &bubble{answer: func(_ int, p *connectortest.Post) connectortest.Answer {
		if p.ID == bad {
			return connectortest.Answer{Status: 500, Body: "cannot"}
		}
		return connectortest.Answer{}
	}}
	world(t, b, engine.Retry{Attempts: 4}, func(r *streamstest.Running, send func(string, int) string) {
		for n := range 10 {
			send([]string{"a", "b"}[n%2], n)
		}
		r.Advance(time.Hour)
		letters := r.DeadLetters()
		if len(letters) != 1 || letters[0].Offset != 1 {
			r.T().Fatalf("dead letters %+v, expected one of offset 1", letters)
		}
		attempts := ""
		for _, h := range letters[0].Headers {
			if h.Key == connectors.HeaderAttempts {
				attempts = string(h.Value)
			}
		}
		if attempts != "4" && attempts != "5" { // three or four with others, one alone
			r.T().Errorf("the dead letter says %s attempts", attempts)
		}
		if snap := r.Engine().State().Sinks[0]; snap.Records != 9 || snap.DeadLetters != 1 {
			r.T().Errorf("%+v", snap)
		}
	})
}

// The HTTP transport would repeat a post with an Idempotency-Key by itself when
// a connection that it uses again is lost: without backoff, and uncounted.
func TestTheTransportRepeatsNothingByItself(t *testing.T) {
	type a = connectortest.Answer
	b := &bubble{cfg: webhook.Config{Concurrency: 1, MaxUncommitted: 1}, answer: connectortest.Script(a{}, a{Drop: true}, a{})}
	world(t, b, engine.Retry{}, func(r *streamstest.Running, send func(string, int) string) {
		send("a", 1)
		r.Advance(time.Second)
		send("a", 2)
		r.Advance(time.Minute)
		if snap := r.Engine().State().Sinks[0]; len(b.receiver.Posts()) != 3 || snap.Errors != 1 || snap.Retries != 1 {
			r.T().Errorf("%s; the engine counts %d errors and %d retries, expected 1 of each", connectortest.Tally(b.receiver.Posts()), snap.Errors, snap.Retries)
		}
	})
}

func TestTheRateLimitIsKept(t *testing.T) {
	b := &bubble{cfg: webhook.Config{Rate: 2, Burst: 3}, answer: connectortest.Script(connectortest.Answer{})}
	world(t, b, engine.Retry{}, func(r *streamstest.Running, send func(string, int) string) {
		for n := range 23 {
			send(fmt.Sprint(n), n)
		}
		r.Advance(time.Hour)
		if len(b.times) != 23 {
			r.T().Fatalf("%d posts, expected 23", len(b.times))
		}
		for i := range b.times {
			if at := b.times[i].Sub(b.times[0]); at < time.Duration(i-3)*time.Second/2 {
				r.T().Errorf("post %d came after %v, too soon for 2 a second", i, at)
			}
		}
	})
}

// Kills at moments in virtual time, in the middle of posts that hang and waits
// for the next attempt, with a receiver that misbehaves.
func TestKillsRepeatNoMoreThanIsNotCommitted(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			const most = 5
			b := &bubble{cfg: webhook.Config{MaxUncommitted: most, Rate: 10, Timeout: 3 * time.Second}, answer: connectortest.Misbehaving(seed, 0.4, true)}
			world(t, b, engine.Retry{Most: 2 * time.Second}, func(r *streamstest.Running, send func(string, int) string) {
				var ids []string
				const kills = 12
				for kill := range kills {
					for n := range 20 {
						ids = append(ids, send(fmt.Sprint("key-", n%7), kill*20+n))
					}
					r.Advance(time.Duration(200+37*kill) * time.Millisecond * time.Duration(1+seed))
					r.Kill()
					r.Restart()
				}
				r.Advance(3 * time.Hour)
				posts := b.receiver.Posts()
				t.Log(connectortest.Tally(posts))
				if err := connectortest.Judge(posts, connectortest.Account{IDs: ids, Kills: kills, MaxUncommitted: most}); err != nil {
					r.T().Error(err)
				}
			})
		})
	}
}
