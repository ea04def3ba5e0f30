package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millstream-io/millstream/runtime/engine"
)

// connectorMetrics are those of sources and sinks. Counters of records count at
// a source's commits and at a sink's acknowledgements.
type connectorMetrics struct {
	sourceRecords, sinkRecords *prometheus.CounterVec // source; sink
	sourceBytes, sinkBytes     *prometheus.CounterVec
	errors, retries            *prometheus.CounterVec   // connector
	write                      *prometheus.HistogramVec // sink

	up, inFlight, lastSuccess *prometheus.GaugeVec // kind, connector
	sinkLag, sinkSkipped      *prometheus.GaugeVec // sink
	sourceLag, sourceLagBytes *prometheus.GaugeVec // source
	sourceDropped             *prometheus.GaugeVec
}

func (c *connectorMetrics) register(m *Metrics) {
	c.sourceRecords = m.counter("source_records_total", "Records that a source has committed.", "source")
	c.sourceBytes = m.counter("source_bytes_total", "Bytes of keys and values of the records that a source has committed.", "source")
	c.sinkRecords = m.counter("sink_records_total", "Records that a sink's system has acknowledged.", "sink")
	c.sinkBytes = m.counter("sink_bytes_total", "Bytes of keys and values of the records that a sink's system has acknowledged.", "sink")
	c.errors = m.counter("connector_errors_total", "Failed attempts of a source or sink.", "connector")
	c.retries = m.counter("connector_retries_total", "Attempts of a source or sink after a failed one.", "connector")
	c.write = m.histogram("sink_write_seconds", "Time of a sink's write.", "sink")
	c.up = m.gauge("connector_up", "1 while a source or sink works or has come to its end, 0 while it is opening, retrying or has failed.", "kind", "connector")
	c.inFlight = m.gauge("connector_in_flight_records", "Records in the hands of a source or sink: not committed or not acknowledged yet.", "kind", "connector")
	c.lastSuccess = m.gauge("connector_last_success_timestamp_seconds", "When a source last committed, or a sink was last acknowledged something.", "kind", "connector")
	c.sinkLag = m.gauge("sink_lag_records", "Records from a sink's committed offsets to the end of its topic.", "sink")
	c.sinkSkipped = m.gauge("sink_skipped_records", "Records that retention deleted before the sink could write them, since the start.", "sink")
	c.sourceLag = m.gauge("source_lag_records", "Records that the other side has and the source has not read, where it can tell.", "source")
	c.sourceLagBytes = m.gauge("source_lag_bytes", "Bytes that the other side has and the source has not read, where it can tell.", "source")
	c.sourceDropped = m.gauge("source_dropped_records", "Records that arrived and were lost before the source could read them, since it was made.", "source")
}

// hooks adds the connectors' part.
func (c *connectorMetrics) hooks(h *engine.Hooks) {
	h.Source = func(name string, records, bytes int64, err error) {
		c.sourceRecords.WithLabelValues(name).Add(float64(records))
		c.sourceBytes.WithLabelValues(name).Add(float64(bytes))
		c.failed(name, err)
	}
	h.Sink = func(name string, records, bytes int64, took time.Duration, err error) {
		c.sinkRecords.WithLabelValues(name).Add(float64(records))
		c.sinkBytes.WithLabelValues(name).Add(float64(bytes))
		c.write.WithLabelValues(name).Observe(took.Seconds())
		c.failed(name, err)
	}
	h.Retried = func(name string) { c.retries.WithLabelValues(name).Inc() }
	h.SourceState = func(s engine.SourceSnapshot) {
		c.state("source", &s.ConnectorSnapshot)
		setKnown(c.sourceLag, s.Name, s.LagRecords)
		setKnown(c.sourceLagBytes, s.Name, s.LagBytes)
		c.sourceDropped.WithLabelValues(s.Name).Set(float64(s.Dropped))
	}
	h.SinkState = func(s engine.SinkSnapshot) {
		c.state("sink", &s.ConnectorSnapshot)
		c.sinkLag.WithLabelValues(s.Name).Set(float64(s.Lag))
		c.sinkSkipped.WithLabelValues(s.Name).Set(float64(s.Skipped))
	}
}

func (c *connectorMetrics) failed(name string, err error) {
	if err != nil {
		c.errors.WithLabelValues(name).Inc()
	}
}

func (c *connectorMetrics) state(kind string, s *engine.ConnectorSnapshot) {
	up := 0.0
	if s.State == "running" || s.State == "ended" || s.State == "elsewhere" {
		up = 1
	}
	c.up.WithLabelValues(kind, s.Name).Set(up)
	c.inFlight.WithLabelValues(kind, s.Name).Set(float64(s.InFlight))
	c.retries.WithLabelValues(s.Name) // there from the first scrape on
	c.errors.WithLabelValues(s.Name)
	if !s.LastSuccess.IsZero() {
		c.lastSuccess.WithLabelValues(kind, s.Name).Set(float64(s.LastSuccess.UnixMilli()) / 1000)
	}
}

// setKnown sets a gauge unless the value is -1, not known.
func setKnown(g *prometheus.GaugeVec, name string, value int64) {
	if value >= 0 {
		g.WithLabelValues(name).Set(float64(value))
	}
}
