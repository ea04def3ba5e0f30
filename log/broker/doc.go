// Package broker is the embeddable log broker: topics, produce, fetch with
// waiters, transactions, group offsets, retention and the cleaner, over one
// data directory. Producer and Consumer are what Go programs in the same
// process use; log/wire serves the same Broker to Kafka clients, and the
// runtime's embedded log client calls it directly.
//
// It is not a cluster: one node leads every partition, so the high watermark is
// the log end, and a leader epoch counts unclean starts.
//
// All exported methods may be called from any goroutine unless a type says
// otherwise. Goroutines: one for retention and cleaning, one for timers of
// transactions and groups; both are off when their intervals are negative, and
// then RunRetention, RunCleaner and Tick do the same work by hand.
//
// Directory: docs/format/data-directory.md. Lock order: docs/LOCKS.md.
package broker
