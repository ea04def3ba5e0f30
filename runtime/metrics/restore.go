package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millstream-io/millstream/runtime/engine"
)

// restoreMetrics are those of state on its way: restores at a task's start, and
// copies of other instances' tasks.
type restoreMetrics struct {
	remaining                   *prometheus.GaugeVec   // task, store
	bytes                       *prometheus.CounterVec // task, store
	standbyLag                  *prometheus.GaugeVec   // task, store
	standbyRecords, standbyByte *prometheus.CounterVec // task, store

	mu   sync.Mutex
	told map[[2]string]int64 // bytes of the restore under way, by task and store
}

func (r *restoreMetrics) register(m *Metrics) {
	r.told = map[[2]string]int64{}
	r.remaining = m.gauge("restore_records_remaining", "Changelog records that the restore under way has not replayed yet, by offsets.", "task", "store")
	r.bytes = m.counter("restored_bytes_total", "Bytes of keys and values of the changelog records replayed when tasks were started.", "task", "store")
	r.standbyLag = m.gauge("standby_lag_records", "Changelog records that this instance's copy of another one's state is behind.", "task", "store")
	r.standbyRecords = m.counter("standby_records_total", "Changelog records replayed for copies of other instances' state.", "task", "store")
	r.standbyByte = m.counter("standby_bytes_total", "Bytes of keys and values of those records.", "task", "store")
}

func (r *restoreMetrics) hooks(h *engine.Hooks) {
	h.RestoreProgress = func(task, store string, done, total, bytes int64, _ time.Duration) {
		r.remaining.WithLabelValues(task, store).Set(float64(total - done))
		r.mu.Lock()
		defer r.mu.Unlock()
		key := [2]string{task, store}
		before := r.told[key]
		if bytes < before { // another restore
			before = 0
		}
		r.told[key] = bytes
		r.bytes.WithLabelValues(task, store).Add(float64(bytes - before))
	}
	h.Standby = func(task, store string, lag, records, bytes int64) {
		if lag < 0 {
			r.standbyLag.DeleteLabelValues(task, store)
			return
		}
		r.standbyLag.WithLabelValues(task, store).Set(float64(lag))
		r.standbyRecords.WithLabelValues(task, store).Add(float64(records))
		r.standbyByte.WithLabelValues(task, store).Add(float64(bytes))
	}
}
