package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Answer is what a Receiver does with a post.
type Answer struct {
	Status     int    // default 200
	RetryAfter string // header Retry-After
	Location   string // header Location
	Body       string
	Hang       bool // no answer until the client gives up or Release is called
	Drop       bool // the post is taken, and the connection closed without an answer
}

// OK reports whether the client can know that its post was taken.
func (a Answer) OK() bool {
	return !a.Hang && !a.Drop && (a.Status == 0 || a.Status/100 == 2)
}

// Rejects reports whether the answer says never to come again.
func (a Answer) Rejects() bool {
	return !a.Hang && !a.Drop && (a.Status/100 == 3 || a.Status/100 == 4 && a.Status != http.StatusTooManyRequests && a.Status != http.StatusRequestTimeout)
}

// Post is one request that reached a Receiver.
type Post struct {
	ID     string // header Idempotency-Key
	Header http.Header
	Body   []byte
	Answer Answer
}

// Receiver is the other end of a webhook: it answers as it is told and keeps
// every post. It may be used from any goroutine.
type Receiver struct {
	answer func(n int, p *Post) Answer

	mu      sync.Mutex
	posts   []Post
	change  chan struct{} // closed at the next post
	release chan struct{} // closed by Release
	once    sync.Once
}

var _ http.Handler = (*Receiver)(nil)

// NewReceiver makes a receiver; answer gets the number of the post, from 0 on.
// A nil answer is 200 to everything.
func NewReceiver(answer func(n int, p *Post) Answer) *Receiver {
	if answer == nil {
		answer = func(int, *Post) Answer { return Answer{} }
	}
	return &Receiver{answer: answer, change: make(chan struct{}), release: make(chan struct{})}
}

// Script answers the posts in turn, and all that follow like the last.
func Script(answers ...Answer) func(int, *Post) Answer {
	return func(n int, _ *Post) Answer { return answers[min(n, len(answers)-1)] }
}

// Misbehaving answers a part of the posts, chosen by seed and number, with 500,
// 503 with a Retry-After of 0 seconds, a dropped connection or, if hang, with
// nothing at all; the others with 200.
func Misbehaving(seed uint64, part float64, hang bool) func(int, *Post) Answer {
	kinds := []Answer{{Status: 500, Body: "not today"}, {Status: 503, RetryAfter: "0"}, {Drop: true}, {Status: 429, RetryAfter: "0"}}
	if hang {
		kinds = append(kinds, Answer{Hang: true})
	}
	return func(n int, _ *Post) Answer {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		if r.Float64() >= part {
			return Answer{}
		}
		return kinds[r.IntN(len(kinds))]
	}
}

// ServeHTTP takes one post.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the client is gone before its post was here: there was none
	}
	p := Post{ID: req.Header.Get("Idempotency-Key"), Header: req.Header.Clone(), Body: body}
	r.mu.Lock()
	p.Answer = r.answer(len(r.posts), &p)
	r.posts = append(r.posts, p)
	close(r.change)
	r.change = make(chan struct{})
	r.mu.Unlock()
	switch a := p.Answer; {
	case a.Hang:
		select {
		case <-req.Context().Done():
		case <-r.release:
		}
		panic(http.ErrAbortHandler)
	case a.Drop:
		panic(http.ErrAbortHandler)
	default:
		if a.RetryAfter != "" {
			w.Header().Set("Retry-After", a.RetryAfter)
		}
		if a.Location != "" {
			w.Header().Set("Location", a.Location)
		}
		w.WriteHeader(max(a.Status, http.StatusOK))
		io.WriteString(w, a.Body)
	}
}

// Release ends all hanging posts, now and later.
func (r *Receiver) Release() { r.once.Do(func() { close(r.release) }) }

// Posts are copies of all posts so far.
func (r *Receiver) Posts() []Post {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.posts)
}

// Await waits until done says so of the posts so far, which it looks at after each.
func (r *Receiver) Await(ctx context.Context, done func(posts []Post) bool) error {
	for {
		r.mu.Lock()
		posts, change := r.posts[:len(r.posts):len(r.posts)], r.change
		r.mu.Unlock()
		if done(posts) {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("after %d posts: %w", len(posts), ctx.Err())
		}
	}
}

// Settled is a condition for Await: every one of these ids was answered with a
// 2xx, or with a rejection.
func Settled(ids []string) func([]Post) bool {
	missing := map[string]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	seen := 0
	return func(posts []Post) bool {
		for ; seen < len(posts); seen++ {
			if a := posts[seen].Answer; a.OK() || a.Rejects() {
				delete(missing, posts[seen].ID)
			}
		}
		return len(missing) == 0
	}
}

// Account is what a run shall have posted.
type Account struct {
	IDs            []string // each of them, and nothing else
	Kills          int      // ends of the process without a chance to commit
	MaxUncommitted int      // webhook.Config.MaxUncommitted
}

// Judge reports everything that is wrong about posts: an id that never arrived
// or is unknown, repeats with another body, and more repeats than failed answers
// plus MaxUncommitted for each kill.
func Judge(posts []Post, want Account) error {
	var errs []error
	add := func(format string, args ...any) {
		if len(errs) < 20 {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	known := map[string]bool{}
	for _, id := range want.IDs {
		known[id] = true
	}
	first := map[string]*Post{}
	taken := map[string]bool{}
	failed, repeats := 0, 0
	for i := range posts {
		p := &posts[i]
		if !p.Answer.OK() && !p.Answer.Rejects() {
			failed++
		} else {
			taken[p.ID] = true
		}
		if !known[p.ID] {
			add("post %d has the id %q, which is none of those expected", i, p.ID)
		}
		old, again := first[p.ID]
		if !again {
			first[p.ID] = p
			continue
		}
		repeats++
		if !bytes.Equal(old.Body, p.Body) {
			add("post %d repeats %s with another body:\n%s\n%s", i, p.ID, old.Body, p.Body)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if !taken[id] {
			add("%s was never answered for good (it arrived: %v)", id, first[id] != nil)
		}
	}
	if bound := failed + want.Kills*want.MaxUncommitted; repeats > bound {
		add("%d repeats, expected at most %d: %d failed answers and %d for each of %d kills", repeats, bound, failed, want.MaxUncommitted, want.Kills)
	}
	return errors.Join(errs...)
}

// Tally is a line for a test's log.
func Tally(posts []Post) string {
	kinds, ids := map[string]int{}, map[string]bool{}
	for i := range posts {
		a := posts[i].Answer
		kind := fmt.Sprint(max(a.Status, http.StatusOK))
		if a.Hang {
			kind = "hang"
		} else if a.Drop {
			kind = "drop"
		}
		kinds[kind]++
		ids[posts[i].ID] = true
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%s: %d", kind, kinds[kind]))
	}
	return fmt.Sprintf("%d posts of %d ids, %d repeats (%s)", len(posts), len(ids), len(posts)-len(ids), strings.Join(parts, ", "))
}
