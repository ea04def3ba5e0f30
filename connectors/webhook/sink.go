package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/millstream-io/millstream/connectors"
)

// Sink posts records.
type Sink struct {
	cfg      Config
	url      *url.URL
	client   *http.Client
	template *template.Template
	json     bool // the body has to be JSON
	limiter  *rate.Limiter
	now      func() time.Time
	context  connectors.SinkContext
}

var (
	_ connectors.Sink    = (*Sink)(nil)
	_ connectors.Limiter = (*Sink)(nil)
)

// Open keeps the context. It does not connect: what is wrong with the endpoint
// shows at the first post, which waits for it as long as it takes.
func (s *Sink) Open(_ context.Context, cfg connectors.SinkContext) error {
	s.context = cfg
	return nil
}

// Limits bound what a kill can repeat.
func (s *Sink) Limits() connectors.Limits {
	return connectors.Limits{MaxRecords: s.cfg.MaxUncommitted, CommitEach: true}
}

// Close drops idle connections.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// work is one Write.
type work struct {
	s       *Sink
	records []connectors.Record
	secrets secrets

	mu       sync.Mutex
	rejected []connectors.RecordError
	again    []int
	err      error         // of the first record that comes again
	wait     time.Duration // the longest Retry-After
	halted   bool          // the endpoint does not take posts now: no more of them
}

// Write posts the records: those of one key one after the other, different keys
// side by side. When the endpoint cannot be reached, or asks to wait, what is not
// posted yet is left for the next attempt.
func (s *Sink) Write(ctx context.Context, records []connectors.Record) error {
	secrets, err := s.reveal()
	if err != nil {
		return err
	}
	w := &work{s: s, records: records, secrets: secrets}
	var g errgroup.Group
	g.SetLimit(s.cfg.Concurrency)
	for _, lane := range lanes(records) {
		g.Go(func() error {
			w.post(ctx, lane)
			return nil
		})
	}
	g.Wait()
	if len(w.rejected) == 0 && len(w.again) == 0 {
		return nil
	}
	slices.Sort(w.again)
	slices.SortFunc(w.rejected, func(a, b connectors.RecordError) int { return a.Index - b.Index })
	if w.wait > 0 {
		w.err = &connectors.RetryAfterError{Wait: w.wait, Err: w.err}
	}
	return &connectors.WriteError{Rejected: w.rejected, Again: w.again, Err: w.err}
}

// lanes are the records' indexes by key, in the order of their first ones; a
// record without a key is a lane of its own.
func lanes(records []connectors.Record) (all [][]int) {
	byKey := map[string]int{}
	for i := range records {
		if records[i].Key == nil {
			all = append(all, []int{i})
			continue
		}
		n, ok := byKey[string(records[i].Key)]
		if !ok {
			n = len(all)
			byKey[string(records[i].Key)] = n
			all = append(all, nil)
		}
		all[n] = append(all[n], i)
	}
	return all
}

// post posts the records of one lane until one of them has to come again.
func (w *work) post(ctx context.Context, lane []int) {
	for n, i := range lane {
		if w.stopped() {
			w.comeAgain(lane[n:], nil)
			return
		}
		err := w.s.postOne(ctx, &w.records[i], &w.secrets)
		var rejected *rejectedError
		switch {
		case err == nil:
		case errors.As(err, &rejected):
			w.reject(i, rejected.err)
		default:
			w.comeAgain(lane[n:], err)
			return
		}
	}
}

func (w *work) stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.halted
}

func (w *work) reject(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rejected = append(w.rejected, connectors.RecordError{Index: i, Err: err})
}

// comeAgain leaves records for the next attempt; err is why the first of them was not taken.
func (w *work) comeAgain(lane []int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again = append(w.again, lane...)
	if err == nil {
		return
	}
	if w.err == nil {
		w.err = err
	}
	var answer *answerError
	if !errors.As(err, &answer) {
		w.halted = true // no answer at all
		return
	}
	if answer.wait > 0 || answer.status == http.StatusTooManyRequests {
		w.halted, w.wait = true, max(w.wait, answer.wait)
	}
}

// secrets are revealed ones: of one Write, so that they can be exchanged.
type secrets struct {
	key     string
	headers http.Header
	all     []string // what must not be shown
}

// minSecret is the length from which on a secret is taken out of what is shown:
// shorter ones would take ordinary text out.
const minSecret = 4

func (s *Sink) reveal() (r secrets, err error) {
	if r.key, err = s.cfg.Secret.Reveal(); err != nil {
		return r, err
	}
	r.headers = http.Header{}
	for name, secret := range s.cfg.Headers {
		value, err := secret.Reveal()
		if err == nil && !headerValue(value) {
			err = errors.New("its value has characters that a header cannot carry")
		}
		if err != nil {
			return r, errors.Join(errors.New("header "+name), err)
		}
		r.headers.Set(name, value)
		r.all = append(r.all, value)
	}
	r.all = append(r.all, r.key)
	if s.url != nil {
		r.all = append(r.all, s.url.String(), s.url.RequestURI(), s.url.User.String())
	}
	slices.SortFunc(r.all, func(a, b string) int { return len(b) - len(a) })
	return r, nil
}

// hide takes the secrets out of a text.
func (r *secrets) hide(text string) string {
	for _, secret := range r.all {
		if len(secret) >= minSecret {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}
