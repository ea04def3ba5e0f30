package main

import (
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/streams"
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

	attempts := grouped(lines, c).
		Windowed(streams.Tumbling(c.window).Grace(c.grace)).
		Aggregate(newAttempts, addAttempt, streams.Store("attempts"), emitWhen(c.emit), streams.KeepLate())

	// An aggregate that emits every update passes through each count once, so
	// equality lets one record through per key and window.
	reached := func(n int64) bool { return n == c.threshold }
	if c.emit == "final" {
		reached = func(n int64) bool { return n >= c.threshold }
	}
	attempts.ToStream(streams.Keyed, streams.Named("per-window")).
		Filter(func(_ streams.Windowed[string], a Attempts) bool { return reached(a.Count) }, streams.Named("threshold")).
		Map(func(k streams.Windowed[string], a Attempts) (string, Alert) { return k.Key, newAlert(c.emit, k, a) }, streams.Named("alert")).
		To(alertsTopic)
	return b.Build()
}

// grouped keys the lines by host, which they are already, or by the address
// that they name, through a repartition topic.
func grouped(lines *streams.Stream[string, syslog.Message], c config) *streams.Grouped[string, syslog.Message] {
	if c.by == "host" {
		return lines.GroupByKey()
	}
	return lines.
		Filter(func(_ string, m syslog.Message) bool { return len(sourceOf(m.Raw())) > 0 }, streams.Named("has-source")).
		GroupBy(func(_ string, m syslog.Message) string { return string(sourceOf(m.Raw())) },
			streams.Named("by-source"), streams.Partitions(int32(c.partitions)))
}

func emitWhen(emit string) streams.Option {
	if emit == "final" {
		return streams.EmitOnClose()
	}
	return streams.EmitEveryUpdate()
}

// newAlert makes the record of the alerts topic.
func newAlert(kind string, k streams.Windowed[string], a Attempts) Alert {
	return Alert{
		Kind: kind, WindowStart: time.UnixMilli(k.Start).UTC(), WindowEnd: time.UnixMilli(k.End).UTC(),
		Key: k.Key, Count: a.Count, Users: a.Users, Addresses: a.Addresses,
	}
}
