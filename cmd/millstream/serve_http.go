package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/millstream-io/millstream/runtime/metrics"
)

// httpServer is what --http serves.
type httpServer struct {
	ln  net.Listener
	srv *http.Server
}

// listenHTTP takes the address, so that a wrong one is told before anything is opened.
func listenHTTP(addr string) (*httpServer, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, usagef("--http %q: expected HOST:PORT (%w)", addr, err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, inUse("--http", addr, err)
	}
	return &httpServer{ln: ln}, nil
}

// start serves metrics and health checks, and the profiles if asked for.
func (h *httpServer) start(m *metrics.Broker, health metrics.Health, profiles bool, logger *slog.Logger) {
	mux := http.NewServeMux()
	mux.Handle("/", m.Handler(health))
	if profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	h.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := h.srv.Serve(h.ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the HTTP server ended", "err", err)
		}
	}()
}

func (h *httpServer) close() error {
	if h.srv == nil {
		return h.ln.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := h.srv.Shutdown(ctx); err != nil {
		return h.srv.Close()
	}
	return nil
}
