// Package connectortest is for tests of connectors, ours and yours: suites that
// any Source or Sink must pass (SourceSuite, SinkSuite), fakes for the other end
// of the engine (Records, Collector), and an HTTP receiver that misbehaves as it
// is told and keeps account (Receiver, Judge).
//
// Suites call a connector as the engine does: one goroutine, memory that is
// taken back after each call, errors in every form of the contract. They never
// sleep; where a connector has clocks of its own, run the suite inside a bubble
// of testing/synctest.
//
// It imports testing: only test files may import it.
package connectortest
