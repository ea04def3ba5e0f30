package main

import (
	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
	"github.com/millstream-io/millstream/streams/topology"
)

// The names of the program, its topics and its connectors.
const (
	appName     = "syslog-alerts"
	syslogTopic = "syslog"
	alertsTopic = "alerts"
	sourceName  = "syslog"
	webhookName = "webhook"
)

// buildTopology is what the program computes: lines that match, counted per key
// and window, an alert for each window that reaches the threshold.
func buildTopology(c config) (*topology.Topology, error) {
	b := streams.NewBuilder(appName)
	lines := b.From[string, syslog.Message](syslogTopic). // the key is the host
								Filter(func(_ string, m syslog.Message) bool { return m.Contains(c.match) }, streams.Named("match"))

	options := []alert.Option{alert.Named(c.emit), alert.Collect(newAttempts, addAttempt), alert.KeepLate()}
	if c.emit == "final" {
		options = append(options, alert.AtClose())
	}
	reached := alert.Count().In(streams.Tumbling(c.window).Grace(c.grace)).AtLeast(float64(c.threshold))
	alert.When(keyed(lines, c), reached, options...).
		MapValues(newAlert, streams.Named("alert")).
		To(alertsTopic)
	return b.Build()
}

// keyed keys the lines by host, which they are already, or by the address that
// they name, through a repartition topic.
func keyed(lines *streams.Stream[string, syslog.Message], c config) *streams.Stream[string, syslog.Message] {
	if c.by == "host" {
		return lines
	}
	return lines.
		Filter(func(_ string, m syslog.Message) bool { return len(sourceOf(m.Raw())) > 0 }, streams.Named("has-source")).
		SelectKey(func(_ string, m syslog.Message) string { return string(sourceOf(m.Raw())) }, streams.Named("source")).
		Repartition(streams.Named("by-source"), streams.Partitions(int32(c.partitions)))
}

// newAlert makes the record of the alerts topic.
func newAlert(key string, e alert.Event) Alert {
	a := Alert{Kind: e.Kind, WindowStart: e.WindowStart, WindowEnd: e.WindowEnd, Key: key, Count: e.Count}
	// What is there was collected by this program, as JSON: it decodes.
	seen, _ := alert.DataOf[Attempts](e)
	a.Users, a.Addresses = seen.Users, seen.Addresses
	return a
}
