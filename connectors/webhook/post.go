package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

const (
	excerptBytes = 4 << 10  // of an answer that is looked at
	shownBytes   = 400      // of it that is shown
	drainBytes   = 64 << 10 // of it that is read, to use the connection again
)

// rejectedError is an error that no repetition cures: the record's fault.
type rejectedError struct{ err error }

func (e *rejectedError) Error() string { return e.err.Error() }

// answerError is an answer after which the post is repeated.
type answerError struct {
	status int
	text   string
	wait   time.Duration
}

func (e *answerError) Error() string { return e.text }

// postOne posts one record. It returns nil if the endpoint has acknowledged it,
// a *rejectedError if it never will, an *answerError for another answer, and
// any other error if there was none.
func (s *Sink) postOne(ctx context.Context, r *connectors.Record, secrets *secrets) error {
	if r.Value == nil {
		return nil
	}
	a, err := s.alert(r)
	if err != nil {
		return &rejectedError{err}
	}
	body, err := s.body(a)
	if err != nil {
		return &rejectedError{err}
	}
	if s.limiter != nil {
		if err := s.limiter.Wait(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := s.request(ctx, a, body, secrets)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return s.noAnswer(err, secrets)
	}
	defer resp.Body.Close()
	return s.answer(resp, secrets)
}

func (s *Sink) request(ctx context.Context, a *Alert, body []byte, secrets *secrets) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("cannot make a request of the URL")
	}
	// The transport must not repeat a post by itself: repeats are the engine's,
	// with its backoff and its counts.
	req.GetBody = nil
	for name, values := range secrets.headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", s.cfg.ContentType)
	req.Header.Set("Accept", "*/*")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "millstream")
	}
	req.Header.Set(IdempotencyHeader, a.ID)
	if secrets.key != "" {
		req.Header.Set(SignatureHeader, Sign(secrets.key, s.now(), body))
	}
	return req, nil
}

// noAnswer says what kept an answer away, without the URL that the HTTP client
// puts into its errors.
func (s *Sink) noAnswer(err error, secrets *secrets) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return connectors.Transient(fmt.Errorf("post to %s: no answer within %v", s.place(), s.cfg.Timeout))
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the connection was closed before an answer came")
	}
	return fmt.Errorf("post to %s: %s", s.place(), secrets.hide(err.Error()))
}

// place is what may be shown of the endpoint.
func (s *Sink) place() string { return s.url.Scheme + "://" + s.url.Host }

// answer says what a response means for its record.
func (s *Sink) answer(resp *http.Response, secrets *secrets) error {
	excerpt, _ := io.ReadAll(io.LimitReader(resp.Body, excerptBytes))
	io.CopyN(io.Discard, resp.Body, drainBytes-excerptBytes)
	status := resp.StatusCode
	if status/100 == 2 {
		return nil
	}
	text := fmt.Sprintf("post to %s: %s", s.place(), resp.Status)
	if shown := shorten(secrets.hide(string(excerpt))); shown != "" {
		text += ": " + shown
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status/100 == 5:
		return &answerError{status: status, text: text, wait: min(retryAfter(resp.Header, s.now()), s.cfg.MaxRetryAfter)}
	case status/100 == 3:
		text += "; redirects are not followed: set the URL to where it leads"
		if to, err := resp.Location(); err == nil {
			text += ", a path on " + to.Scheme + "://" + to.Host
		}
	}
	return &rejectedError{errors.New(text)}
}

// retryAfter reads the header Retry-After, seconds or an HTTP date (RFC 9110,
// section 10.2.3); 0 if there is none to follow.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		const most = int64(365 * 24 * time.Hour / time.Second)
		return time.Duration(max(0, min(seconds, most))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// shorten makes one short printable line of an answer's beginning.
func shorten(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
	if len(text) > shownBytes {
		text = strings.ToValidUTF8(text[:shownBytes], "") + "..."
	}
	return text
}
