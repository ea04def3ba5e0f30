package metrics

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health is what the health checks ask. *engine.Engine is one.
type Health interface {
	// Live is nil while the process can still make progress by itself.
	Live() error
	// Ready is nil once every task runs and nothing is being restored.
	Ready() error
}

// Handler serves /metrics in Prometheus' text format, /healthz and /readyz: 200
// with "ok", or 503 with the reason.
func (m *Metrics) Handler(h Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", check(h.Live))
	mux.HandleFunc("GET /readyz", check(h.Ready))
	return mux
}

func check(ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := ask(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
