package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// queryTimeout bounds how long another instance may be silent while it is asked.
const queryTimeout = 10 * time.Second

// rawContent is the media type of questions and answers between instances.
const rawContent = "application/x-millstream-query"

// queryClient asks other instances; the engines of a process share its connections.
var queryClient = sync.OnceValue(func() *http.Client {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Client{
		Transport: &http.Transport{ // no proxy: instances reach each other
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, ResponseHeaderTimeout: queryTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
})

var errSilent = fmt.Errorf("it has been silent for %v", queryTimeout)

// asked is an answer under way.
type asked struct {
	at     holder
	frames frameReader
	body   io.Closer
	ctx    context.Context
	cancel context.CancelCauseFunc
	silent *time.Timer
}

// ask sends a question to an instance. Its errors are errElsewhere, a
// *RestoringError, or an *UnreachableError.
func (v *StoreView) ask(at holder, q question) (*asked, error) {
	q.app = v.app
	ctx, cancel := context.WithCancelCause(v.ctx)
	a := &asked{at: at, ctx: ctx, cancel: cancel, silent: time.AfterFunc(queryTimeout, func() { cancel(errSilent) })}
	u := url.URL{Scheme: "http", Host: at.endpoint, Path: "/stores/" + v.spec.Called() + "/raw/" + rawVersion}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(q.append(nil)))
	if err != nil {
		a.close()
		return nil, a.failed(err)
	}
	req.Header.Set("Content-Type", rawContent)
	resp, err := queryClient().Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // it says the address, too
		}
		err = a.broken(v, err)
		a.close()
		return nil, err
	}
	a.body = resp.Body
	a.frames.r = bufio.NewReaderSize(resp.Body, 32<<10)
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == rawContent {
		a.silent.Stop()
		return a, nil
	}
	defer a.close()
	return nil, a.refused(resp, v.task(q.partitions[0]).String())
}

// refused says why an instance does not answer.
func (a *asked) refused(resp *http.Response, task string) error {
	var said struct {
		Error string `json:"error"`
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what came of it is what there is
	if json.Unmarshal(b, &said) != nil || said.Error == "" {
		return a.failed(fmt.Errorf("HTTP status %s, not an answer of an instance: is %s the address of its HTTP server, and are its handlers mounted there?", resp.Status, a.at.endpoint))
	}
	switch resp.StatusCode {
	case http.StatusMisdirectedRequest:
		return errElsewhere
	case http.StatusServiceUnavailable:
		return &RestoringError{Task: task, Instance: a.at.instance}
	}
	return a.failed(errors.New(said.Error))
}

func (a *asked) failed(err error) error {
	return &UnreachableError{Instance: a.at.instance, Endpoint: a.at.endpoint, Err: err}
}

// broken is the reason of an error of the connection: the caller's own context, or
// the instance.
func (a *asked) broken(v *StoreView, err error) error {
	switch {
	case v.ctx.Err() != nil:
		return context.Cause(v.ctx)
	case errors.Is(context.Cause(a.ctx), errSilent):
		return a.failed(errSilent)
	}
	return a.failed(err)
}

func (a *asked) close() {
	a.silent.Stop()
	a.cancel(nil)
	if a.body != nil {
		a.body.Close()
	}
}

// each reads the answer: entry is called for each entry until it returns false.
func (a *asked) each(v *StoreView, entry func(key, value []byte) (bool, error)) error {
	defer a.close()
	for {
		a.silent.Reset(queryTimeout)
		kind, body, err := a.frames.next()
		a.silent.Stop()
		switch {
		case err == io.EOF:
			io.Copy(io.Discard, a.frames.r) // nothing: so that the connection can be used again
			return nil
		case err != nil:
			return a.broken(v, err)
		case kind == frameTask:
			t, err := decodeTask(body)
			if err != nil {
				return a.failed(err)
			}
			v.answered(Answer{Task: v.task(t.partition).String(), Instance: a.at.instance, StreamTimeMS: t.timeMS, Positions: t.positions})
		default:
			key, value, err := splitEntry(body)
			if err != nil {
				return a.failed(err)
			}
			if more, err := entry(key, value); err != nil || !more {
				return err
			}
		}
	}
}

func (v *StoreView) getRemote(at holder, partitions []int32, stored []byte) (value []byte, ok bool, err error) {
	a, err := v.ask(at, question{op: rawGet, partitions: partitions, key: stored})
	if err != nil {
		return nil, false, err
	}
	err = a.each(v, func(key, b []byte) (bool, error) {
		if !bytes.Equal(key, stored) {
			return false, a.failed(errors.New("it answered for another key"))
		}
		value, ok = bytes.Clone(b), true
		return true, nil
	})
	return value, ok && err == nil, err
}

func (v *StoreView) scanRemote(at holder, p int32, in span, fn func(key, value []byte) (bool, error)) error {
	a, err := v.ask(at, question{op: rawScan, partitions: []int32{p}, in: in})
	if err != nil {
		return err
	}
	return a.each(v, fn)
}

func (v *StoreView) commitRemote(at holder, p int32) error {
	a, err := v.ask(at, question{op: rawCommit, partitions: []int32{p}})
	if err != nil {
		return err
	}
	return a.each(v, func(_, _ []byte) (bool, error) { return true, nil })
}
