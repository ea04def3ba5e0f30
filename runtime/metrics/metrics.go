// Package metrics turns the engine's hooks into Prometheus metrics and serves
// them over HTTP with the health checks. It is the only package that imports
// the metrics library; a program that does not want it leaves Config.Hooks empty.
//
// All names begin with millstream_; docs/metrics.md lists them. Counters count
// what committed transactions did, so that they agree with the log: an aborted
// transaction's records are counted once, when their second attempt commits.
//
// Everything here may be called from any goroutine.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/millstream-io/millstream/runtime/engine"
)

// Metrics collects from one engine. Make it with New, give Hooks to
// engine.Config and mount Handler.
type Metrics struct {
	registry *prometheus.Registry

	recordsIn, bytesIn       *prometheus.CounterVec // task, topic
	recordsOut, bytesOut     *prometheus.CounterVec // topic
	late                     *prometheus.CounterVec // operator
	dropped                  *prometheus.CounterVec // operator
	deadLettered             *prometheus.CounterVec // stage
	lag                      *prometheus.GaugeVec   // task, topic, partition
	commit                   *prometheus.HistogramVec
	commitErrors             *prometheus.CounterVec
	endToEnd                 *prometheus.HistogramVec
	checkpoint               *prometheus.HistogramVec
	checkpointEntries        *prometheus.CounterVec
	storeEntries, storeBytes *prometheus.GaugeVec
	disk, diskFree           *prometheus.GaugeVec
	cacheHits, cacheMisses   *prometheus.GaugeVec
	restored                 *prometheus.CounterVec
	restore                  restoreMetrics
	connectors               connectorMetrics

	mu             sync.Mutex
	lastCheckpoint map[string]time.Time // by task
	now            func() time.Time
}

// latencyBuckets reach from a commit in the page cache to a stalled disk, in seconds.
var latencyBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// New makes an empty set of metrics with a registry of its own.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), lastCheckpoint: map[string]time.Time{}, now: time.Now}
	m.recordsIn = m.counter("records_in_total", "Input records processed by committed transactions.", "task", "topic")
	m.bytesIn = m.counter("bytes_in_total", "Bytes of keys and values of the input records.", "task", "topic")
	m.recordsOut = m.counter("records_out_total", "Records written to topics by committed transactions.", "topic")
	m.bytesOut = m.counter("bytes_out_total", "Bytes of keys and values of the records written.", "topic")
	m.dropped = m.counter("dropped_records_total", "Records that an operator had no use for: a null key, or a null value where that means nothing.", "operator")
	m.late = m.counter("late_records_total", "Records that came after their window had closed.", "operator")
	m.deadLettered = m.counter("dead_letters_total", "Records sent to the dead-letter topic.", "stage")
	m.lag = m.gauge("lag_records", "Records between the committed position and the end of an input partition.", "task", "topic", "partition")
	m.commit = m.histogram("commit_seconds", "Time of a worker's commit, from the start of the flush to the reply.", "worker")
	m.commitErrors = m.counter("commit_errors_total", "Commits that failed; their work is done again.", "worker")
	m.endToEnd = m.histogram("end_to_end_seconds", "From a record's event time to the commit that carried its results.", "topic")
	m.checkpoint = m.histogram("checkpoint_seconds", "Time of a task's checkpoint.", "task")
	m.checkpointEntries = m.counter("checkpoint_entries_total", "Entries that checkpoints wrote to the local database.", "task")
	m.storeEntries = m.gauge("store_entries", "Decoded entries that a task holds in memory, all its stores under the name of the first.", "task", "store")
	m.storeBytes = m.gauge("store_bytes", "Bytes of the decoded entries that a task holds in memory, all its stores under the name of the first.", "task", "store")
	m.disk = m.gauge("disk_bytes", "Bytes on disk of the log's segments and of the state.", "part")
	m.diskFree = m.gauge("disk_free_bytes", "Bytes that are free in the log's file system.")
	m.cacheHits = m.gauge("cache_hits", "Reads of a store that its cache answered, since the task started.", "task", "store")
	m.cacheMisses = m.gauge("cache_misses", "Reads of a store that went to committed state, since the task started.", "task", "store")
	m.restored = m.counter("restored_records_total", "Changelog records replayed when a task was started, at the beginning or after an abort.", "task", "store")
	m.restore.register(m)
	m.connectors.register(m)
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		checkpointAge{m})
	return m
}

// Registry is where a program registers metrics of its own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Hooks are the engine's hooks that feed these metrics.
func (m *Metrics) Hooks() engine.Hooks {
	h := engine.Hooks{
		Processed: func(task, topic string, records, bytes int64) {
			m.recordsIn.WithLabelValues(task, topic).Add(float64(records))
			m.bytesIn.WithLabelValues(task, topic).Add(float64(bytes))
		},
		Disk: m.setDisk,
		Written: func(topic string, records, bytes int64) {
			m.recordsOut.WithLabelValues(topic).Add(float64(records))
			m.bytesOut.WithLabelValues(topic).Add(float64(bytes))
		},
		Dropped:      func(op string, n int64) { m.dropped.WithLabelValues(op).Add(float64(n)) },
		Late:         func(op string, n int64) { m.late.WithLabelValues(op).Add(float64(n)) },
		DeadLettered: func(stage string, n int64) { m.deadLettered.WithLabelValues(stage).Add(float64(n)) },
		Committed: func(worker string, took time.Duration, err error) {
			m.commit.WithLabelValues(worker).Observe(took.Seconds())
			if err != nil {
				m.commitErrors.WithLabelValues(worker).Inc()
			}
		},
		Lag:          m.setLag,
		EndToEnd:     func(topic string, took time.Duration) { m.endToEnd.WithLabelValues(topic).Observe(took.Seconds()) },
		Checkpointed: m.checkpointed,
		Store:        m.store,
		Restored: func(task, store string, n int64) {
			m.restored.WithLabelValues(task, store).Add(float64(n))
		},
	}
	m.restore.hooks(&h)
	m.connectors.hooks(&h)
	return h
}

func (m *Metrics) setDisk(d engine.DiskUsage) {
	m.disk.WithLabelValues("log").Set(float64(d.LogBytes))
	m.disk.WithLabelValues("state").Set(float64(d.StateBytes))
	if d.FreeBytes >= 0 {
		m.diskFree.WithLabelValues().Set(float64(d.FreeBytes))
	}
}

func (m *Metrics) setLag(task, topic string, partition int32, records int64) {
	m.lag.WithLabelValues(task, topic, itoa(partition)).Set(float64(records))
}

func (m *Metrics) checkpointed(task string, took time.Duration, entries, _ int64, at time.Time) {
	m.checkpoint.WithLabelValues(task).Observe(took.Seconds())
	m.checkpointEntries.WithLabelValues(task).Add(float64(entries))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastCheckpoint[task] = at
}

func (m *Metrics) store(task, store string, entries, bytes, hits, misses int64) {
	m.storeEntries.WithLabelValues(task, store).Set(float64(entries))
	m.storeBytes.WithLabelValues(task, store).Set(float64(bytes))
	m.cacheHits.WithLabelValues(task, store).Set(float64(hits))
	m.cacheMisses.WithLabelValues(task, store).Set(float64(misses))
}
