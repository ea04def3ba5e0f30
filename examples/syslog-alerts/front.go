package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/metrics"
)

// front serves -http from the beginning of a run to its end: metrics, and health
// checks that say no until the engine runs.
type front struct {
	*metrics.Metrics
	listener net.Listener
	server   *http.Server
	engine   atomic.Pointer[engine.Engine]
	stores   sync.Once // makes handler
	handler  http.Handler
}

var (
	_ metrics.Stateful = (*front)(nil)
	_ metrics.Queried  = (*front)(nil)
)

// newFront listens on addr and answers from now on.
func newFront(addr string) (*front, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("-http: %w", err)
	}
	f := &front{Metrics: metrics.New(), listener: l}
	f.server = &http.Server{Handler: f.Handler(f), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	go f.server.Serve(l) // until close
	return f, nil
}

func (f *front) close() error { return f.server.Close() }

func (f *front) addr() string { return f.listener.Addr().String() }

// advertised is where other instances of a cluster find addr.
func (f *front) advertised() string {
	host, port, err := net.SplitHostPort(f.addr())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return f.addr()
	}
	if host, err = os.Hostname(); err != nil {
		return "" // nowhere
	}
	return net.JoinHostPort(host, port)
}

// StoresHandler answers queries once there is an engine.
func (f *front) StoresHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := f.engine.Load()
		if e == nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, `{"error":"`+errStarting.Error()+`"}`, http.StatusServiceUnavailable)
			return
		}
		f.stores.Do(func() { f.handler = e.StoresHandler() })
		f.handler.ServeHTTP(w, r)
	})
}

// errStarting is what the readiness check says while the log is being opened.
var errStarting = errors.New("starting: the log is being opened")

func (f *front) Live() error {
	if e := f.engine.Load(); e != nil {
		return e.Live()
	}
	return nil
}

func (f *front) Ready() error {
	if e := f.engine.Load(); e != nil {
		return e.Ready()
	}
	return errStarting
}

func (f *front) State() engine.Snapshot {
	if e := f.engine.Load(); e != nil {
		return e.State()
	}
	return engine.Snapshot{Name: appName, Phase: engine.PhaseNew}
}
