package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/wire"
)

// Broker collects from a log and the server in front of it, for programs
// without an engine (`millstream serve`). Make it with NewBroker, give
// BrokerHooks to broker.Config and WireHooks to wire.Config, and mount Handler.
type Broker struct {
	Metrics

	appended, appendedBytes, readBytes *prometheus.CounterVec // topic
	synced                             *prometheus.HistogramVec
	syncErrors, offline                *prometheus.CounterVec // topic, partition
	txns                               *prometheus.CounterVec // outcome
	txnSeconds                         *prometheus.HistogramVec
	cleaned                            *prometheus.CounterVec // topic
	offsetResets                       *prometheus.CounterVec // group

	requests                 *prometheus.HistogramVec // api
	requestErrors            *prometheus.CounterVec   // api
	requestBytes, replyBytes *prometheus.CounterVec   // api
	connections              *prometheus.GaugeVec     // listener
	disconnected, rejected   *prometheus.CounterVec
}

// NewBroker makes an empty set of metrics with a registry of its own.
func NewBroker() *Broker {
	m := &Broker{Metrics: Metrics{registry: prometheus.NewRegistry(), now: time.Now}}
	m.appended = m.counter("log_appended_records_total", "Records appended to partitions, markers and the broker's own among them.", "topic")
	m.appendedBytes = m.counter("log_appended_bytes_total", "Bytes of batches appended to partitions.", "topic")
	m.readBytes = m.counter("log_read_bytes_total", "Bytes of batches handed to readers.", "topic")
	m.synced = m.histogram("log_sync_seconds", "Time of one fdatasync of a partition.")
	m.syncErrors = m.counter("log_sync_errors_total", "Syncs that failed: the partition is offline then.", "topic", "partition")
	m.offline = m.counter("log_offline_total", "Times that a partition went offline.", "topic", "partition")
	m.txns = m.counter("log_transactions_total", "Transactions decided.", "outcome")
	m.txnSeconds = m.histogram("log_transaction_seconds", "From the call that ends a transaction to the decision's durability.")
	m.cleaned = m.counter("log_cleaned_bytes_total", "Bytes that retention and cleaner removed.", "topic")
	m.offsetResets = m.counter("log_offset_resets_total", "Offsets of groups that pointed past the end after a cut and were brought back.", "group")
	m.requests = m.histogram("kafka_request_seconds", "From a whole request's arrival to the last byte of its answer; long polls wait on purpose.", "api")
	m.requestErrors = m.counter("kafka_request_errors_total", "Error codes in answers.", "api")
	m.requestBytes = m.counter("kafka_request_bytes_total", "Bytes of requests.", "api")
	m.replyBytes = m.counter("kafka_reply_bytes_total", "Bytes of answers.", "api")
	m.connections = m.gauge("kafka_connections", "Connections that are open.", "listener")
	m.disconnected = m.counter("kafka_disconnects_total", "Connections that ended.", "listener", "reason")
	m.rejected = m.counter("kafka_rejected_connections_total", "Connections refused because of a bound.", "listener")
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// BrokerHooks are the broker's hooks that feed these metrics.
func (m *Broker) BrokerHooks() broker.Hooks {
	return broker.Hooks{
		Appended: func(tp record.TopicPartition, records, bytes int) {
			m.appended.WithLabelValues(tp.Topic).Add(float64(records))
			m.appendedBytes.WithLabelValues(tp.Topic).Add(float64(bytes))
		},
		Read: func(tp record.TopicPartition, bytes int) {
			m.readBytes.WithLabelValues(tp.Topic).Add(float64(bytes))
		},
		Synced: func(tp record.TopicPartition, took time.Duration, err error) {
			m.synced.WithLabelValues().Observe(took.Seconds())
			if err != nil {
				m.syncErrors.WithLabelValues(tp.Topic, itoa(int32(tp.Partition))).Inc()
			}
		},
		TxnEnded: func(_ string, committed bool, took time.Duration) {
			outcome := "aborted"
			if committed {
				outcome = "committed"
			}
			m.txns.WithLabelValues(outcome).Inc()
			m.txnSeconds.WithLabelValues().Observe(took.Seconds())
		},
		Cleaned: func(tp record.TopicPartition, bytes int64) {
			m.cleaned.WithLabelValues(tp.Topic).Add(float64(bytes))
		},
		Offline: func(tp record.TopicPartition, _ error) {
			m.offline.WithLabelValues(tp.Topic, itoa(int32(tp.Partition))).Inc()
		},
		OffsetReset: func(group string, _ record.TopicPartition, _, _ record.Offset) {
			m.offsetResets.WithLabelValues(group).Inc()
		},
	}
}

// WireHooks are the Kafka server's hooks that feed these metrics.
func (m *Broker) WireHooks() wire.Hooks {
	return wire.Hooks{
		Served: func(s wire.Served) {
			api := apiName(s.Key)
			m.requests.WithLabelValues(api).Observe(s.Took.Seconds())
			m.requestBytes.WithLabelValues(api).Add(float64(s.BytesIn))
			m.replyBytes.WithLabelValues(api).Add(float64(s.BytesOut))
			if s.Errors > 0 {
				m.requestErrors.WithLabelValues(api).Add(float64(s.Errors))
			}
		},
		Connected: func(listener string) { m.connections.WithLabelValues(listener).Inc() },
		Disconnected: func(listener string, reason wire.CloseReason) {
			m.connections.WithLabelValues(listener).Dec()
			m.disconnected.WithLabelValues(listener, string(reason)).Inc()
		},
		Rejected: func(listener string) { m.rejected.WithLabelValues(listener).Inc() },
	}
}

func apiName(key int16) string {
	if name := kmsg.NameForKey(key); name != "" {
		return name
	}
	return strconv.Itoa(int(key))
}

// Watch adds what is asked of the broker at each scrape: topics, partitions,
// bytes on disk, and how far each group is behind. Call it once, when the
// broker is open.
func (m *Broker) Watch(b *broker.Broker) { m.registry.MustRegister(brokerState{b}) }

// Handler serves /metrics, /healthz and /readyz; see Metrics.Handler.
func (m *Broker) Handler(h Health) http.Handler { return m.Metrics.Handler(h) }
