package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millstream-io/millstream/log/broker"
)

// brokerState asks a broker at each scrape.
type brokerState struct{ b *broker.Broker }

var (
	topicsDesc     = prometheus.NewDesc(namespace+"_log_topics", "Topics, the broker's own among them.", nil, nil)
	partitionsDesc = prometheus.NewDesc(namespace+"_log_partitions", "Partitions of all topics.", nil, nil)
	logBytesDesc   = prometheus.NewDesc(namespace+"_disk_bytes", "Bytes on disk of the log's segments.", []string{"part"}, nil)
	freeBytesDesc  = prometheus.NewDesc(namespace+"_disk_free_bytes", "Bytes that are free in the log's file system.", nil, nil)
	groupLagDesc   = prometheus.NewDesc(namespace+"_group_lag_records", "Offsets between a group's committed position and the end of a partition.", []string{"group", "topic", "partition"}, nil)
)

func (s brokerState) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{topicsDesc, partitionsDesc, logBytesDesc, freeBytesDesc, groupLagDesc} {
		ch <- d
	}
}

func (s brokerState) Collect(ch chan<- prometheus.Metric) {
	topics := s.b.Topics()
	partitions := int32(0)
	for _, t := range topics {
		partitions += t.Partitions
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(topicsDesc, float64(len(topics)))
	gauge(partitionsDesc, float64(partitions))
	if used, free, err := s.b.Usage(); err == nil {
		gauge(logBytesDesc, float64(used), "log")
		gauge(freeBytesDesc, float64(free))
	}
	for _, group := range s.b.Groups() {
		offsets, err := s.b.FetchOffsets(context.Background(), group, nil, false)
		if err != nil {
			continue
		}
		for tp, o := range offsets {
			p, err := s.b.Partition(tp)
			if err != nil {
				continue
			}
			gauge(groupLagDesc, float64(max(0, p.Offsets().End-o.Offset)), group, tp.Topic, itoa(int32(tp.Partition)))
		}
	}
}
