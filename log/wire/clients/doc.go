// Package clients has only tests: clients that others wrote are the judges of
// log/wire. Each produces, reads, joins groups, runs transactions and
// administers against `millstream serve`, and what comes out is compared record
// by record.
//
// The clients are franz-go and segmentio/kafka-go in this process, and sarama,
// Apache Kafka's Java clients and librdkafka in programs of internal/peers that
// speak the operations of the interface client; kcat and Kafka's own
// command-line tools are run as people run them. The tests run in `make
// integration`. CLIENTS_TARGET=kafka runs them against a real Apache Kafka, to
// see whether a test is right.
package clients
