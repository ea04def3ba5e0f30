package main

import (
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
	"github.com/millstream-io/millstream/streams/topology"
)

// Reading is one line of the input.
type Reading struct {
	Device  string    `json:"device"`
	At      time.Time `json:"at"`
	Celsius float64   `json:"celsius"`
}

// Average is what a device measured in five minutes.
type Average struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Celsius  float64   `json:"celsius"`
	Readings int64     `json:"readings"`
}

// sum is what the store has of an open window.
type sum struct {
	Celsius  float64 `json:"celsius"`
	Readings int64   `json:"readings"`
}

// buildTopology reads "readings", keyed by device, and writes "averages" and
// "alerts".
func buildTopology() (*topology.Topology, error) {
	b := streams.NewBuilder("iot")
	readings := b.From[string, Reading]("readings")

	readings.GroupByKey().
		Windowed(streams.Tumbling(5*time.Minute)).
		Aggregate(func() sum { return sum{} }, addCelsius, streams.Store("sums"), streams.EmitOnClose()).
		MapValues(average).
		ToStream(streams.KeyOnly).
		To("averages")

	alert.When(readings, alert.Absent(10*time.Minute),
		alert.Named("silent"), alert.NotifyResolved()).
		To("alerts")

	alert.When(readings, alert.Avg(celsius).Over(5*time.Minute).Above(80).Until(70),
		alert.Named("hot"), alert.For(2*time.Minute), alert.NotifyResolved()).
		To("alerts")
	return b.Build()
}

func celsius(r Reading) float64 { return r.Celsius }

func addCelsius(_ string, r Reading, s sum) sum {
	return sum{Celsius: s.Celsius + r.Celsius, Readings: s.Readings + 1}
}

func average(_ string, w streams.Window, s sum) Average {
	return Average{From: w.StartTime().UTC(), To: w.EndTime().UTC(),
		Celsius: s.Celsius / float64(s.Readings), Readings: s.Readings}
}
