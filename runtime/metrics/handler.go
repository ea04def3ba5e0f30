package metrics

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millstream-io/millstream/runtime/engine"
)

// Health is what the health checks ask. *engine.Engine is one.
type Health interface {
	// Live is nil while the process can still make progress by itself.
	Live() error
	// Ready is nil once every task runs and nothing is being restored.
	Ready() error
}

// Stateful is a Health that can tell more, which the checks then do.
// *engine.Engine is one.
type Stateful interface {
	Health
	State() engine.Snapshot
}

// Queried is a Health whose stores can be queried. *engine.Engine is one.
type Queried interface {
	Health
	// StoresHandler answers /stores and what is below it.
	StoresHandler() http.Handler
}

// Checked is the JSON that the health checks of a Stateful answer.
type Checked struct {
	Status  string                  `json:"status"` // "ok" or "unavailable"
	Reason  string                  `json:"reason,omitempty"`
	Name    string                  `json:"name"`
	Phase   engine.Phase            `json:"phase"`
	Tasks   int                     `json:"tasks"`
	Sources []engine.SourceSnapshot `json:"sources"`
	Sinks   []engine.SinkSnapshot   `json:"sinks"`
}

// Handler serves /metrics in Prometheus' text format, /healthz and /readyz: 200
// if all is well, 503 if not, with Checked as JSON for a Stateful, else with
// "ok" or the reason as a line of text. Of a Queried it serves /stores too.
func (m *Metrics) Handler(h Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", check(h, h.Live))
	mux.HandleFunc("GET /readyz", check(h, h.Ready))
	if q, ok := h.(Queried); ok {
		stores := q.StoresHandler()
		mux.Handle("/stores", stores)
		mux.Handle("/stores/", stores)
	}
	return mux
}

func check(h Health, ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		err := ask()
		code := http.StatusOK
		if err != nil {
			code = http.StatusServiceUnavailable
		}
		if s, ok := h.(Stateful); ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			json.NewEncoder(w).Encode(checked(s.State(), err)) // the client is gone if this fails
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		if err != nil {
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

func checked(s engine.Snapshot, err error) Checked {
	c := Checked{
		Status: "ok", Name: s.Name, Phase: s.Phase, Tasks: len(s.Tasks),
		Sources: append([]engine.SourceSnapshot{}, s.Sources...), Sinks: append([]engine.SinkSnapshot{}, s.Sinks...),
	}
	if err != nil {
		c.Status, c.Reason = "unavailable", err.Error()
	}
	return c
}
