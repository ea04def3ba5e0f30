package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

// Bounds of StoresHandler.
const (
	queriesAtOnce = 64     // more are told to come again
	limitDefault  = 100    // entries of an answer
	limitMost     = 100000 // likewise
	// writeTimeout is how long a client may take for one buffer of an answer.
	writeTimeout = 30 * time.Second
	answerBuffer = 32 << 10 // bytes
	retryAfter   = "1"      // seconds
)

// StoresHandler answers queries over HTTP, for programs in any language, for curl,
// and for the other instances of a cluster (which ask at Config.Advertise). It
// expects the whole path; mount it at /stores and /stores/, or use metrics.Handler.
//
//	GET /stores                                    all stores, and where their tasks run
//	GET /stores/STORE                              one of them
//	GET /stores/STORE/get?key=K                    of windows: &time=T, the window that holds T
//	GET /stores/STORE/range?from=K&to=K&limit=N    from <= key < to, task after task
//	GET /stores/STORE/fetch?key=K&from=T&to=T      a key's windows that start in [from, to)
//	GET /stores/STORE/all?limit=N                  of windows: &from=T&to=T, those that start there
//	POST /stores/STORE/raw/1                       for instances, see route_frames.go
//
// Answers are JSON (docs/queries.md) and reflect committed state only; each names
// the positions that it reflects. It asks nobody who the caller is.
func (e *Engine) StoresHandler() http.Handler {
	h := &storesHandler{e: e, slots: make(chan struct{}, queriesAtOnce)}
	mux := http.NewServeMux()
	for path, serve := range map[string]func(*answer, *http.Request) error{
		"GET /stores":                        h.list,
		"GET /stores/{store}":                h.describe,
		"GET /stores/{store}/get":            h.get,
		"GET /stores/{store}/range":          h.keys,
		"GET /stores/{store}/fetch":          h.fetch,
		"GET /stores/{store}/all":            h.all,
		"POST /stores/{store}/raw/{version}": h.raw,
		"/":                                  h.unknown,
	} {
		mux.HandleFunc(path, h.serve(serve))
	}
	return mux
}

type storesHandler struct {
	e     *Engine
	slots chan struct{}
}

// requestError is a mistake of whoever asks.
type requestError struct {
	code int
	text string
}

func (e *requestError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	var mistake *requestError
	var unreachable *UnreachableError
	switch {
	case errors.As(err, &mistake):
		return mistake.code
	case errors.Is(err, ErrUnknownStore):
		return http.StatusNotFound
	case errors.Is(err, errElsewhere):
		return http.StatusMisdirectedRequest
	case errors.Is(err, ErrRestoring), errors.Is(err, ErrNotRunning):
		return http.StatusServiceUnavailable
	case errors.As(err, &unreachable):
		return http.StatusBadGateway
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// serve calls f with a slot and sends what it wrote, or its error: as the whole
// answer as long as nothing has been sent.
func (h *storesHandler) serve(f func(*answer, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := &answer{w: w, rc: http.NewResponseController(w)}
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		default:
			a.fail(&requestError{http.StatusServiceUnavailable, fmt.Sprintf("%d queries are being answered already", queriesAtOnce)})
			a.end()
			return
		}
		if err := guarded(func() error { return f(a, r) }); err != nil {
			if statusOf(err) == http.StatusInternalServerError && r.Context().Err() == nil {
				h.e.logger.Error("a query failed", "path", r.URL.Path, "err", err)
			}
			a.fail(err)
		}
		a.end()
	}
}

// guarded turns a panic, which can only be that of a program's serde, into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, stack())
		}
	}()
	return f()
}

// answer is an HTTP answer that can still become an error until its first buffer
// is full. A client that takes none of it for writeTimeout ends it.
type answer struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	kind string // its Content-Type; empty: JSON
	buf  []byte
	sent bool
	err  error
	// broken writes an error after what was sent already.
	broken func(error)
	tasks  func() []Answer // what an error may tell too
}

func (a *answer) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	if len(a.buf) >= answerBuffer {
		a.flush(http.StatusOK)
	}
	return len(p), a.err
}

func (a *answer) flush(code int) {
	if a.err != nil {
		return
	}
	a.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // where the server cannot, it has bounds of its own
	if !a.sent {
		kind := a.kind
		if kind == "" || code != http.StatusOK {
			kind = "application/json"
		}
		a.w.Header().Set("Content-Type", kind)
		a.w.Header().Set("Cache-Control", "no-store")
		if code == http.StatusServiceUnavailable {
			a.w.Header().Set("Retry-After", retryAfter)
		}
		a.w.WriteHeader(code)
		a.sent = true
	}
	_, a.err = a.w.Write(a.buf)
	a.buf = a.buf[:0]
}

// fail makes err the answer, or the end of what has been sent.
func (a *answer) fail(err error) {
	if a.sent {
		if a.broken != nil {
			a.broken(err)
		}
		return
	}
	text := err.Error()
	if statusOf(err) == http.StatusInternalServerError {
		text, _, _ = strings.Cut(text, "\n") // the stack is for the log
	}
	out := struct {
		Error string       `json:"error"`
		Tasks []taskAnswer `json:"tasks,omitempty"`
	}{Error: text}
	if a.tasks != nil {
		out.Tasks = taskAnswers(a.tasks())
	}
	b, _ := json.Marshal(out) // strings and numbers
	a.buf = append(append(a.buf[:0], b...), '\n')
	a.flush(statusOf(err))
}

// end sends what is left. The deadline is taken back: the connection goes on.
func (a *answer) end() {
	if len(a.buf) > 0 || !a.sent {
		a.flush(http.StatusOK)
	}
	a.rc.Flush()
	a.rc.SetWriteDeadline(time.Time{})
}

func (a *answer) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	a.Write(append(b, '\n'))
	return nil
}

func (h *storesHandler) unknown(_ *answer, r *http.Request) error {
	return &requestError{http.StatusNotFound, fmt.Sprintf("%s %s: expected GET of /stores, /stores/STORE, or /stores/STORE/ with get, range, fetch or all", r.Method, r.URL.Path)}
}

// view finds the store that a request names.
func (h *storesHandler) view(a *answer, r *http.Request) (*Query, *StoreView, error) {
	q := h.e.Query(r.Context())
	a.tasks = q.Answers
	v, err := q.StoreView(r.PathValue("store"))
	return q, &v, err
}

// params are the parameters of a request, of which only some are known.
func params(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query string: %v", err)
	}
	for name, v := range values {
		if !slices.Contains(known, name) {
			return nil, badRequest("parameter %q, expected %s", name, strings.Join(known, ", "))
		}
		if len(v) > 1 {
			return nil, badRequest("parameter %q is there %d times", name, len(v))
		}
	}
	return values, nil
}

// keyParam is the encoded key that NAME or NAME_base64 stands for; nil if neither is there.
func keyParam(values url.Values, name string, keys serde.Text) ([]byte, error) {
	encoded := name + "_base64"
	switch {
	case values.Has(name) && values.Has(encoded):
		return nil, badRequest("%s and %s: expected one of them", name, encoded)
	case values.Has(encoded):
		text := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(values.Get(encoded)), "=")
		b, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, badRequest("%s: %v", encoded, err)
		}
		return append([]byte{}, b...), nil
	case !values.Has(name):
		return nil, nil
	case keys == nil:
		return nil, badRequest("%s: keys of this store have no text, give their bytes as %s", name, encoded)
	}
	b, err := keys.Parse([]byte{}, values.Get(name))
	if err != nil {
		return nil, badRequest("%s: %v", name, err)
	}
	return b, nil
}

// timeParam is a time in milliseconds: RFC 3339 or a number of milliseconds since 1970.
func timeParam(values url.Values, name string, none int64) (int64, error) {
	text := values.Get(name)
	if text == "" {
		return none, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	// A plus sign that was not escaped has become a space.
	t, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return 0, badRequest("%s: %q, expected a time such as 2026-03-02T12:00:00Z or milliseconds since 1970", name, text)
	}
	return t.UnixMilli(), nil
}

func limitParam(values url.Values) (uint64, error) {
	text := values.Get("limit")
	if text == "" {
		return limitDefault, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < 1 || n > limitMost {
		return 0, badRequest("limit: %q, expected 1 to %d", text, limitMost)
	}
	return n, nil
}

// taskAnswer is Answer as JSON.
type taskAnswer struct {
	Task         string        `json:"task"`
	Instance     string        `json:"instance,omitempty"`
	StreamTimeMS *int64        `json:"stream_time_ms"` // null: none yet
	Positions    []InputOffset `json:"positions"`
}

func taskAnswers(answers []Answer) []taskAnswer {
	out := []taskAnswer{}
	for _, a := range answers {
		t := taskAnswer{Task: a.Task, Instance: a.Instance, Positions: a.Positions}
		if a.StreamTimeMS != math.MinInt64 {
			t.StreamTimeMS = &a.StreamTimeMS
		}
		out = append(out, t)
	}
	return out
}
