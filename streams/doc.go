// Package streams says what to compute: a fluent, typed description of a stream
// program, from topics through operators to topics.
//
//	b := streams.NewBuilder("syslog-alerts")
//	b.From[string, string]("lines").
//		Filter(func(_, line string) bool { return strings.Contains(line, "Invalid user") }).
//		GroupByKey().
//		Windowed(streams.Tumbling(time.Minute).Grace(10*time.Second)).
//		Count(streams.Store("invalid-logins"), streams.EmitOnClose()).
//		ToStream(streams.Keyed).
//		To("alerts")
//	topo, err := b.Build()
//
// It is not the runtime: a *topology.Topology is run by runtime/engine, or in
// tests by runtime/streamstest. There is no goroutine and no I/O here.
//
// # Concurrency
//
// A Builder and what it makes belong to one goroutine until Build; the Topology
// is immutable. The functions given to verbs run in many tasks at once, so they
// must not share state that is not guarded; they must be deterministic for
// results to be repeatable.
//
// # Values
//
// Serdes are found by type (serde.For), or given with Keys and Values. Values of
// borrowed types ([]byte and views over raw bytes) are valid until the function
// that got them returns; strings may be kept. A null value (a tombstone) is the
// zero value in functions; MapValues and FlatMapValues pass it on without asking
// their function, aggregates ignore records with a null key or value.
//
// # Joins
//
// A stream is joined with a table that is partitioned as it is: Build compares
// the serdes of the keys and repartitions a stream whose key was changed; the
// engine compares the numbers of partitions before anything runs. A task merges
// its inputs by event time, tables first at equal times, so a record meets the
// table as it was then; what a table holds that is itself fed by results emitted
// on commit depends on commits.
//
// # Headers and time
//
// A record's headers, event time and coordinates travel with it, and what it
// causes inherits them; the ...Meta verbs see and set them. Results that a commit
// or a closing window causes have no headers.
package streams
