// Package kafka is the bridge to Apache Kafka clusters and whatever speaks
// their protocol: a Source that copies a topic into the log, and a Sink that
// copies a topic out of it. It is built on segmentio/kafka-go.
//
// It is not how a program runs on a cluster; that is engine.Config.Log.
//
// # Source
//
// The offsets are part of the source's position, committed in one transaction
// with the records: each record of the topic is in our log exactly once. Key,
// value, headers, timestamp and partition are kept. Records of aborted
// transactions are left out (kafka-go itself does not do that), and nothing
// beyond the last stable offset is read.
//
// The position:
//
//	version  1 byte, 1
//	cluster  uvarint length and bytes: the cluster's id
//	topic    uvarint length and bytes
//	next     uvarint count; per partition a varint: the offset to read next
//
// # Sink
//
// At least once: a Write is done when all in-sync replicas have it. A repeat
// writes the same records again, in order, so that the last value of each key is
// right in the end; Config.ByKey makes the most of that.
//
// # Bad input
//
//	wrong settings                       Open: one permanent error that lists all of them, without the password
//	nobody answers at Brokers            a transient error that names them: tried again
//	no such topic                        Open: ErrNoTopic, after 3 s in which brokers may hear of it
//	another number of partitions         Open: ErrPartitions, unless Repartition is set
//	a position of another topic          Open: ErrOtherCluster
//	records gone before they were read   a permanent GapError, or OnGap: passed over and counted
//	aborted transactions                 left out
//	a record larger than MaxMessageBytes dead letter (sink); the others are written
//
// # Concurrency
//
// A Source and a Sink are called from one goroutine each. A Source has one
// goroutine per partition beneath it, which Close ends.
package kafka
