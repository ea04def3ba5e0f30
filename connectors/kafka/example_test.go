package kafka_test

import (
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/kafka"
	"github.com/millstream-io/millstream/runtime/engine"
)

func ExampleNewSource() {
	c := kafka.Connection{Brokers: []string{"127.0.0.1:9092"}}
	_ = engine.Source{
		Name: "orders-from-the-shop", Topic: "orders", Partitions: 6, // as many as there: see kafka.Partitions
		Source: kafka.NewSource(kafka.SourceConfig{Connection: c, Topic: "shop.orders"}),
	}
}

func ExampleNewSink() {
	c := kafka.Connection{
		Brokers: []string{"127.0.0.1:9092"},
		SASL:    kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "millstream", Password: connectors.NewSecret("env:KAFKA_PASSWORD")},
	}
	_ = engine.Sink{
		Name: "totals-to-the-shop", Topic: "totals",
		Sink:  kafka.NewSink(kafka.SinkConfig{Connection: c, Topic: "shop.totals", ByKey: true, Create: true}),
		Retry: engine.Retry{Most: 10 * time.Second},
	}
}
